// Package wire is what nodes say to each other when they spread a large message in
// chunks: names, sizes and frames. SPEC.md beside this file is precise enough to
// write a second implementation from.
//
//	m := wire.NewManifest("block", data, header)
//	id := m.ID(network)
//	b = wire.Append(b, &wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m})
//	f, err := wire.Decode(body) // body is a frame without its length
//
// Nothing is allocated for what a frame only claims: lists are as long as the bytes
// that hold them.
package wire
