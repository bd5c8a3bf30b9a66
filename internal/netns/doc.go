// Package netns tries services on the kernel's own network stack: processes in
// network namespaces, joined by a bridge in a namespace of its own. It holds
// tests only. They make the namespaces and remove them, touch no network of the
// machine, and need Linux, root and the ip command; those of nodes behind NATs need
// the nft command, too:
//
//	NEBNET_NETNS=1 go test -count=1 ./internal/netns
package netns
