// Package stream carries one tunnelled connection at a time: a local connection
// bridged to a libp2p stream, or a libp2p stream as a net.Conn. A Registry
// knows all that run, bounds them, and closes them by any criterion. Package
// p2p makes streams; most programs use this package for what it tells:
//
//	for _, s := range tunnels.Streams.List() {
//		fmt.Println(s.ID, s.Protocol, s.Peer, s.State, s.Age, s.BytesIn, s.BytesOut)
//	}
//	tunnels.Streams.Close(stream.ByPeer(bad))
//
// # What a bridge promises
//
// Bytes pass in order and unchanged. When one end finishes sending, the other
// reads an end of file after the last byte, and may go on sending for as long
// as it likes. Data written before an end closed arrives whole. A reset at one
// end is a reset at the other: within some five seconds where that end had finished
// sending before, and within ten where its sending waits for a peer that takes
// nothing. (A unix socket cannot tell its other end of a reset: that one reads an
// end of file. When the connection is lost after the peer had finished sending, the
// local end is closed in good order: it may not have read everything yet. What has
// not been taken from a QUIC stream by then is lost with the connection, and the
// local end is reset.)
//
// A local end that has sent something and then resets, as a service does that
// answers and closes with unread input, is reset at the peer 100 ms later: what
// the far end takes within that time arrives, and what it leaves may be lost with
// the reset, on every transport. Without anything sent before, and when the peer
// or the program resets, it is done at once.
//
// Towards a peer that closes both directions at
// once although data is still on its way to it, the bridge ends when the peer
// takes nothing for the stall timeout (five minutes).
//
// # Back-pressure and memory
//
// An end that does not read makes the other end wait; a bridge buffers at most
// one piece of 256 KiB in each direction beside the windows of the sockets and
// of the stream. While a direction waits for data it holds no buffer; on
// transports other than yamux, QUIC say, the one from the peer holds 512 bytes,
// and after bulk data keeps its piece until nothing has come for one to two
// seconds.
//
// # Goroutines
//
// A bridge runs on two, its caller's and one more. A net.Conn runs on none. A
// timer runs while an idle timeout is set or one direction has ended. Closing a
// bridge waits for its goroutines.
package stream
