package inspect

import "github.com/go-nebnet/nebnet/internal/obs"

// kind is what Prometheus calls the type of a metric.
type kind uint8

const (
	counter kind = iota
	gauge
	histogram
)

// family is one metric for Prometheus, and where in the registry its values are.
type family struct {
	name, help string
	kind       kind
	// source is the name in the registry, without what follows it.
	source string
	// labels name what follows the source, parted by dots, the last one taking
	// the rest. Without any, the source itself is meant.
	labels []string
	// fixed are labels with one value, for two sources of one family.
	fixed map[string]string
}

var (
	byType   = []string{"type"}
	byReason = []string{"reason"}
	byMethod = []string{"method"}
)

// families are all that the library counts, in the units of Prometheus: base
// units, counters that end in _total. Where the registry has both a sum and its
// parts by type, the parts are exported and Prometheus sums up.
var families = []family{
	{name: "nebnet_dispatcher_queued_messages", help: "Messages that wait in the dispatcher.", kind: gauge, source: obs.DispatcherCached},
	{name: "nebnet_dispatcher_received_total", help: "Messages put to the dispatcher, of types that ever had a subscriber.", source: obs.DispatcherReceived, labels: byType},
	{name: "nebnet_dispatcher_delivered_total", help: "Messages that at least one subscriber took.", source: obs.DispatcherDelivered, labels: byType},
	{name: "nebnet_dispatcher_duplicate_total", help: "Messages held back as duplicates.", source: obs.DispatcherDuplicate, labels: byType},
	{name: "nebnet_dispatcher_unrouted_total", help: "Messages of all types for which there was no subscriber.", source: obs.DispatcherUnrouted},
	{name: "nebnet_dispatcher_lost_total", help: "Messages lost for whatever reason, by type.", source: obs.DispatcherLost, labels: byType},
	{name: "nebnet_dispatcher_dropped_total", help: "Messages lost, by reason.", source: obs.DispatcherDropped, labels: byReason},
	{name: "nebnet_dispatcher_wait_seconds", help: "From the admission of a message until a subscriber has it, of one message a second and type.", kind: histogram, source: obs.DispatcherWait, labels: byType},
	{name: "nebnet_validation_seconds", help: "How long the validator of a type took.", kind: histogram, source: obs.Validation, labels: byType},
	{name: "nebnet_dispatcher_panics_total", help: "Panics of subscriber code that were recovered.", source: obs.DispatcherPanics},

	{name: "nebnet_messages_received_total", help: "Messages read from message streams.", source: obs.PacketsIn, labels: byType},
	{name: "nebnet_messages_sent_total", help: "Messages written to message streams.", source: obs.PacketsOut, labels: byType},
	{name: "nebnet_message_received_bytes_total", help: "Bytes of messages read from message streams, frames included.", source: obs.BytesIn, labels: byType},
	{name: "nebnet_message_sent_bytes_total", help: "Bytes of messages written to message streams, frames included.", source: obs.BytesOut, labels: byType},
	{name: "nebnet_send_dropped_total", help: "Messages that were queued for a peer and never written.", source: obs.SendDropped, labels: byReason},
	{name: "nebnet_send_queue_bytes", help: "Bytes in the queues of message streams to all peers.", kind: gauge, source: obs.QueueBytes},
	{name: "nebnet_deliver_panics_total", help: "Message streams reset because the code that takes messages panicked.", source: obs.DeliverPanics},
	{name: "nebnet_deliver_errors_total", help: "Message streams reset because the code that takes messages refused.", source: obs.DeliverErrors},
	{name: "nebnet_faults_total", help: "Protocol violations of peers on message streams.", source: obs.Faults, labels: byReason},
	{name: "nebnet_types_differ_total", help: "Declarations of peers that differ from this node's.", source: obs.TypesDiffer, labels: byType},
	{name: "nebnet_direct_refused_total", help: "Messages sent directly that the type's validator did not accept.", source: obs.DirectRefused, labels: byType},
	{name: "nebnet_undecodable_total", help: "Messages whose codec refused them.", source: obs.Undecodable, labels: byType},

	{name: "nebnet_peers", help: "Peers with a session, by who opened the handshake.", kind: gauge, source: obs.SessionsInbound, fixed: map[string]string{"direction": "inbound"}},
	{name: "nebnet_peers", help: "Peers with a session, by who opened the handshake.", kind: gauge, source: obs.SessionsOutbound, fixed: map[string]string{"direction": "outbound"}},
	{name: "nebnet_handshakes_refused_total", help: "Handshakes that failed, by which side refused and why.", source: obs.Refused, labels: byReason, fixed: map[string]string{"by": "this node"}},
	{name: "nebnet_handshakes_refused_total", help: "Handshakes that failed, by which side refused and why.", source: obs.RefusedBy, labels: byReason, fixed: map[string]string{"by": "peer"}},
	{name: "nebnet_handshake_seconds", help: "How long handshakes took that made a session.", kind: histogram, source: obs.HandshakeTime},
	{name: "nebnet_disconnects_total", help: "Sessions that ended.", source: obs.Disconnected, labels: byReason},
	{name: "nebnet_dials_total", help: "Attempts to dial a peer; the reason none is success.", source: obs.Dials, labels: byReason},
	{name: "nebnet_bans_total", help: "Bans of peers.", source: obs.Bans},
	{name: "nebnet_address_book_corrupt_total", help: "Address books that could not be read.", source: obs.BookCorrupt},
	{name: "nebnet_address_book_unsaved_total", help: "Failed attempts to save the address book.", source: obs.BookUnsaved},
	{name: "nebnet_known_peers", help: "Peers in the address book.", kind: gauge, source: obs.PeersKnown},
	{name: "nebnet_peers_replaced_total", help: "Sessions that ended to give their place to a better peer.", source: obs.PeersReplaced},
	{name: "nebnet_crowded_total", help: "Peers that tried to have too many connections.", source: obs.Crowded},
	{name: "nebnet_peer_events_dropped_total", help: "Peer events that a slow subscription missed.", source: obs.PeerEventsDropped},
	{name: "nebnet_ping_round_trip_seconds", help: "Round trips of pings.", kind: histogram, source: obs.PingRTT},
	{name: "nebnet_connections_refused_total", help: "Connections refused before a session.", source: obs.ConnsRefused, labels: byReason},
	{name: "nebnet_streams_refused_total", help: "Inbound streams refused by limits.", source: obs.StreamsRefused, labels: byReason},
	{name: "nebnet_payload_too_large_total", help: "Handshakes that failed because the program's payload was too long.", source: obs.PayloadTooLarge},
	{name: "nebnet_callback_panics_total", help: "Panics of the program's callbacks of a handshake.", source: obs.CallbackPanics},

	{name: "nebnet_tunnel_streams", help: "Running tunnel streams.", kind: gauge, source: obs.TunnelActive},
	{name: "nebnet_tunnel_opened_total", help: "Tunnel streams that were let in or dialled.", source: obs.TunnelOpened},
	{name: "nebnet_tunnel_received_bytes_total", help: "Tunnelled bytes from peers.", source: obs.TunnelBytesIn},
	{name: "nebnet_tunnel_sent_bytes_total", help: "Tunnelled bytes to peers.", source: obs.TunnelBytesOut},
	{name: "nebnet_tunnel_refused_total", help: "Tunnel streams that were turned away.", source: obs.TunnelRefused, labels: byReason},
	{name: "nebnet_tunnel_failed_total", help: "Tunnel streams that ended with an error.", source: obs.TunnelFailed, labels: byReason},
	{name: "nebnet_tunnel_accept_errors_total", help: "Errors of local accept loops.", source: obs.TunnelAcceptErrors},
	{name: "nebnet_tunnel_panics_total", help: "Panics of rules given by the program.", source: obs.TunnelPanics},

	{name: "nebnet_discovery_failed_total", help: "Looks for peers, by DNS, say, that failed.", source: obs.SourceFailed},
	{name: "nebnet_exchange_asked_total", help: "Requests for peers that were sent.", source: obs.ExchangeAsked},
	{name: "nebnet_exchange_failed_total", help: "Requests for peers without a valid reply.", source: obs.ExchangeFailed},
	{name: "nebnet_exchange_answered_total", help: "Requests for peers that were answered.", source: obs.ExchangeAnswered},
	{name: "nebnet_exchange_refused_total", help: "Requests for peers that were not answered.", source: obs.ExchangeRefused, labels: byReason},
	{name: "nebnet_exchange_found_total", help: "Candidates found by peer exchange.", source: obs.ExchangeFound},
	{name: "nebnet_exchange_dropped_total", help: "Candidates of peer exchange that were not used.", source: obs.ExchangeDropped, labels: byReason},
	{name: "nebnet_exchange_faults_total", help: "Violations of peer exchange by peers.", source: obs.ExchangeFaults, labels: byReason},
	{name: "nebnet_exchange_panics_total", help: "Panics of callbacks of peer exchange.", source: obs.ExchangePanics},

	{name: "nebnet_gossip_published_total", help: "Own broadcasts.", source: obs.GossipPublished, labels: byType},
	{name: "nebnet_gossip_relayed_total", help: "Broadcasts of others passed on by an explicit Relay.", source: obs.GossipRelayed, labels: byType},
	{name: "nebnet_gossip_queued_total", help: "Own broadcasts that had to wait for a first peer.", source: obs.GossipQueued, labels: byType},
	{name: "nebnet_gossip_unsent_total", help: "Own broadcasts that met no peer in time.", source: obs.GossipUnsent, labels: byType},
	{name: "nebnet_gossip_delivered_total", help: "Broadcasts of others that were delivered.", source: obs.GossipDelivered, labels: byType},
	{name: "nebnet_gossip_duplicates_total", help: "Copies of broadcasts that had come before.", source: obs.GossipDuplicates, labels: byType},
	{name: "nebnet_gossip_rejected_total", help: "Broadcasts that the validator rejected.", source: obs.GossipRejected, labels: byType},
	{name: "nebnet_gossip_ignored_total", help: "Broadcasts that the validator ignored.", source: obs.GossipIgnored, labels: byType},
	{name: "nebnet_gossip_deferred_total", help: "Broadcasts that the validator deferred.", source: obs.GossipDeferred, labels: byType},
	{name: "nebnet_gossip_expired_total", help: "Deferred broadcasts that nobody resumed in time.", source: obs.GossipExpired, labels: byType},
	{name: "nebnet_gossip_turned_away_total", help: "Broadcasts turned away under load.", source: obs.GossipAway, labels: []string{"reason", "type"}},
	{name: "nebnet_gossip_retaken_total", help: "Broadcasts that came again after they had been turned away.", source: obs.GossipRetaken, labels: byType},
	{name: "nebnet_gossip_forgotten_total", help: "Broadcasts turned away of which there were too many to remember.", source: obs.GossipForgotten, labels: byType},
	{name: "nebnet_gossip_announced_total", help: "Recent broadcasts of which newcomers were told.", source: obs.GossipAnnounced, labels: byType},
	{name: "nebnet_gossip_panics_total", help: "Panics of validators and receivers.", source: obs.GossipPanics, labels: byType},
	{name: "nebnet_gossip_callback_panics_total", help: "Panics of gossip's callbacks that serve all types.", source: obs.GossipPanics},
	{name: "nebnet_gossip_held_total", help: "Own broadcasts that had to wait because the queue of a peer was full.", source: obs.GossipHeld, labels: byType},
	{name: "nebnet_gossip_dropped_total", help: "Copies that the queue of a peer did not take or lost.", source: obs.GossipDropped, labels: byType},
	{name: "nebnet_gossip_received_bytes_total", help: "Data of broadcasts received, duplicates included.", source: obs.GossipBytesIn, labels: byType},
	{name: "nebnet_gossip_sent_bytes_total", help: "Data of broadcasts sent.", source: obs.GossipBytesOut, labels: byType},
	{name: "nebnet_gossip_delay_seconds", help: "From publication to delivery, of timed types.", kind: histogram, source: obs.GossipDelay, labels: byType},
	{name: "nebnet_gossip_wire_received_bytes_total", help: "All bytes read from gossip streams.", source: obs.GossipWireIn},
	{name: "nebnet_gossip_wire_sent_bytes_total", help: "All bytes written to gossip streams.", source: obs.GossipWireOut},
	{name: "nebnet_gossip_slow_total", help: "Times that a full peer was no longer waited for, or was cut off.", source: obs.GossipSlow},
	{name: "nebnet_gossip_faults_total", help: "Gossip frames that no honest peer sends.", source: obs.GossipFaults, labels: byReason},

	{name: "nebnet_swarm_announced_total", help: "Large messages that a peer announced first.", source: obs.SwarmAnnounced, labels: byType},
	{name: "nebnet_swarm_fetched_total", help: "Large messages that came whole.", source: obs.SwarmFetched, labels: byType},
	{name: "nebnet_swarm_published_total", help: "Large messages that this node spread without having fetched them.", source: obs.SwarmPublished, labels: byType},
	{name: "nebnet_swarm_refused_total", help: "Large messages whose header was not accepted.", source: obs.SwarmRefused, labels: byType},
	{name: "nebnet_swarm_expired_total", help: "Large messages whose header stayed deferred.", source: obs.SwarmExpired, labels: byType},
	{name: "nebnet_swarm_stalled_total", help: "Large messages of which no more came.", source: obs.SwarmStalled, labels: byType},
	{name: "nebnet_swarm_turned_away_total", help: "Large messages for which there was no room.", source: obs.SwarmTurnedAway, labels: byType},
	{name: "nebnet_swarm_chunks_total", help: "Chunks received that were missing.", source: obs.SwarmChunks, labels: byType},
	{name: "nebnet_swarm_duplicates_total", help: "Chunks received that were here.", source: obs.SwarmDuplicates, labels: byType},
	{name: "nebnet_swarm_junk_total", help: "Chunks received that nobody had asked for.", source: obs.SwarmJunk, labels: byType},
	{name: "nebnet_swarm_lies_total", help: "Chunks received that were not those announced.", source: obs.SwarmLies, labels: byType},
	{name: "nebnet_swarm_promises_kept_total", help: "Chunks that came from a peer that had promised them.", source: obs.SwarmPromisesKept, labels: byType},
	{name: "nebnet_swarm_promises_broken_total", help: "Promises of peers that were given up.", source: obs.SwarmPromisesBroken, labels: byType},
	{name: "nebnet_swarm_snubs_total", help: "Times that a peer said to have chunks and sent nothing.", source: obs.SwarmSnubs, labels: byType},
	{name: "nebnet_swarm_served_total", help: "Chunks handed out.", source: obs.SwarmServed, labels: byType},
	{name: "nebnet_swarm_received_bytes_total", help: "Bytes of chunks received.", source: obs.SwarmBytesIn, labels: byType},
	{name: "nebnet_swarm_sent_bytes_total", help: "Bytes of chunks handed out.", source: obs.SwarmBytesOut, labels: byType},
	{name: "nebnet_swarm_seconds", help: "From the first announcement of a large message to the whole.", kind: histogram, source: obs.SwarmTime, labels: byType},
	{name: "nebnet_swarm_wire_received_bytes_total", help: "All bytes read from the streams of large broadcasts.", source: obs.SwarmWireIn},
	{name: "nebnet_swarm_wire_sent_bytes_total", help: "All bytes written to the streams of large broadcasts.", source: obs.SwarmWireOut},
	{name: "nebnet_swarm_held_bytes", help: "Bytes set aside for large messages under way and served.", kind: gauge, source: obs.SwarmHeld},
	{name: "nebnet_swarm_panics_total", help: "Panics of checks of headers.", source: obs.SwarmPanics},
	{name: "nebnet_swarm_faults_total", help: "What peers did with large broadcasts that no honest one does.", source: obs.SwarmFaults, labels: byReason},

	{name: "nebnet_request_calls_total", help: "Calls that this node made.", source: obs.RequestCalls, labels: byMethod},
	{name: "nebnet_request_failed_total", help: "Calls that failed.", source: obs.RequestFailed, labels: byMethod},
	{name: "nebnet_request_errors_total", help: "Calls that failed, by how.", source: obs.RequestErrors, labels: []string{"code", "method"}},
	{name: "nebnet_request_seconds", help: "From a call to the end of its answers.", kind: histogram, source: obs.RequestLatency, labels: byMethod},
	{name: "nebnet_request_handled_total", help: "Calls of others that a handler took.", source: obs.RequestHandled, labels: byMethod},
	{name: "nebnet_request_answered_total", help: "Calls of others answered without an error.", source: obs.RequestAnswered, labels: byMethod},
	{name: "nebnet_request_cancelled_total", help: "Calls of others given up before a handler took them.", source: obs.RequestCancelled, labels: byMethod},
	{name: "nebnet_request_refused_total", help: "Calls of others answered with an error.", source: obs.RequestRefused, labels: []string{"code", "method"}},
	{name: "nebnet_request_handler_seconds", help: "How long handlers took.", kind: histogram, source: obs.RequestHandlerTime, labels: byMethod},
	{name: "nebnet_request_received_bytes_total", help: "Bytes of answers received.", source: obs.RequestBytesIn, labels: byMethod},
	{name: "nebnet_request_sent_bytes_total", help: "Bytes of answers sent.", source: obs.RequestBytesOut, labels: byMethod},
	{name: "nebnet_request_undecodable_total", help: "Requests and answers whose codec refused them.", source: obs.RequestUndecodable, labels: byMethod},
	{name: "nebnet_request_panics_total", help: "Panics of handlers that were recovered.", source: obs.RequestPanics, labels: byMethod},
	{name: "nebnet_request_faults_total", help: "Violations of the request protocol by peers.", source: obs.RequestFaults, labels: byReason},
	{name: "nebnet_request_strangers_total", help: "Request streams of hosts without a session.", source: obs.RequestStrangers},
	{name: "nebnet_request_unknown_total", help: "Request streams of methods that are not served.", source: obs.RequestUnknown},
}
