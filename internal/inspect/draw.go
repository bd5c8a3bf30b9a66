package inspect

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"slices"
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

// maxSpots is how many peers the drawing of a mesh has: more would be a blot.
const maxSpots = 60

// spot is a peer in the drawing of a mesh.
type spot struct {
	X, Y float64
	ID   string
	In   bool // in the mesh of the type
}

// mesh places the peers of a type on a circle round this node: those of its
// mesh on the inner one. Of many peers, those of the mesh come first.
func mesh(v view, name string) []spot {
	var in, out []spot
	for _, p := range v.Peers {
		if slices.Contains(p.Mesh, name) {
			in = append(in, spot{ID: p.ID, In: true})
		} else {
			out = append(out, spot{ID: p.ID})
		}
	}
	spots := append(in, out...)
	spots = spots[:min(len(spots), maxSpots)]
	for i := range spots {
		turn, radius := 2*math.Pi*float64(i)/float64(len(spots)), 90.0
		if spots[i].In {
			radius = 60
		}
		spots[i].X, spots[i].Y = 100+radius*math.Sin(turn), 100-radius*math.Cos(turn)
	}
	return spots
}

// drawMesh is the drawing as SVG. It is written here and not by a template, which
// would take a hundred times as long.
func drawMesh(name string, spots []spot) template.HTML {
	if len(spots) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="mesh" viewBox="0 0 200 200" role="img" aria-label="mesh of %s"><circle class="self" cx="100" cy="100" r="6"/>`, template.HTMLEscapeString(name))
	for _, s := range spots {
		class, more := "out", ""
		if s.In {
			class, more = "in", ", in the mesh"
			fmt.Fprintf(&b, `<line x1="100" y1="100" x2="%.1f" y2="%.1f"/>`, s.X, s.Y)
		}
		fmt.Fprintf(&b, `<a href="peer?id=%s"><circle class="%s" cx="%.1f" cy="%.1f" r="4"><title>%s%s</title></circle></a>`,
			url.QueryEscape(s.ID), class, s.X, s.Y, template.HTMLEscapeString(short(s.ID)), more)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// short is the end of a peer ID, which tells peers apart.
func short(id string) string {
	if len(id) <= 8 {
		return id
	}
	return "…" + id[len(id)-8:]
}
