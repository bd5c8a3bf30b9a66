package inspect

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// parts are the names under /api/ with what they answer.
var parts = []struct{ name, about string }{
	{"overview", "identity, limits, totals, rates and alarms"},
	{"peers", "peers with a session; ?id=ID for one"},
	{"flow", "message types, from the wire to the subscribers"},
	{"requests", "methods of requests"},
	{"large", "broadcasts above 256 KiB, under way and by type"},
	{"tunnels", "tunnels and their connections"},
	{"events", "the latest events, newest first; ?kind=, ?peer=, ?after=NUMBER"},
	{"history", "samples of the last ten minutes, while somebody looked"},
	{"why", "?peer=ID: how it stands with that peer"},
	{"trace", "the ways of the latest messages, where tracing is on; ?type=TYPE&hash=HASH for one"},
}

func (i *Inspector) apiIndex(w http.ResponseWriter, _ *http.Request) {
	index := make(map[string]string, len(parts))
	for _, p := range parts {
		index["api/"+p.name] = p.about
	}
	answer(w, index)
}

func (i *Inspector) api(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch r.PathValue("part") {
	case "overview":
		v, _ := i.sampler.view()
		answer(w, overview{
			At: v.At, Node: v.Node, Peers: len(v.Peers), Boot: v.Boot, Totals: v.Totals, Rate: v.rate(), Alarms: nonNil(v.Alarms),
		})
	case "peers":
		i.apiPeers(w, r, q.Get("id"))
	case "flow":
		v, _ := i.sampler.view()
		answer(w, flowsOf(v))
	case "requests":
		v, _ := i.sampler.view()
		answer(w, nonNil(v.Methods))
	case "large":
		v, _ := i.sampler.view()
		types := map[string]*LargeType{}
		for _, t := range v.Types {
			if t.Large != nil {
				types[t.Name] = t.Large
			}
		}
		answer(w, map[string]any{"now": v.Large, "types": types})
	case "tunnels":
		v, _ := i.sampler.view()
		answer(w, map[string]any{"tunnels": nonNil(v.Tunnels), "streams": nonNil(v.Streams)})
	case "events":
		i.sampler.view() // notes panics
		after, _ := strconv.ParseUint(q.Get("after"), 10, 64)
		answer(w, i.events(filter{Kind: q.Get("kind"), Peer: q.Get("peer"), After: after}))
	case "trace":
		i.apiTrace(w, r)
	case "history":
		v, _ := i.sampler.view()
		answer(w, nonNil(v.Samples))
	case "why":
		text, ok := i.source.Why(q.Get("peer"))
		if !ok {
			http.Error(w, "peer is no peer ID", http.StatusBadRequest)
			return
		}
		answer(w, map[string]string{"peer": q.Get("peer"), "why": text})
	default:
		http.NotFound(w, r)
	}
}

func (i *Inspector) apiPeers(w http.ResponseWriter, r *http.Request, id string) {
	v, _ := i.sampler.view()
	rows := rowsOf(v)
	if id == "" {
		answer(w, nonNil(rows))
		return
	}
	at := slices.IndexFunc(rows, func(p row) bool { return p.ID == id })
	if at < 0 {
		http.NotFound(w, r)
		return
	}
	answer(w, rows[at])
}

// overview is the answer of /api/overview.
type overview struct {
	At     any     `json:"at"`
	Node   Node    `json:"node"`
	Peers  int     `json:"peers"`
	Boot   []Boot  `json:"boot"`
	Totals Totals  `json:"totals"`
	Rate   Rate    `json:"rate"`
	Alarms []Alarm `json:"alarms"`
}

// typeFlow is a type with its rates.
type typeFlow struct {
	Type
	Rate TypeRate `json:"rate"`
}

func flowsOf(v view) []typeFlow {
	flows := make([]typeFlow, len(v.Types))
	for i, t := range v.Types {
		flows[i] = typeFlow{t, v.TypeRates[t.Name]}
	}
	return flows
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the viewer has gone
}

// nonNil has scripts find an empty list where there is nothing, not null.
func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
