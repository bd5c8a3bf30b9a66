// Package p2phost builds the libp2p host that a node runs on: TCP and QUIC,
// TLS before Noise, yamux, and nothing else. libp2p's own defaults suit a
// client of a public network; this package replaces the ones that would hurt a
// blockchain node.
//
//   - Limits follow the number of peers, the memory that cgroup and GOMEMLIMIT
//     leave and the open-file limit. The share that one peer or one address can
//     take is far below every shared pool.
//   - Sockets that connect and stay silent, and streams that never say what
//     they want, hurt nobody but the peer that opened them (see guard.go).
//   - A listen address that cannot be had is an error that names it. TCP ports
//     are not shared with other programs in silence.
//   - Addresses are filtered where they are dialled, after DNS, and where they
//     are announced.
//   - Nothing of libp2p's metrics goes to process-wide registries.
//
// The host that New returns is listening. It starts libp2p's goroutines only;
// Host.Close ends them.
package p2phost
