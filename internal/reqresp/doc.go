// Package reqresp carries requests between peers that have a session: typed
// methods with one answer, streamed answers or streamed requests. SPEC.md is the
// wire format.
//
// # The way of a call
//
//	Call ── callQuota ── caller (one stream for each peer and method)
//	            │            outbox ──> pump ─────────────┐
//	            │                                         ▼
//	            │                                  server.read (one for each stream)
//	            │                            rate, quota (desk) ── served
//	            │                            admission: run, wait, busy
//	            │                                  Handler ── answer
//	            │                                         │
//	         incoming <── caller.read <── pump <── outbox ┘
//
// A caller's calls share a stream; each has a number, given in the step in which its
// first frame is queued. An [outbox] takes small frames at once and lets larger
// messages take turns, a fragment each; its pump writes whenever there is something,
// without a timer: what comes together goes out together. [incoming] puts messages
// together and holds those that the program has not taken yet.
//
// # Bounds
//
// Who asks is bounded in calls (callQuota). Who serves decides with two pure books:
// quota (calls and bytes of each peer and of all, over all methods) and admission
// (which calls of a method run, wait or are refused; waiting peers take turns). What
// does not fit is Busy at once. A streamed direction has credit, so each end holds at
// most a window and one message, however slow the other. A call whose answer is not
// taken keeps its place in the quota, and no handler.
//
// # Goroutines
//
// Two for each open stream at each end (reading and writing), one for each handler
// that runs, and one that keeps time. Close waits for all and names handlers that do
// not return. Handlers' panics end there: counted, logged, answered Internal.
package reqresp
