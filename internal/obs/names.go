package obs

import "github.com/rcrowley/go-metrics"

// Prefix begins every metric name of the library.
const Prefix = "neb.net."

// Every metric name of the library. A name part that follows a prefix comes
// only from what is registered or declared locally (message types, fixed
// reasons), never from a remote string.
const (
	// DispatcherCached is the number of messages waiting in the dispatcher.
	DispatcherCached = "neb.net.dispatcher.cached"
	// DispatcherReceived counts messages put to the dispatcher.
	DispatcherReceived = "neb.net.dispatcher.received"
	// DispatcherDelivered counts messages that at least one subscriber took.
	DispatcherDelivered = "neb.net.dispatcher.delivered"
	// DispatcherDuplicate counts messages held back as duplicates.
	DispatcherDuplicate = "neb.net.dispatcher.duplicate"
	// DispatcherUnrouted counts messages of types nobody subscribes to.
	DispatcherUnrouted = "neb.net.dispatcher.unrouted"
	// DispatcherDropped, followed by a reason, counts messages lost.
	DispatcherDropped = "neb.net.dispatcher.dropped."
	// DispatcherLost, followed by a dot and a registered type, counts messages
	// of that type lost for whatever reason. The counters of received,
	// delivered, duplicate and unrouted messages exist by type in the same
	// way.
	DispatcherLost = "neb.net.dispatcher.lost"
	// DispatcherPanics counts panics of subscriber code that were recovered.
	DispatcherPanics = "neb.net.dispatcher.panics"
	// DispatcherWait, with a dot and a registered type, is the histogram of the
	// microseconds from the admission of a message until a subscriber has it, of
	// one message a second and type.
	DispatcherWait = "neb.net.dispatcher.wait_us"
	// Validation, with a dot and a declared type, is the histogram of the
	// microseconds that the type's validator took.
	Validation = "neb.net.validation_us"

	// PacketsIn and PacketsOut count messages read from and written to peers;
	// with a dot and a declared type, those of that type.
	PacketsIn  = "neb.net.packets.in"
	PacketsOut = "neb.net.packets.out"
	// BytesIn and BytesOut count message bytes on the wire, frames included;
	// with a dot and a declared type, those of that type.
	BytesIn  = "neb.net.bytes.in"
	BytesOut = "neb.net.bytes.out"
	// SendDropped, followed by a reason, counts messages that were queued for
	// a peer and never written.
	SendDropped = "neb.net.send.dropped."
	// QueueBytes is the number of bytes that the queues of message streams to all
	// peers hold: frames with their headers, compressed where they are, those
	// being written included, and up to 8 KiB booked ahead for each peer and type
	// with something queued. What broadcasts and tunnels hold is not in it.
	QueueBytes = "neb.net.queue.bytes"
	// DeliverPanics and DeliverErrors count message streams reset because the
	// code that takes messages from them panicked or refused.
	DeliverPanics = "neb.net.deliver.panics"
	DeliverErrors = "neb.net.deliver.errors"
	// Faults, followed by a fault, counts protocol violations of peers.
	Faults = "neb.net.faults."

	// TypesDiffer, with a dot and a declared type, counts peers that have
	// declared the type otherwise than this node, each for each way in which
	// it differed.
	TypesDiffer = "neb.net.types.differ"

	// Undecodable, with a dot and a declared type, counts messages whose codec
	// refused them.
	Undecodable = "neb.net.undecodable"
	// DirectRefused, with a dot and a declared type, counts messages that a peer
	// sent directly and that the type's validator did not accept.
	DirectRefused = "neb.net.direct_refused"

	// Sessions is the number of peers with a session.
	Sessions = "neb.net.peers.connected"
	// SessionsInbound and SessionsOutbound split it by who dialled.
	SessionsInbound  = "neb.net.peers.inbound"
	SessionsOutbound = "neb.net.peers.outbound"
	// Refused and RefusedBy, followed by a reason, count handshakes refused by
	// this node and by the other side.
	Refused   = "neb.net.handshake.refused."
	RefusedBy = "neb.net.handshake.refused_by_peer."
	// HandshakeTime is the histogram of how long handshakes took that made a
	// session, in microseconds.
	HandshakeTime = "neb.net.handshake.us"
	// Disconnected, followed by a reason, counts sessions that ended.
	Disconnected = "neb.net.disconnected."
	// Dials, followed by a reason, counts attempts to dial a peer by how they
	// ended; the reason "none" is success.
	Dials = "neb.net.dials."
	// PeersKnown is the number of peers in the address book, PeersReplaced counts
	// sessions that gave way to better peers.
	PeersKnown    = "neb.net.peers.known"
	PeersReplaced = "neb.net.peers.replaced"
	// BookCorrupt counts address books that could not be read, BookUnsaved failed
	// attempts to save one.
	BookCorrupt = "neb.net.peers.book.corrupt"
	BookUnsaved = "neb.net.peers.book.unsaved"
	// Bans counts bans of peers.
	Bans = "neb.net.peers.bans"
	// Crowded counts peer events about peers with too many connections.
	Crowded = "neb.net.peers.crowded"
	// PeerEventsDropped counts peer events that a slow subscription missed.
	PeerEventsDropped = "neb.net.peers.events.dropped"
	// PingRTT is the histogram of ping round trips in microseconds.
	PingRTT = "neb.net.ping.rtt_us"

	// ConnsRefused, followed by a reason (address, gate, limit, peer_limit,
	// ip_handshakes), counts connections refused before a session.
	ConnsRefused = "neb.net.connections.refused."
	// StreamsRefused, followed by a reason, counts inbound
	// streams refused by limits.
	StreamsRefused = "neb.net.streams.refused."

	// TunnelActive is the number of running tunnel streams.
	TunnelActive = "neb.net.tunnel.active"
	// TunnelOpened counts tunnel streams that were let in or dialled.
	TunnelOpened = "neb.net.tunnel.opened"
	// TunnelBytesIn and TunnelBytesOut count tunnelled bytes from and to peers.
	TunnelBytesIn  = "neb.net.tunnel.bytes.in"
	TunnelBytesOut = "neb.net.tunnel.bytes.out"
	// TunnelRefused and TunnelFailed, followed by a reason, count tunnel
	// streams that were turned away and that ended with an error.
	TunnelRefused = "neb.net.tunnel.refused."
	TunnelFailed  = "neb.net.tunnel.failed."
	// TunnelAcceptErrors counts errors of local accept loops.
	TunnelAcceptErrors = "neb.net.tunnel.accept_errors"
	// TunnelPanics counts recovered panics of rules given by the program.
	TunnelPanics = "neb.net.tunnel.panics"

	// ExchangeAsked counts requests for peers sent, ExchangeFailed those of
	// them without a valid reply, ExchangeAnswered the requests answered.
	ExchangeAsked    = "neb.net.exchange.asked"
	ExchangeFailed   = "neb.net.exchange.failed"
	ExchangeAnswered = "neb.net.exchange.answered"
	// ExchangeRefused, followed by a reason (not_member, rate, limit, closing),
	// counts requests not answered.
	ExchangeRefused = "neb.net.exchange.refused."
	// ExchangeFound counts candidates handed on, and ExchangeDropped, followed
	// by a reason (self, member, address, repeated, source, record), those that were
	// not.
	ExchangeFound   = "neb.net.exchange.found"
	ExchangeDropped = "neb.net.exchange.dropped."
	// ExchangeFaults, followed by a fault, counts violations of peers.
	ExchangeFaults = "neb.net.exchange.faults."
	// PayloadTooLarge counts handshakes that failed because the program's part of
	// the hello was too long.
	PayloadTooLarge = "neb.net.handshake.payload_too_large"
	// CallbackPanics counts recovered panics of the program's callbacks of a
	// handshake.
	CallbackPanics = "neb.net.callback.panics"
	// SourceFailed counts looks for peers, by DNS, say, that failed.
	SourceFailed = "neb.net.discovery.failed"
	// ExchangePanics counts panics of callbacks that were recovered.
	ExchangePanics = "neb.net.exchange.panics"
)

