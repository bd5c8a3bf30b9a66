package session

import "sync/atomic"

// announcement is something of which every peer is told the latest, beside the
// offers.
type announcement int

const (
	announceRecord announcement = iota
	announcePayload
	announcements
)

var announceFrame = [announcements]byte{ctlRecord, ctlPayload}

// announced holds the latest, nil where there is nothing to tell. They are
// compared by address: what is told again has another one.
type announced [announcements]atomic.Pointer[[]byte]

// SetRecord has all peers told of this node's own signed address record, a
// marshalled envelope of at most 8 KiB; one that is longer is not sent. Peers are
// told at most once in five seconds each, and then of the latest.
func (e *Engine) SetRecord(envelope []byte) { e.announce(announceRecord, envelope, maxRecord) }

// SetPayload has all peers told of the application's part of the hello as it is
// now, at most 16 KiB; a longer one is not sent. As often as records.
func (e *Engine) SetPayload(payload []byte) { e.announce(announcePayload, payload, maxPayload) }

func (e *Engine) announce(a announcement, body []byte, most int) {
	if len(body) > most {
		return
	}
	e.announced[a].Store(&body)
	e.kickAll()
}
