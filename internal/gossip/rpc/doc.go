// Package rpc reads and writes the frames of GossipSub: the protobuf messages
// that SPEC.md lists, and nothing else of protobuf.
//
// A decoded [RPC] points into the frame that it was read from, so that what turns
// out to be a duplicate costs no copy. Its parts are counted as they are read, and
// a frame with too many is refused before a place for them is made: what a frame
// may become in memory is bounded by [Limits], whatever its size on the wire.
//
// A [Control] is what a node sends beside messages. [AppendControl] cuts it into
// frames that every implementation reads in full. A message is encoded once, with
// [AppendMessageFrame], and the same bytes go to every peer.
package rpc