const (
	// OtherType stands for any message type that is not registered locally. It is
	// no name that a type can have.
	OtherType = "(other)"
	// OtherReason is the reason of what has no reason of its own.
	OtherReason = "other"
)

// ByType counts per declared message type. The caller passes a type that the
// local program declared, or OtherType: what a peer calls its messages never
// becomes a name.
func (o *Obs) ByType(prefix, msgType string) metrics.Counter {
	return o.Counter(prefix + "." + msgType)
}

// Names of broadcast; each is followed by a dot and a declared type.
const (
	// GossipPublished counts own messages that were handed to a peer or queued,
	// GossipRelayed those of others passed on by an explicit Relay.
	GossipPublished = "neb.net.gossip.published"
	GossipRelayed   = "neb.net.gossip.relayed"
	// GossipQueued counts own messages that had to wait for a first peer, and
	// GossipUnsent those of them that met none in time.
	GossipQueued = "neb.net.gossip.queued"
	GossipUnsent = "neb.net.gossip.unsent"
	// GossipDelivered counts messages of others handed to the receiver.
	GossipDelivered = "neb.net.gossip.delivered"
	// GossipDuplicates counts copies of messages seen before.
	GossipDuplicates = "neb.net.gossip.duplicates"
	// GossipRejected, GossipIgnored and GossipDeferred count verdicts.
	GossipRejected = "neb.net.gossip.rejected"
	GossipIgnored  = "neb.net.gossip.ignored"
	GossipDeferred = "neb.net.gossip.deferred"
	// GossipExpired counts deferred messages that nobody resumed in time.
	GossipExpired = "neb.net.gossip.expired"
	// GossipAway, followed by a reason and the type, counts messages turned
	// away under load, GossipRetaken those that came again and were taken, and
	// GossipForgotten those that were so many that the oldest had to be forgotten.
	GossipAway      = "neb.net.gossip.away"
	GossipRetaken   = "neb.net.gossip.retaken"
	GossipForgotten = "neb.net.gossip.forgotten"
	// GossipAnnounced counts recent messages that peers were told of when they
	// appeared or were grafted, each for each peer.
	GossipAnnounced = "neb.net.gossip.announced"
	// GossipPanics counts recovered panics of validators and receivers; without
	// a type, those of callbacks that serve all types.
	GossipPanics = "neb.net.gossip.panics"
	// GossipHeld counts own messages that had to wait because the queue of a peer was
	// full, GossipDropped copies that a peer's queue did not take or lost.
	GossipHeld    = "neb.net.gossip.held"
	GossipDropped = "neb.net.gossip.dropped"
	// GossipBytesIn and GossipBytesOut count message data, duplicates included.
	GossipBytesIn  = "neb.net.gossip.bytes.in"
	GossipBytesOut = "neb.net.gossip.bytes.out"
	// GossipDelay is the histogram of microseconds from publication to delivery.
	GossipDelay = "neb.net.gossip.delay_us"
)

