// Package inspect shows a node to a person and to scripts: one http.Handler with
// a page of several parts, live where the browser runs scripts, and the same
// facts as JSON. Nothing that it serves changes the node.
//
//	i := inspect.New(source, inspect.Config{})
//	defer i.Close()
//	http.Handle("/node/", http.StripPrefix("/node", i))
//
// # The way of a number
//
// The node keeps the counters. A [Source] reads them all at once into a
// [Snapshot], plain data whose JSON names are stable. While somebody looks, the
// sampler takes a snapshot every second, keeps what the charts of the last ten
// minutes need, and wakes the viewers; each viewer's own request renders its part
// of the page and writes it as a server-sent event. A viewer that does not read
// for [Config.WriteTimeout] is dropped. When nobody has looked for ten minutes
// the sampler ends, so a page that nobody looks at costs nothing.
//
// Rates, alarms, orders and drawings are pure functions of snapshots. Drawings
// are SVG made here, so that the page works without scripts.
//
// # Goroutines
//
// One, the sampler, from the first viewer until ten minutes after the last or
// until Close, which waits for it. Requests run on the goroutines of the
// program's http.Server.
//
// # Remote text
//
// Agents, reasons and names come from peers. They are cleaned and cut by the
// node before they get here, escaped by html/template, and never part of a
// script, a style or a link.
package inspect
