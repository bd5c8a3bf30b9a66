// Package router is GossipSub as a pure state machine: what a node does with its
// mesh, with messages and with what peers tell it, and nothing else. It has no
// goroutine, no clock, no lock, no input and output, and no random source but the
// one it is given; the same events in the same order have the same effects.
//
//	r := router.New(cfg, rand.New(rand.NewPCG(1, 2)))
//	effects := r.Step(router.Event{Kind: router.Tick}, now)
//
// An [Event] is something that happened: a peer came, a frame was read, a message
// was published, a validator has spoken, time has passed. An [Effect] is something
// to be done about it, in the order given: send a message or control to a peer,
// have a message validated. Whoever calls Step owns the router while it runs.
//
// # One book of messages
//
// A message is one entry under its ID, from the first copy until Config.SeenTTL
// has passed, and is in one state at any time:
//
//	            ┌────────── retryable ◄─────────┐
//	            │  copy comes again             │ no slot, no space
//	            ▼                               │
//	copy ──► waiting ──► validating ──► accepted ──► forwarded, announced, served
//	            ▲           │ └───► rejected, ignored
//	   resumed  │           ▼
//	            └────── deferred
//
//	own ──► accepted, or waiting for a first peer
//
// So a duplicate is an entry that is there, a message that was turned away under
// load is an entry that takes the next copy, and what waits for a peer is an entry
// that is sent when one comes.
//
// # What bounds it
//
// Entries are bounded in number (Config.MaxSeen) and in the bytes that are kept to
// be served (Config.HistoryBytes); deferred ones, those that wait for a validator
// and those turned away have bounds of their own, shared fairly among the peers
// that sent them. What is remembered of a peer is bounded by the topics that are
// declared here.
package router