// Names of broadcast that no type follows.
const (
	// GossipWireIn and GossipWireOut count all bytes on gossip streams.
	GossipWireIn  = "neb.net.gossip.wire.in"
	GossipWireOut = "neb.net.gossip.wire.out"
	// GossipSlow counts that a full peer was no longer waited for, since others were
	// faster, or was cut off because too many bytes waited for it.
	GossipSlow = "neb.net.gossip.slow"
	// GossipFaults, followed by a fault, counts frames with something that no
	// honest peer sends.
	GossipFaults = "neb.net.gossip.faults."
)

// Names of large broadcasts; each is followed by a dot and a declared type. They count:
const (
	// SwarmAnnounced: large messages first heard of from a peer.
	SwarmAnnounced = "neb.net.swarm.announced"
	// SwarmFetched: those that came whole.
	SwarmFetched = "neb.net.swarm.fetched"
	// SwarmPublished: those that this node showed without having fetched them.
	SwarmPublished = "neb.net.swarm.published"
	// SwarmRefused: those whose header was not accepted.
	SwarmRefused = "neb.net.swarm.refused"
	// SwarmExpired: those whose header stayed deferred.
	SwarmExpired = "neb.net.swarm.expired"
	// SwarmStalled: those of which no more chunk came.
	SwarmStalled = "neb.net.swarm.stalled"
	// SwarmTurnedAway: those for which there was no room.
	SwarmTurnedAway = "neb.net.swarm.turned_away"
	// SwarmChunks: chunks received that were missing.
	SwarmChunks = "neb.net.swarm.chunks"
	// SwarmDuplicates: chunks received twice.
	SwarmDuplicates = "neb.net.swarm.duplicates"
	// SwarmJunk: chunks received that nobody had asked for.
	SwarmJunk = "neb.net.swarm.junk"
	// SwarmLies: chunks received that were not those announced.
	SwarmLies = "neb.net.swarm.lies"
	// SwarmPromisesKept: chunks that came from a peer that had promised them.
	SwarmPromisesKept = "neb.net.swarm.promises.kept"
	// SwarmPromisesBroken: promises of peers that were given up.
	SwarmPromisesBroken = "neb.net.swarm.promises.broken"
	// SwarmSnubs: peers that said to have chunks and sent nothing.
	SwarmSnubs = "neb.net.swarm.snubs"
	// SwarmServed: chunks handed out.
	SwarmServed = "neb.net.swarm.served"
	// SwarmBytesIn: bytes of chunks received.
	SwarmBytesIn = "neb.net.swarm.bytes.in"
	// SwarmBytesOut: bytes of chunks handed out.
	SwarmBytesOut = "neb.net.swarm.bytes.out"
	// SwarmTime is the histogram of microseconds from the first announcement to the
	// whole message.
	SwarmTime = "neb.net.swarm.time_us"
)

