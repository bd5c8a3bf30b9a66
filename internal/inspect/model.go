package inspect

import "time"

// Snapshot is a node at one moment. Durations are seconds, sizes are bytes,
// counts are since the start of the service, or of the session for a peer.
type Snapshot struct {
	At       time.Time `json:"at"`
	Node     Node      `json:"node"`
	Peers    []Peer    `json:"peers"`
	Types    []Type    `json:"types"`
	Methods  []Method  `json:"methods"`
	Tunnels  []Tunnel  `json:"tunnels"`
	Streams  []Stream  `json:"tunnel_streams"`
	Requests Requests  `json:"requests"`
	Large    Large     `json:"large"`
	Boot     []Boot    `json:"boot"`
	Totals   Totals    `json:"totals"`
	Problems []string  `json:"problems,omitempty"` // found by the node itself, in words
}

// Node is who and where.
type Node struct {
	ID           string    `json:"id"`
	Network      string    `json:"network"`
	Chain        string    `json:"chain"`
	Agent        string    `json:"agent"`
	State        string    `json:"state"`
	Started      time.Time `json:"started"`
	Addrs        []string  `json:"addrs"`
	Reachability string    `json:"reachability"` // empty where nothing finds it out
	MaxPeers     int       `json:"max_peers"`
	MaxInbound   int       `json:"max_inbound"`
	Inbound      int       `json:"inbound"` // of the peers
	Banned       int       `json:"banned"`
	Parked       int       `json:"parked"` // deferred broadcasts
	ParkedBytes  int       `json:"parked_bytes"`
}

// Totals are sums over all peers and types, for rates.
type Totals struct {
	MessagesIn  uint64 `json:"messages_in"`
	MessagesOut uint64 `json:"messages_out"`
	BytesIn     uint64 `json:"bytes_in"`
	BytesOut    uint64 `json:"bytes_out"`
	Dropped     uint64 `json:"dropped"`
	Panics      uint64 `json:"panics"`
}

// Peer is one with a session.
type Peer struct {
	ID           string            `json:"id"`
	Agent        string            `json:"agent"`
	Addr         string            `json:"addr"`
	Direction    string            `json:"direction"` // inbound or outbound
	Transport    string            `json:"transport"`
	Since        time.Time         `json:"since"`
	Session      string            `json:"session"`     // names the session in the logs of both sides
	RTT          float64           `json:"rtt_seconds"` // 0 before the first ping
	Version      uint32            `json:"version"`
	Capabilities []string          `json:"capabilities,omitempty"`
	Protected    []string          `json:"protected,omitempty"` // why it is kept
	MessagesIn   uint64            `json:"messages_in"`
	MessagesOut  uint64            `json:"messages_out"`
	BytesIn      uint64            `json:"bytes_in"`
	BytesOut     uint64            `json:"bytes_out"`
	Queue        int               `json:"queue_messages"`
	QueueBytes   int               `json:"queue_bytes"`
	Dropped      map[string]uint64 `json:"dropped,omitempty"` // by reason
	Faults       uint64            `json:"faults"`
	Mesh         []string          `json:"mesh,omitempty"` // types in whose mesh it is
	Score        float64           `json:"gossip_score"`
	ScoreParts   []Part            `json:"gossip_score_parts,omitempty"`
	Value        float64           `json:"value"`
	ValueParts   []Part            `json:"value_parts,omitempty"`
	LastEnded    string            `json:"last_ended,omitempty"` // why the session or attempt before ended
	Differs      []string          `json:"differs,omitempty"`    // types declared otherwise than here, in words
}

// Part is one addend of a sum.
type Part struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Type is the way of one message type through the node.
type Type struct {
	Name     string `json:"name"`
	MaxSize  int    `json:"max_size"`
	Priority string `json:"priority"`

	Sent    Sent    `json:"sent"`
	Direct  Direct  `json:"direct"`
	Gossip  *Gossip `json:"gossip,omitempty"` // nil where the type is not broadcast
	Arrived Arrived `json:"dispatcher"`
	// Large tells how broadcasts above 256 KiB came and went; what became of them is
	// in Gossip. nil where there were none.
	Large *LargeType `json:"large,omitempty"`

	Subscribers []Subscriber `json:"subscribers"`
}

// Sent is what went out to single peers over message streams.
type Sent struct {
	Queued  uint64            `json:"queued"`
	Written uint64            `json:"written"`
	Pending int               `json:"pending"`
	Dropped map[string]uint64 `json:"dropped,omitempty"`
}

// Direct is what came from single peers over message streams.
type Direct struct {
	Received uint64 `json:"received"`
	Faults   uint64 `json:"faults"`
}

