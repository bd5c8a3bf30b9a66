// Package p2p bridges TCP and unix-socket services over libp2p streams. It
// works on any host.Host, with or without the rest of this library, and speaks
// what kubo's "ipfs p2p" speaks: raw bytes on a protocol whose name begins with
// "/x/".
//
// The peer that has the service:
//
//	tunnels := p2p.NewP2P(h.ID(), h, h.Peerstore())
//	defer tunnels.Close()
//	_, err := tunnels.NewListener(ctx, "/x/web", ma.StringCast("/ip4/127.0.0.1/tcp/8080"))
//
// The peer that wants it at its own port 9090:
//
//	_, err := tunnels.Dial(ctx, nil, peerID, "/x/web", ma.StringCast("/ip4/127.0.0.1/tcp/9090"))
//
// Programs need no port: DialConn returns a net.Conn, Listen a net.Listener, so
// that http.Server, gRPC or SSH run between peers. Apply makes the tunnels of a
// configuration run.
//
// # What is promised
//
// Each local connection has a stream of its own. Bytes arrive in order and
// whole; data written before a close arrives, on TCP and QUIC alike. Half-close
// passes through both ways, and the side that finished early does not cut the
// other. A reset becomes a reset, 100 ms later if that end had sent something, so
// that an answer right before it arrives; a service that refuses resets the
// stream at once.
//
// When a peer goes away, its connections end with a reset: at once where the
// network tells, else when libp2p notices, which takes up to some 30 s on QUIC and
// 40 s on TCP. A connection made after it came back works. One made within five
// seconds of the peer's last answer, while nothing has told of its end (as on QUIC),
// may still be lost with the old ones.
//
// An end that does not read makes the other end wait; nothing is dropped, and
// no more is buffered than one piece of 256 KiB each way beside the windows of
// the sockets and streams. A connection on which nothing moves holds no buffer.
//
// # Limits and rules
//
// At most 4,096 streams run at a time, 1,024 with one peer, which are tried
// before anything is allocated or dialled; options change that, also for each
// tunnel. A listener may name the peers it admits (WithAdmit) and bound what it
// connects to (WithTargetRule, judged on the resolved address at each dial). A
// listener open to all peers ends connections that are idle for two hours.
// Everything that is refused is reset at once and counted.
//
// libp2p has limits of its own below these. Hosts of this library carry 1,200
// streams with each peer; a host with go-libp2p's defaults stops at about 75 of
// one protocol. One QUIC connection carries 256 streams each way, whatever the
// limits: the next is refused at once with a *stream.LimitError, unless the
// peers have another connection with room. libp2p does not open a second one to
// a peer it is connected to.
//
// # Names for the other side
//
// Streams are reset with codes that tell this library why: 0x1008 not admitted,
// 0x1002 limit, 0x4e01 target refused. Other implementations see a reset. kubo
// does not half-close: it closes both directions when one ends, so a client
// that half-closes towards it loses the rest of the answer. kubo agrees on a protocol
// before it dials its service: with WithCheck, too, a tunnel to it starts whether that
// runs or not, and connections through it end at once while it does not.
//
// # Goroutines, and Close
//
// A local listener runs one goroutine; a bridged connection runs two at each end, a
// connection of the program none. Close ends all of it and waits; so does the
// end of the context that something was made with, except for DialConn, whose
// context bounds the dialling alone. Close tunnels before their host.
//
// Functions of the program (admission, target rules) are called on the
// goroutine of the stream they judge, with no lock held; a panic is recovered
// and counts as a no.
package p2p
