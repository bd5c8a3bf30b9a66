package inspect

import (
	"html/template"
	"strings"
)

// glossary says what the terms of the page mean.
var glossary = map[string]string{
	"peer":                          "A node of the same chain that has shaken hands with this one.",
	"session":                       "The number that names this session in the logs of both sides.",
	"network":                       "16 hex digits that stand for chain ID and genesis. Nodes with another one cannot even negotiate.",
	"inbound":                       "The peer opened the handshake.",
	"outbound":                      "This node opened the handshake.",
	"agent":                         "What the peer's program calls itself. Nobody has checked it.",
	"transport":                     "How the connection is made.",
	"age":                           "Since the handshake was completed.",
	"round trip":                    "How long the last ping took to come back.",
	"rate":                          "Bytes of messages a second, as of the last two seconds.",
	"queue":                         "What waits to be sent to the peer.",
	"value":                         "What the peer is worth when places are short, in points; the sum of its parts.",
	"score":                         "What gossip thinks of the peer, in points; the sum of its parts. Below zero it has misbehaved.",
	"mesh":                          "The peers to which broadcasts of a type are passed on at once.",
	"protected":                     "Why the peer is not given up for another one.",
	"differs":                       "Types that the peer declares otherwise than this node. What both allow still arrives.",
	"faults":                        "Violations of the protocol by the peer.",
	"duplicate":                     "A copy of a message that had come before. It is no loss.",
	"rejected":                      "The validator called it wrong. Its senders lose score.",
	"ignored":                       "The validator did not want it, and nobody is blamed.",
	"deferred":                      "The validator waits for something, such as a parent block.",
	"turned away":                   "There was no room for it. It is taken when it comes again.",
	"dispatcher":                    "Hands each message to every subscriber of its type.",
	"subscriber":                    "A part of the program that takes messages of a type.",
	"policy":                        "What happens when the subscriber is full.",
	"dropped":                       "Lost, and counted with the reason.",
	"reachability":                  "Whether others can dial this node, as far as it was found out.",
	"boot":                          "The nodes that this one connects to first.",
	"tunnel":                        "A TCP or unix-socket service that is reached through a peer.",
	"handled":                       "Calls of others that a handler took.",
	"cancelled":                     "Given up by the caller before a handler took them.",
	"chunk":                         "A large broadcast is cut into chunks, which come from several peers at once.",
	"phase":                         "How far it is: its header is checked, its chunks are fetched, it is judged, it is served.",
	"holders":                       "Peers that have all of it.",
	"told":                          "Peers that know of it from this node.",
	"junk":                          "Chunks that nobody had asked for.",
	"lies":                          "Chunks that were not those announced. Who sends them is banned.",
	"promises":                      "Chunks that a peer said it was about to send.",
	"snubs":                         "Times that a peer said to have chunks and sent nothing.",
	"how long":                      "Each bar counts calls that took at most so long; hover to read.",
	"hash":                          "SHA3-256 of the type and the content of a message.",
	"tracing":                       "The ways of messages are kept, one by one. It costs a hash for each step.",
	"in":                            "Bytes of messages from the peer a second, as of the last two seconds.",
	"out":                           "Bytes of messages to the peer a second, as of the last two seconds.",
	"direction":                     "Inbound: the peer opened the handshake. Outbound: this node did.",
	"event time":                    "When it happened, by the clock of this node; hover for the day.",
	"event":                         "The kind of what happened.",
	"reason":                        "The reason that the protocol names.",
	"detail":                        "More about it in words, of the program or of the peer.",
	"priority":                      "Which messages go first where several wait.",
	"offered":                       "Messages that came for the subscriber, since the start.",
	"delivered":                     "Messages that the subscriber was given, since the start.",
	"queued":                        "Messages that wait now.",
	"way in":                        "Messages from others on their way to the subscribers, since the start.",
	"way out":                       "Messages of this node on their way to others, since the start.",
	"from peers":                    "Messages that single peers sent to this node.",
	"to peers":                      "Messages that this node sent to single peers.",
	"broadcasts":                    "Broadcasts of others, each copy counted.",
	"own broadcasts":                "Broadcasts that this node published.",
	"large broadcasts":              "Broadcasts above 256 KiB that others announced.",
	"header refused":                "The header of the broadcast was called wrong, or not wanted.",
	"header expired":                "The header of the broadcast stayed deferred.",
	"header deferred, then expired": "The header of the broadcast waited for something that did not come in time.",
	"deferred, then expired":        "It waited for something that did not come in time.",
	"no subscriber":                 "Nobody in the program takes this type.",
	"met nobody":                    "No peer took the broadcast.",
	"copies dropped at full queues": "Copies that the queue of a peer did not take, or that ended with its stream.",
	"message type":                  "The name under which the program declared this kind of messages.",
	"size":                          "Bytes of the content.",
	"large id":                      "The first digits of what identifies the broadcast; hover for all.",
	"large from":                    "Who told this node of it first.",
	"large here":                    "Bytes that have come, and the share of the whole.",
	"large age":                     "Since this node knows of it.",
	"large took":                    "From the first announcement until all of it was here.",
	"large in":                      "Bytes that came, copies included.",
	"large out":                     "Bytes that went out to others.",
	"announced":                     "Large broadcasts that others told of, since the start.",
	"fetched":                       "Large broadcasts that came as a whole, since the start.",
	"published":                     "Large broadcasts that this node spread without fetching them, its own among them, since the start.",
	"stalled":                       "No peer gave the rest in time.",
	"mean time to the whole":        "From the announcement to the last chunk, on average.",
	"chunks fetched":                "Chunks that came and were right, since the start.",
	"chunks twice":                  "Chunks that came again.",
	"promises kept":                 "Chunks that a peer said it was about to send, and sent.",
	"promises broken":               "Chunks that a peer said it was about to send, and did not.",
	"chunks served":                 "Chunks that this node gave to others, since the start.",
	"method":                        "The name of a kind of requests.",
	"call rate":                     "Calls a second, as of the last two seconds.",
	"error code":                    "Why calls failed: an answer of the other side, or what this node found.",
	"calls":                         "Calls of this node that have ended, since the start.",
	"failed":                        "Calls that ended with an error, in all and by code.",
	"95 of 100 within":              "95 of 100 of the latest calls took at most so long.",
	"answers received":              "Bytes of answers that came.",
	"answers sent":                  "Bytes of answers that went out.",
	"answered":                      "Calls whose handler ended without an error.",
	"running":                       "Handlers that run now.",
	"waiting":                       "Calls that wait for a handler now.",
	"tunnel protocol":               "The name under which both ends of the tunnel find each other.",
	"listens on":                    "The address at which the tunnel takes connections.",
	"goes to":                       "The address to which the tunnel passes connections on.",
	"tunnel open":                   "Connections that are open now.",
	"tunnel all":                    "Connections that were opened, since the tunnel was made.",
	"tunnel refused":                "Connections that were turned away, since the tunnel was made.",
	"tunnel in":                     "Bytes that came from the peers.",
	"tunnel out":                    "Bytes that went to the peers.",
	"tunnel age":                    "Since the connection was opened.",
	"tunnel direction":              "Which side opened the connection through the tunnel.",
	"tunnel state":                  "Dialing, open, local-done or peer-done (one side sends no more), or closed.",
	"local end":                     "The address on this side of the connection.",
	"step time":                     "When it happened, by the clock of this node; hover for the day.",
	"step after":                    "Time since the first step.",
	"step":                          "What happened to the message.",
	"first seen":                    "When this node met the message; hover for the day.",
	"trace from":                    "Who sent the first copy.",
	"steps":                         "How many things happened to the message.",
	"last step":                     "What happened to the message last.",
	"peer id":                       "The name of this node, made from its public key. Others reach it under it.",
	"chain":                         "The chain ID of the configuration. Nodes of another chain are refused.",
	"node state":                    "Not started, starting, running or stopped, and for how long.",
	"addresses":                     "Where others can dial this node.",
	"address":                       "Where the peer is reached, the transport, and who opened the handshake.",
	"messages":                      "Messages that came, that went out, and that were lost, since the start.",
	"banned":                        "Peers that may not connect for some time.",
	"messages in":                   "Messages that came, a second.",
	"messages out":                  "Messages that went out, a second.",
	"bytes in":                      "Bytes that came, a second.",
	"bytes out":                     "Bytes that went out, a second.",
	"version":                       "The version of the protocol that both speak, and what else the peer says it can do.",
	"peer in":                       "What came from the peer in this session, and the rate of the last two seconds.",
	"peer out":                      "What went to the peer in this session, and the rate of the last two seconds.",
	"before that":                   "Why the session or the attempt before this one ended.",
	"value useful":                  "For new messages that the peer brought.",
	"value age":                     "For a long session.",
	"value latency":                 "For a short round trip.",
	"value gossip":                  "For its score in gossip.",
	"value answers":                 "For requests that it answered.",
	"score types":                   "For its time in meshes, and for messages that it brought first, failed to bring, or that were rejected.",
	"score program":                 "That the program gave it.",
	"score address":                 "Taken away for too many peers behind one address.",
	"score behaviour":               "Taken away for coming back to a mesh too early, and for messages that it promised and did not send.",
	"score faults":                  "Taken away for violations of the protocol.",
	"score ignored":                 "Taken away for many messages that validators did not want.",
	"value penalty":                 "For violations, taken away.",
	"panics":                        "Crashes of the program's own code that were caught.",
}

// about is the entry of a word, whatever its capitals. "dropped: full" has that of
// "dropped" unless it has its own.
func about(word string) string {
	word = strings.ToLower(word)
	if text, ok := glossary[word]; ok {
		return text
	}
	head, _, _ := strings.Cut(word, ": ")
	return glossary[head]
}

// term writes a word with its meaning, for a mouse and for a screen reader. An
// unknown one is written as it is.
func term(word string) template.HTML { return named(word, word) }

// named is term for a word that means something else elsewhere on the page: entry is
// what the glossary calls it.
func named(word, entry string) template.HTML {
	text := template.HTMLEscapeString(word)
	if meaning := about(entry); meaning != "" {
		return template.HTML(`<abbr title="` + template.HTMLEscapeString(meaning) + `">` + text + `</abbr>`)
	}
	return template.HTML(text)
}
