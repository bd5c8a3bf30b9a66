// Package testnet is an in-memory TCP for go-libp2p hosts, made for tests in
// virtual time (testing/synctest).
//
// A [Net] joins nodes, each with an IP address of its own. A node's hosts use
// [Net.Transport] in place of libp2p's TCP: the real upgrader, TLS or Noise,
// private-network keys, yamux, resource manager and gater run above it, and
// nothing touches a socket. Raw connections ([Net.Dial], [Net.Listen]) serve
// probes that speak no libp2p.
//
//	synctest.Test(t, func(t *testing.T) {
//		n := testnet.New(1, testnet.WithLink(testnet.Link{Latency: 20 * time.Millisecond}))
//		a := n.Host(t, n.Node(1))
//		b := n.Host(t, n.Node(2))
//		err := a.Connect(t.Context(), testnet.Info(b))
//		...
//		n.Cut(n.Node(1), n.Node(2)) // nothing passes from 1 to 2; 2 to 1 does
//		time.Sleep(time.Minute)     // virtual
//		n.Heal()
//	})
//
// # What is simulated
//
//   - Latency and jitter of each direction, loss as the delay of a
//     retransmission (bytes are never lost or reordered, as in TCP), and the
//     bandwidth of each node's uplink and downlink, shared by its connections.
//   - A window: a reader that does not read stops the writer. Acknowledgments
//     take no time, but do not come back through a cut.
//   - Half-close, deadlines, reset on close with unread data, refused ports, a
//     full accept backlog, unassigned addresses that never answer.
//   - Partitions by group or predicate, one-way cuts, isolation. What is in the
//     air when a cut falls is black-holed, and retransmitted with TCP's back-off after
//     the heal.
//   - Resets, [Net.Crash] (power off: silence) and [Net.Kill] (process death:
//     peers get resets), a restart on the same address, and a process that hangs
//     ([Net.StopReading]).
//
// Libp2p's TCP sets SO_LINGER to zero, and so does [Transport]: closing a
// connection resets it and throws away what has not left the node's uplink.
//
// There is no QUIC, no path MTU, no congestion control and no TCP keep-alive:
// a connection to a crashed node stays until somebody's own timer ends it.
//
// # Probes
//
// [Net.OpenSockets], [Net.Churn] and [Drip] attack with bare sockets.
// [Net.DialRaw] gives a peer that has done the security handshake and answers
// nothing: it opens mute streams, floods a protocol, opens and resets in a storm.
//
// # Bubbles
//
// The network starts no goroutine (a [Forwarder], which is of real TCP, does). All
// waiting is on channels and timers, and no mutex is held meanwhile, so a bubble advances whenever everybody waits and
// ends when the hosts are closed. Make the Net inside the bubble that uses it.
// Outside a bubble it works too, in real time.
//
// # Determinism
//
// Jitter and loss come from a generator of each connection's direction and instant,
// keyed by (seed, dialler, acceptor, ordinal of the connection between the two,
// time), so they do not depend on what other connections do, nor on what the same
// one did before. With equal seeds, no
// bandwidth limit (an uplink shared by goroutines that are awake at the same
// instant is served in the scheduler's order) and
// testing/cryptotest.SetGlobalRandom, equal programs see equal arrival times.
package testnet
