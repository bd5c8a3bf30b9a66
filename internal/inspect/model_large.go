package inspect

import "time"

// Large is how broadcasts above 256 KiB travel.
type Large struct {
	Held     int            `json:"held_bytes"` // set aside for messages of others
	Own      int            `json:"own_bytes"`  // and for own ones
	WireIn   uint64         `json:"wire_in_bytes"`
	WireOut  uint64         `json:"wire_out_bytes"`
	Messages []LargeMessage `json:"messages"` // under way, or served
}

// LargeMessage is one of them.
type LargeMessage struct {
	ID      string    `json:"id"` // in hex
	Type    string    `json:"type"`
	From    string    `json:"from,omitempty"` // who announced it first; empty for an own one
	Phase   string    `json:"phase"`
	Size    int       `json:"size"`
	Here    int       `json:"here"` // bytes of it
	Out     int       `json:"out"`  // bytes of it that a peer has or was given
	Began   time.Time `json:"began"`
	Holders int       `json:"holders"`                // peers that have all of it
	Told    int       `json:"told"`                   // that know of it from this node
	Cut     bool      `json:"cut"`                    // passed on while it comes
	Took    float64   `json:"took_seconds,omitempty"` // until it was whole

	Duplicates     int `json:"duplicates"`
	PromisesKept   int `json:"promises_kept"`
	PromisesBroken int `json:"promises_broken"`
	Served         int `json:"served"`
}

// LargeType is what large broadcasts of a type were and did.
type LargeType struct {
	Announced      uint64  `json:"announced"`
	Fetched        uint64  `json:"fetched"`
	Published      uint64  `json:"published"`
	Refused        uint64  `json:"refused"`
	Expired        uint64  `json:"expired"`
	Stalled        uint64  `json:"stalled"`
	TurnedAway     uint64  `json:"turned_away"`
	Mean           float64 `json:"mean_seconds"` // from the first announcement to the whole
	Chunks         uint64  `json:"chunks"`
	Duplicates     uint64  `json:"duplicates"`
	Junk           uint64  `json:"junk"`
	Lies           uint64  `json:"lies"`
	PromisesKept   uint64  `json:"promises_kept"`
	PromisesBroken uint64  `json:"promises_broken"`
	Snubs          uint64  `json:"snubs"`
	Served         uint64  `json:"served"`
	BytesIn        uint64  `json:"bytes_in"`
	BytesOut       uint64  `json:"bytes_out"`
}
