package reqresp

const (
	// firstPiece is what is allocated for a message before any of it has come.
	firstPiece = maxFrame
	// growth bounds what is allocated afterwards, in terms of what has come. The
	// third fragment makes room for 2 MiB: all that was allocated before has been
	// cleared, and is copied.
	growth = 32
)

// assembly puts a message together that comes in fragments. It allocates as
// they arrive, whatever length was announced.
type assembly struct {
	begun bool
	total int
	buf   []byte
}

// begin starts a message of a length that has been checked.
func (a *assembly) begin(total int) { a.begun, a.total, a.buf = true, total, nil }

// grow returns where the next n bytes of the message go. It is false when they
// are more than were announced.
func (a *assembly) grow(n int) ([]byte, bool) {
	had := len(a.buf)
	if n > a.total-had {
		return nil, false
	}
	if had+n > cap(a.buf) {
		// Exactly the message, if it is no more than may be allocated now.
		size := min(a.total, max(firstPiece, had+n, growth*had))
		bigger := make([]byte, had, size)
		copy(bigger, a.buf)
		a.buf = bigger
	}
	a.buf = a.buf[:had+n]
	return a.buf[had:], true
}

// take returns the message once it is complete.
func (a *assembly) take() ([]byte, bool) {
	if !a.begun || len(a.buf) < a.total {
		return nil, false
	}
	msg := a.buf
	if msg == nil {
		msg = []byte{}
	}
	*a = assembly{}
	return msg, true
}
