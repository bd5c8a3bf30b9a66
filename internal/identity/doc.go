// Package identity keeps the node's private key: an Ed25519 key in one file,
// made on the first start and refused, never replaced, when anything about it
// is wrong. A node that silently changed its identity would lose its place in
// every other node's configuration and reputation.
//
// The file holds the key as libp2p's private key message (the form that kubo
// exports): 68 bytes, of which the last 32 are the public key. They let a
// damaged private key be told from a good one. Files with the same message in
// base64, in one line or several, and with the public key twice, as older programs wrote
// them, are read as well.
package identity
