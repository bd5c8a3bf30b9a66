// Package handshake lets two nodes find out whether they belong to the same
// chain before anything else of the one reaches the other.
//
// The node that opens the stream sends a [Hello], the other answers with its
// own or with a refusal, and the opener closes the exchange with an accept or
// a refusal: after three frames both sides know. A stream that passed is left
// open, without a deadline and with nothing read ahead, because it becomes the
// control stream of the session.
//
//	res, err := handshake.Open(ctx, s, local, verify)
//	if err != nil {
//		return handshake.ReasonOf(err) // logged, counted, remembered
//	}
//	use(res.Version, res.Remote)
//
// The wire format is in SPEC.md. [Check] is the whole decision about chain and
// version, and pure; verify is where the caller adds admission and the
// application's own check of [Hello.Payload].
//
// Bounds: a frame has at most [MaxFrame] bytes and its body is stored only as
// it arrives; the whole exchange ends by one absolute deadline, that of the
// context or [DefaultTimeout]. Every text that came from the other side is
// bounded, and [Hello.Agent] is fit to be shown.
//
// Goroutines: none; Open and Answer run in their caller. Both own the stream
// while they run and on failure: a stream whose handshake failed is closed or
// reset when they return.
//
// [Reason] is the one disconnect reason of the library: wire code, text, error
// and metric label.
package handshake
