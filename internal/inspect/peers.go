package inspect

import (
	"cmp"
	"slices"
	"strings"
)

// row is a peer with its rates.
type row struct {
	Peer
	PeerRate
	Age float64 `json:"age_seconds"`
}

func rowsOf(v view) []row {
	rows := make([]row, len(v.Peers))
	for i, p := range v.Peers {
		rows[i] = row{Peer: p, PeerRate: v.Rates[p.ID], Age: v.At.Sub(p.Since).Seconds()}
	}
	return rows
}

// columns are the orders in which the table of peers can be shown.
var columns = map[string]func(a, b row) int{
	"id":        func(a, b row) int { return strings.Compare(a.ID, b.ID) },
	"agent":     func(a, b row) int { return strings.Compare(a.Agent, b.Agent) },
	"direction": func(a, b row) int { return strings.Compare(a.Direction, b.Direction) },
	"transport": func(a, b row) int { return strings.Compare(a.Transport, b.Transport) },
	"age":       func(a, b row) int { return cmp.Compare(a.Age, b.Age) },
	"rtt":       func(a, b row) int { return cmp.Compare(a.RTT, b.RTT) },
	"in":        func(a, b row) int { return cmp.Compare(a.In, b.In) },
	"out":       func(a, b row) int { return cmp.Compare(a.Out, b.Out) },
	"queue":     func(a, b row) int { return cmp.Compare(a.QueueBytes, b.QueueBytes) },
	"value":     func(a, b row) int { return cmp.Compare(a.Value, b.Value) },
	"score":     func(a, b row) int { return cmp.Compare(a.Score, b.Score) },
	"faults":    func(a, b row) int { return cmp.Compare(a.Faults, b.Faults) },
}

// sortRows orders peers by a column, and by ID within it, so that rows do not
// jump about while they are watched. A leading dash turns the order round;
// without a column that is known, the longest connected come first.
func sortRows(rows []row, by string) {
	name, down := strings.CutPrefix(by, "-")
	order, ok := columns[name]
	if !ok {
		order, down = columns["age"], true
	}
	slices.SortFunc(rows, func(a, b row) int {
		c := order(a, b)
		if down {
			c = -c
		}
		return cmp.Or(c, strings.Compare(a.ID, b.ID))
	})
}

// rowText is a row in words. The table is written anew each second: the
// template takes plain fields with less work than embedded ones and calls.
type rowText struct {
	ID, Short, Agent, Direction, Transport string
	Age, RTT, In, Out, Queue               string
	Value, Score, Faults                   string
	Mesh, Protected, Differs               string
	BadScore, BadFaults                    bool
}

func inWords(rows []row) []rowText {
	out := make([]rowText, len(rows))
	for i, r := range rows {
		t := rowText{
			ID: r.ID, Short: short(r.ID), Agent: r.Agent, Direction: r.Direction, Transport: r.Transport,
			Age: secondsText(r.Age), RTT: "–", In: rateText(r.In), Out: rateText(r.Out), Queue: bytesText(number(r.QueueBytes)),
			Value: numText(r.Value), Score: numText(r.Score), Faults: countText(r.Faults),
			Mesh: listText(r.Mesh), Protected: listText(r.Protected), Differs: listText(r.Differs),
			BadScore: r.Score < 0, BadFaults: r.Faults > 0,
		}
		if r.RTT > 0 {
			t.RTT = millisText(r.RTT)
		}
		out[i] = t
	}
	return out
}