// Names of large broadcasts that no type follows.
const (
	// SwarmWireIn and SwarmWireOut count all bytes on their streams.
	SwarmWireIn  = "neb.net.swarm.wire.in"
	SwarmWireOut = "neb.net.swarm.wire.out"
	// SwarmHeld is how many bytes are set aside for messages under way and served.
	SwarmHeld = "neb.net.swarm.held"
	// SwarmPanics counts recovered panics of checks of headers and of callbacks.
	SwarmPanics = "neb.net.swarm.panics"
	// SwarmFaults, followed by a fault, counts what no honest peer does.
	SwarmFaults = "neb.net.swarm.faults."
)

// Names of requests; but for the last three each is followed by a dot and a
// declared method.
const (
	// RequestCalls counts calls that this node made, RequestFailed those of them
	// that failed, and RequestErrors, followed by a code, how.
	RequestCalls  = "neb.net.requests.calls"
	RequestFailed = "neb.net.requests.failed"
	RequestErrors = "neb.net.requests.errors."
	// RequestLatency is the histogram of microseconds from a call to the end of its
	// answers.
	RequestLatency = "neb.net.requests.latency_us"
	// RequestHandled counts calls of others that a handler took, RequestAnswered
	// those of them answered without an error, RequestCancelled those given up
	// before a handler took them, and RequestRefused, followed by a code, those
	// answered with an error.
	RequestHandled   = "neb.net.requests.handled"
	RequestAnswered  = "neb.net.requests.answered"
	RequestCancelled = "neb.net.requests.cancelled"
	RequestRefused   = "neb.net.requests.refused."
	// RequestHandlerTime is the histogram of the microseconds that handlers took.
	RequestHandlerTime = "neb.net.requests.handler_us"
	// RequestBytesIn counts bytes of answers received, RequestBytesOut those sent.
	RequestBytesIn  = "neb.net.requests.bytes.in"
	RequestBytesOut = "neb.net.requests.bytes.out"
	// RequestUndecodable counts requests and answers whose codec refused them.
	RequestUndecodable = "neb.net.requests.undecodable"
	// RequestPanics counts recovered panics of handlers.
	RequestPanics = "neb.net.requests.panics"
	// RequestFaults, followed by a fault, counts violations of peers.
	RequestFaults = "neb.net.requests.faults."
	// RequestStrangers counts streams of hosts without a session, RequestUnknown
	// those of methods that are not served.
	RequestStrangers = "neb.net.requests.strangers"
	RequestUnknown   = "neb.net.requests.unknown"
)
