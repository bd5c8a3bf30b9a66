// Package book is what a node remembers of the peers it has heard of: where
// they are, who said so, how attempts to reach them ended, and who is banned.
//
// [Book] is plain state: no goroutine, no lock, no clock. Its owner gives the
// time and keeps concurrent calls apart. [Book.Append] and [Decode] are its form
// on disk (SPEC.md), and [File] a place to keep it that a crash or a full disk
// cannot damage.
//
// # Bounds
//
// Others decide what is put in, so everything has a cap: peers in all, those
// that one peer told of, those of one source, those of one neighbourhood of
// addresses that never answered, addresses of a peer, and the lengths of all
// strings. When the book is full, what is worth least of a few random entries
// goes. What the operator named never goes.
package book