// Gossip is what became of broadcasts of a type.
type Gossip struct {
	Topic      string            `json:"topic"`
	Joined     bool              `json:"joined"`
	Mesh       int               `json:"mesh"`
	Published  uint64            `json:"published"`
	Unsent     uint64            `json:"unsent"`
	Waiting    int               `json:"waiting"`
	Delivered  uint64            `json:"delivered"`
	Duplicates uint64            `json:"duplicates"`
	Rejected   uint64            `json:"rejected"`
	Ignored    uint64            `json:"ignored"`
	Deferred   uint64            `json:"deferred"`
	Expired    uint64            `json:"expired"`
	TurnedAway map[string]uint64 `json:"turned_away,omitempty"`
	Retaken    uint64            `json:"retaken"`
	Forgotten  uint64            `json:"forgotten"`
	Dropped    uint64            `json:"dropped"`
	Panics     uint64            `json:"panics"`
	Delay      *Delay            `json:"delay,omitempty"` // of timed types
}

// Delay is how long broadcasts took from publication to delivery here.
type Delay struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_seconds"`
	P99   float64 `json:"p99_seconds"`
	Max   float64 `json:"max_seconds"`
}

// Arrived is what the dispatcher did with a type.
type Arrived struct {
	Received  uint64            `json:"received"`
	Delivered uint64            `json:"delivered"`
	Duplicate uint64            `json:"duplicate"`
	Unrouted  uint64            `json:"unrouted"`
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
	Queued    int               `json:"queued"`
	Waiting   int               `json:"waiting"` // publishers that wait for room
}

// Subscriber is one that takes a type.
type Subscriber struct {
	Name      string            `json:"name"`
	Policy    string            `json:"policy"`
	Offered   uint64            `json:"offered"`
	Delivered uint64            `json:"delivered"`
	Duplicate uint64            `json:"duplicate"`
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
	Queued    int               `json:"queued"`
	Full      bool              `json:"full"`
	Panics    uint64            `json:"panics"`
}

// Method is one kind of requests.
type Method struct {
	Name      string  `json:"name"`
	Calls     uint64  `json:"calls"` // of this node, ended
	Failed    uint64  `json:"failed"`
	P95       float64 `json:"p95_seconds"` // of the latest calls
	Handled   uint64  `json:"handled"`     // calls of others
	Answered  uint64  `json:"answered"`
	Cancelled uint64  `json:"cancelled"`
	Running   int     `json:"running"` // of others, now
	Waiting   int     `json:"waiting"`
	BytesIn   uint64  `json:"bytes_in"` // of answers
	BytesOut  uint64  `json:"bytes_out"`
	// Latency and Errors are of calls of this node, Took of handlers here.
	Latency []Bucket          `json:"latency,omitempty"`
	Took    []Bucket          `json:"took,omitempty"`
	Errors  map[string]uint64 `json:"errors,omitempty"` // by code
}

// Bucket is how many values of a histogram lie between the bucket before and UpTo.
type Bucket struct {
	UpTo  float64 `json:"up_to_seconds"` // -1: without end
	Count uint64  `json:"count"`
}

// Requests is what is under way now, of all methods.
type Requests struct {
	Calls       int `json:"calls"`        // of this node
	Served      int `json:"served"`       // of others, running or waiting
	ServedBytes int `json:"served_bytes"` // that those hold
}

// Tunnel is a listener.
type Tunnel struct {
	ID       uint64    `json:"id"`
	Kind     string    `json:"kind"` // dials a peer, or serves peers
	Protocol string    `json:"protocol"`
	Listen   string    `json:"listen"`
	Target   string    `json:"target"`
	Since    time.Time `json:"since"`
	Active   int       `json:"active"`
	Opened   uint64    `json:"opened"`
	Refused  uint64    `json:"refused"`
	BytesIn  uint64    `json:"bytes_in"`
	BytesOut uint64    `json:"bytes_out"`
}

// Stream is one tunnelled connection.
type Stream struct {
	ID        uint64  `json:"id"`
	Tunnel    uint64  `json:"tunnel"`
	Protocol  string  `json:"protocol"`
	Peer      string  `json:"peer"`
	Direction string  `json:"direction"`
	State     string  `json:"state"`
	Local     string  `json:"local"`
	Age       float64 `json:"age_seconds"`
	BytesIn   uint64  `json:"bytes_in"`
	BytesOut  uint64  `json:"bytes_out"`
}

// Boot is a node to connect to first.
type Boot struct {
	ID        string `json:"id"`
	Connected bool   `json:"connected"`
}

// Event is one thing that happened.
type Event struct {
	Seq    uint64    `json:"seq"` // counts from 1
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Peer   string    `json:"peer,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// Source reads a node. Its methods are called from several goroutines.
type Source interface {
	// Snapshot reads the node as it is now.
	Snapshot() Snapshot
	// Why says in words how it stands with the peer of that ID. ok is false
	// where the text is no peer ID.
	Why(peerID string) (answer string, ok bool)
	// Traces returns the ways of the latest messages, at most n, the newest first,
	// and whether they are kept at all. Trace returns that of one.
	Traces(n int) (list []Trace, on bool)
	Trace(msgType, hash string) (Trace, bool)
}
