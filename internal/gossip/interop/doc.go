// Package interop holds tests of the gossip engine against other
// implementations of GossipSub: go-libp2p-pubsub used plainly, js-libp2p under
// Node.js, and kubo. The first two also talk with the program of examples/node.
//
// The Node.js side is in the folder js. It needs Node 20 or newer and its
// packages, and is skipped without them:
//
//	(cd internal/gossip/interop/js && npm ci --ignore-scripts --no-audit --no-fund)
//	NEBNET_JS=1 go test ./internal/gossip/interop -run TestJS -v
//
// Those with a kubo daemon are skipped without its program:
//
//	NEBNET_KUBO=/path/to/ipfs go test ./internal/gossip/interop -run TestKubo -v
package interop
