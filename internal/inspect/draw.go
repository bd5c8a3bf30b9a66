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
		} else if len(out) < maxSpots {
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

// Size of a histogram, in the units of its view box.
const (
	histogramWidth  = 120
	histogramHeight = 24
)

// drawHistogram draws a bar for each bucket from the first that has something to the
// last.
func drawHistogram(buckets []Bucket) template.HTML {
	empty := func(b Bucket) bool { return b.Count == 0 }
	first := slices.IndexFunc(buckets, func(b Bucket) bool { return !empty(b) })
	if first < 0 {
		return "–"
	}
	last := len(buckets)
	for empty(buckets[last-1]) {
		last--
	}
	var most uint64
	for _, b := range buckets {
		most = max(most, b.Count)
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg class="histogram" viewBox="0 0 %d %d" role="img" aria-label="histogram">`, histogramWidth, histogramHeight)
	width := float64(histogramWidth) / float64(max(last-first, 6))
	for i, b := range buckets[first:last] {
		height := histogramHeight * float64(b.Count) / float64(most)
		upTo := "at most " + secondsTextShort(b.UpTo)
		if b.UpTo < 0 {
			upTo = "longer"
		}
		fmt.Fprintf(&out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s: %d</title></rect>`,
			float64(i)*width, histogramHeight-height, width-1, height, upTo, b.Count)
	}
	out.WriteString(`</svg>`)
	return template.HTML(out.String())
}

// secondsTextShort is a bound of a bucket.
func secondsTextShort(v float64) string {
	if v < 1 {
		return fmt.Sprintf("%.4g ms", v*1000)
	}
	return fmt.Sprintf("%.4g s", v)
}

// Outbound is how many peers this node has dialled.
func (v view) Outbound() int { return len(v.Peers) - v.Node.Inbound }

// short is the end of a peer ID, which tells peers apart.
func short(id string) string {
	if len(id) <= 8 {
		return id
	}
	return "…" + id[len(id)-8:]
}
