// Package msgtype says what a message type is, once for every engine that
// carries messages: its name, its sizes, its priority, how it is compressed,
// and how it is broadcast.
//
// A program declares a [Spec]; [Spec.WithDefaults] fills in what it left out and
// [Spec.Validate] reports every mistake. Engines take the result as it is:
//
//	spec = spec.WithDefaults()
//	if err := spec.Validate(); err != nil { ... }
//	err = engine.Set(spec, receive)
//
// with receive saying whether peers may send the type to this node, and after it what
// only that engine needs, such as a validator. A Spec is a comparable value: two
// declarations are the same when they are equal.
package msgtype
