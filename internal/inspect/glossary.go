package inspect

import "html/template"

// glossary says what the terms of the page mean.
var glossary = map[string]string{
	"peer":         "A node of the same chain that has shaken hands with this one.",
	"session":      "The number that names this session in the logs of both sides.",
	"network":      "16 hex digits that stand for chain ID and genesis. Nodes with another one cannot even negotiate.",
	"inbound":      "The peer opened the handshake.",
	"outbound":     "This node opened the handshake.",
	"agent":        "What the peer's program calls itself. Nobody has checked it.",
	"transport":    "How the connection is made.",
	"age":          "Since the handshake was completed.",
	"round trip":   "How long the last ping took to come back.",
	"rate":         "Bytes of messages a second, as of the last two seconds.",
	"queue":        "What waits to be sent to the peer.",
	"value":        "What the peer is worth when places are short.",
	"score":        "What gossip thinks of the peer: below zero it has misbehaved.",
	"mesh":         "The peers to which broadcasts of a type are passed on at once.",
	"protected":    "Why the peer is not given up for another one.",
	"differs":      "Types that the peer declares otherwise than this node. What both allow still arrives.",
	"faults":       "Violations of the protocol by the peer.",
	"duplicate":    "A copy of a message that had come before. It is no loss.",
	"rejected":     "The validator called it wrong. Its senders lose score.",
	"ignored":      "The validator did not want it, and nobody is blamed.",
	"deferred":     "The validator waits for something, such as a parent block.",
	"turned away":  "There was no room for it. It is taken when it comes again.",
	"dispatcher":   "Hands each message to every subscriber of its type.",
	"subscriber":   "A part of the program that takes messages of a type.",
	"policy":       "What happens when the subscriber is full.",
	"dropped":      "Lost, and counted with the reason.",
	"reachability": "Whether others can dial this node, as far as it was found out.",
	"boot":         "The nodes that this one connects to first.",
	"tunnel":       "A TCP or unix-socket service that is reached through a peer.",
	"handled":      "Calls of others that a handler took.",
	"cancelled":    "Given up by the caller before a handler took them.",
	"chunk":        "A large broadcast is cut into chunks, which come from several peers at once.",
	"phase":        "How far it is: its header is checked, its chunks are fetched, it is judged, it is served.",
	"holders":      "Peers that have all of it.",
	"told":         "Peers that know of it from this node.",
	"junk":         "Chunks that nobody had asked for.",
	"lies":         "Chunks that were not those announced. Who sends them is banned.",
	"promises":     "Chunks that a peer said it was about to send.",
	"snubs":        "Times that a peer said to have chunks and sent nothing.",
	"how long":     "Each bar counts calls that took at most so long; hover to read.",
	"hash":         "SHA3-256 of the type and the content of a message.",
	"tracing":      "The ways of messages are kept, one by one. It costs a hash for each step.",
	"panics":       "Crashes of the program's own code that were caught.",
}

// term writes a word with its meaning, for a mouse and for a screen reader. An
// unknown one is written as it is.
func term(word string) template.HTML {
	text := template.HTMLEscapeString(word)
	if about, ok := glossary[word]; ok {
		return template.HTML(`<abbr title="` + template.HTMLEscapeString(about) + `">` + text + `</abbr>`)
	}
	return template.HTML(text)
}
