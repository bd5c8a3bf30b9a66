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
