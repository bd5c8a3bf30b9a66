// Package interop holds tests of the gossip engine against other
// implementations of GossipSub: go-libp2p-pubsub used plainly, and js-libp2p
// under Node.js. Both also talk with the program of examples/node.
//
// The Node.js side is in the folder js. It needs Node 20 or newer and its
// packages, and is skipped without them:
//
//	(cd internal/gossip/interop/js && npm ci --ignore-scripts --no-audit --no-fund)
//	NEBNET_JS=1 go test ./internal/gossip/interop -run TestJS -v
package interop
