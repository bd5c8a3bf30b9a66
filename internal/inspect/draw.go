package inspect

import (
	"fmt"
	"math"
	"strings"
)

// Sizes of charts, in the units of their view box.
const (
	chartWidth  = 300
	chartHeight = 60
)

// chart is a line of values over the last ten minutes, the newest at the right.
type chart struct {
	Line string  // points of an SVG polyline
	Max  float64 // at the upper edge
	Last float64
	Any  bool
}

// draw makes the line of what of returns for each pair of samples that follow
// each other.
func draw(samples []Sample, of func(Rate) float64) chart {
	var c chart
	if len(samples) < 2 {
		return c
	}
	newest := samples[len(samples)-1].At
	values := make([]float64, 0, len(samples)-1)
	for i := 1; i < len(samples); i++ {
		v := of(rate(samples[i-1], samples[i]))
		values = append(values, v)
		c.Max = max(c.Max, v)
	}
	var b strings.Builder
	for i, v := range values {
		age := newest.Sub(samples[i+1].At).Seconds() / keepFor.Seconds()
		y := float64(chartHeight)
		if c.Max > 0 {
			y -= v / c.Max * (chartHeight - 2)
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", chartWidth*(1-age), y)
	}
	c.Line, c.Last, c.Any = b.String(), values[len(values)-1], true
	return c
}

// charts are those of the overview.
func (v view) Charts() map[string]chart {
	return map[string]chart{
		"Messages in":  draw(v.Samples, func(r Rate) float64 { return r.MessagesIn }),
		"Messages out": draw(v.Samples, func(r Rate) float64 { return r.MessagesOut }),
		"Bytes in":     draw(v.Samples, func(r Rate) float64 { return r.BytesIn }),
		"Bytes out":    draw(v.Samples, func(r Rate) float64 { return r.BytesOut }),
	}
}

// rate is that of the last two samples.
func (v view) rate() Rate {
	if n := len(v.Samples); n > 1 {
		return rate(v.Samples[n-2], v.Samples[n-1])
	}
	return Rate{}
}

// spot is a peer in the drawing of a mesh.
type spot struct {
	X, Y  float64
	Label string
	ID    string
	In    bool // in the mesh of the type
}

// mesh places the peers of a type on a circle round this node: those of its
// mesh on the inner one.
func mesh(v view, name string) []spot {
	spots := make([]spot, len(v.Peers))
	for i, p := range v.Peers {
		turn := 2 * math.Pi * float64(i) / float64(len(v.Peers))
		s := spot{Label: short(p.ID), ID: p.ID}
		radius := 90.0
		for _, m := range p.Mesh {
			if m == name {
				s.In, radius = true, 60
			}
		}
		s.X, s.Y = 100+radius*math.Sin(turn), 100-radius*math.Cos(turn)
		spots[i] = s
	}
	return spots
}

// short is the end of a peer ID, which tells peers apart.
func short(id string) string {
	if len(id) <= 8 {
		return id
	}
	return "…" + id[len(id)-8:]
}
