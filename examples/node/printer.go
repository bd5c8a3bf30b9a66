package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// printer writes what happens, as text or as one JSON object a line. Several
// goroutines use it.
type printer struct {
	mu   sync.Mutex // guards w
	w    io.Writer
	json bool
}

func (p *printer) line(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, s)
}

// event writes one event; text is what a person sees of it.
func (p *printer) event(name string, fields map[string]any, text string) {
	if !p.json {
		p.line(text)
		return
	}
	fields["event"] = name
	fields["time"] = time.Now().UTC().Format(time.RFC3339Nano)
	b, err := json.Marshal(fields)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"event": "error", "error": err.Error()})
	}
	p.line(string(b))
}

func (p *printer) listening(n *netservice.Node) {
	addrs := n.Addrs()
	if len(addrs) == 0 {
		p.event("started", map[string]any{"id": n.ID().String()}, "started as "+n.ID().String())
	}
	for _, a := range addrs {
		p.event("listening", map[string]any{"addr": a.String()}, "listening on "+a.String())
	}
}

func (p *printer) message(m dispatcher.Message) {
	from := m.MessageFrom()
	if from == "" {
		from = "self"
	}
	data, rest := m.Data(), ""
	if len(data) > maxShown {
		data, rest = data[:maxShown], fmt.Sprintf("… (%d bytes)", len(data))
	}
	p.event("message", map[string]any{"from": from, "type": m.MessageType(), "bytes": len(m.Data()), "text": string(m.Data())},
		fmt.Sprintf("%s %s: %q%s", short(from), m.MessageType(), data, rest))
}

// maxShown is how many bytes of a message are printed for people.
const maxShown = 1024

func (p *printer) peer(e netservice.PeerEvent) {
	f := map[string]any{"peer": e.Peer.String()}
	text := fmt.Sprintf("%s %s", e.Kind, e.Peer)
	if e.Reason != netservice.ReasonNone {
		f["reason"], f["by_peer"] = e.Reason.String(), e.ByRemote
		text += ": " + e.Reason.String()
		if e.ByRemote {
			text += " (said the peer)"
		}
	}
	p.event(e.Kind.String(), f, text)
}

func (p *printer) peers(list []netservice.PeerInfo) {
	for _, i := range list {
		p.event("peer", map[string]any{
			"peer": i.ID.String(), "addr": i.Addr.String(), "direction": strings.ToLower(i.Direction.String()),
			"agent": i.Agent, "rtt_us": i.RTT.Microseconds(), "since": i.Since.UTC().Format(time.RFC3339),
		}, fmt.Sprintf("%s %-8s %-10s %s %s", i.ID, strings.ToLower(i.Direction.String()), i.RTT.Round(10*time.Microsecond), i.Addr, i.Agent))
	}
	if len(list) == 0 && !p.json {
		p.line("no peers")
	}
}

func (p *printer) stats(s netservice.Stats) {
	if p.json {
		p.event("stats", map[string]any{"stats": s}, "")
		return
	}
	d := s.Dispatcher.Total
	p.line(fmt.Sprintf("received %d = delivered %d + duplicate %d + dropped %d + unrouted %d",
		d.Received, d.Delivered, d.Duplicate, d.DroppedTotal(), d.Unrouted))
	for _, name := range slices.Sorted(maps.Keys(s.Gossip.Types)) {
		g := s.Gossip.Types[name]
		p.line(fmt.Sprintf("broadcast %s: published %d, delivered %d, copies %d, rejected %d, ignored %d, mesh %d",
			name, g.Published, g.Delivered, g.Duplicates, g.Rejected, g.Ignored, g.Mesh))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Large.Types)) {
		l := s.Large.Types[name]
		p.line(fmt.Sprintf("large %s: published %d, fetched %d of %d announced, chunks %d + copies %d, promises kept %d, broken %d, chunks served %d",
			name, l.Published, l.Fetched, l.Announced, l.Chunks, l.Duplicates, l.PromisesKept, l.PromisesBroken, l.Served))
	}
	for _, m := range s.Large.Messages {
		p.line(fmt.Sprintf("large %s %x: %s, %d of %d B, took %s, %d chunks served, %d peers have it",
			m.Type, m.ID[:4], m.Phase, m.Here, m.Size, m.Took.Round(time.Millisecond), m.Tally.Served, m.Holders))
	}
	for _, id := range slices.Sorted(maps.Keys(s.Peers)) {
		out, in := s.Peers[id].Send, s.Peers[id].Receive
		dropped := uint64(0)
		for _, n := range out.Dropped {
			dropped += n
		}
		p.line(fmt.Sprintf("%s out: queued %d = written %d + dropped %d + pending %d, %d B; in: %d, %d B",
			short(id), out.Queued, out.Written, dropped, out.Pending, out.WrittenBytes, in.Messages, in.Bytes))
	}
}

func (p *printer) help(list []command) {
	var lines []string
	uses := make(map[string]string)
	for _, c := range list {
		use := strings.TrimSpace(c.name + " " + c.args)
		uses[use] = c.help
		lines = append(lines, fmt.Sprintf("%-26s %s", use, c.help))
	}
	p.event("help", map[string]any{"commands": uses}, strings.Join(lines, "\n"))
}

func (p *printer) done(what string, fields map[string]any) {
	p.event(what, fields, fmt.Sprintf("%s %v bytes of %v", what, fields["bytes"], fields["type"]))
}

func (p *printer) lost(n uint64) {
	p.event("lost", map[string]any{"messages": n}, fmt.Sprintf("%d messages were lost: see stats", n))
}

func (p *printer) failed(err error) {
	p.event("error", map[string]any{"error": err.Error()}, "error: "+err.Error())
}

// short is the end of a peer ID, which is where IDs differ.
func short(id string) string {
	if len(id) > 8 {
		return "…" + id[len(id)-8:]
	}
	return id
}
