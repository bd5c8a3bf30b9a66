// Package interop holds tests of the Kademlia source against js-libp2p's hash table.
// They are skipped without Node.js 20 or newer and its packages:
//
//	(cd internal/discovery/kad/interop/js && npm ci --ignore-scripts --no-audit --no-fund)
//	NEBNET_JS=1 go test ./internal/discovery/kad/interop -run TestJS -v
//
// The same against go-libp2p-kad-dht is TestForeignKademlia of package netservice.
package interop
