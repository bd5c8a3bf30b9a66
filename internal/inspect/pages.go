package inspect

import (
	"bytes"
	"embed"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/style.css assets/live.js
var assetFiles embed.FS

// page is one part of what is shown.
type page struct {
	Name, Title string
	Hidden      bool // not in the menu
	data        func(i *Inspector, v view, q url.Values) any
}

// allPages are those of the menu, and that of one peer.
var allPages = []*page{
	{Name: "overview", Title: "Overview", data: func(_ *Inspector, v view, _ url.Values) any { return v.Charts() }},
	{Name: "peers", Title: "Peers", data: peersData},
	{Name: "flow", Title: "Flow", data: flowData},
	{Name: "requests", Title: "Requests", data: nothing},
	{Name: "large", Title: "Large broadcasts", data: nothing},
	{Name: "tunnels", Title: "Tunnels", data: nothing},
	{Name: "trace", Title: "Trace", data: traceData},
	{Name: "events", Title: "Events", data: eventsData},
	{Name: "peer", Title: "Peer", Hidden: true, data: peerData},
}

// pageNamed finds a page; an empty name is the first one.
func pageNamed(name string) *page {
	if name == "" {
		return allPages[0]
	}
	for _, p := range allPages {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (p *page) parse() (*template.Template, error) {
	return template.New("").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/"+p.Name+".html")
}

// shown is what a template gets.
type shown struct {
	view
	Pages []*page
	Page  *page
	Query url.Values
	Live  string // where to hear of changes
	Data  any
}

func (i *Inspector) page(w http.ResponseWriter, r *http.Request) {
	p := pageNamed(r.PathValue("page"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	v, _ := i.sampler.view()
	var body bytes.Buffer
	if err := i.render(&body, "layout", p, v, r.URL.Query()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(body.Bytes()) // the viewer has gone
}

// render writes a page, or with "main" the part of it that changes.
func (i *Inspector) render(w io.Writer, what string, p *page, v view, q url.Values) error {
	t := i.templates[p.Name]
	live := url.Values{"page": {p.Name}}
	for _, key := range []string{"sort", "id", "kind", "peer", "type", "why", "hash"} {
		if q.Has(key) {
			live.Set(key, q.Get(key))
		}
	}
	return t.ExecuteTemplate(w, what, shown{
		view: v, Pages: allPages, Page: p, Query: q, Live: "live?" + live.Encode(), Data: p.data(i, v, q),
	})
}

func nothing(*Inspector, view, url.Values) any { return nil }

// column is one of the table of peers, with the link that sorts by it.
type column struct {
	Key, Term string
	Next      string // the order that a click asks for
	Mark      string
}

func peersData(i *Inspector, v view, q url.Values) any {
	by := q.Get("sort")
	rows := rowsOf(v)
	sortRows(rows, by)
	var cols []column
	for _, c := range []column{
		{Key: "id", Term: "peer"}, {Key: "agent", Term: "agent"}, {Key: "direction", Term: "direction"},
		{Key: "transport", Term: "transport"}, {Key: "age", Term: "age"}, {Key: "rtt", Term: "round trip"},
		{Key: "in", Term: "in"}, {Key: "out", Term: "out"}, {Key: "queue", Term: "queue"},
		{Key: "value", Term: "value"}, {Key: "score", Term: "score"}, {Key: "faults", Term: "faults"},
	} {
		c.Next = c.Key
		switch by {
		case c.Key:
			c.Next, c.Mark = "-"+c.Key, "▲"
		case "-" + c.Key:
			c.Mark = "▼"
		}
		cols = append(cols, c)
	}
	why := ""
	if asked := q.Get("why"); asked != "" {
		text, ok := i.source.Why(asked)
		if why = text; !ok {
			why = "That is no peer ID."
		}
	}
	return map[string]any{"Rows": inWords(rows), "Columns": cols, "Why": why}
}

func peerData(i *Inspector, v view, q url.Values) any {
	id := q.Get("id")
	why, ok := i.source.Why(id)
	if !ok {
		return map[string]any{"ID": "", "Why": "That is no peer ID."}
	}
	data := map[string]any{"ID": id, "Why": why, "Events": i.events(filter{Peer: id})}
	rows := rowsOf(v)
	if at := slices.IndexFunc(rows, func(r row) bool { return r.ID == id }); at >= 0 {
		data["Row"] = rows[at]
	}
	return data
}

// flowOf is a type with its rates and the drawing of its mesh.
type flowOf struct {
	Type
	Rate TypeRate
	Mesh template.HTML // the drawing, empty where there is none
}

func flowData(_ *Inspector, v view, q url.Values) any {
	only := q.Get("type")
	var flows []flowOf
	for _, t := range v.Types {
		if only != "" && t.Name != only {
			continue
		}
		f := flowOf{Type: t, Rate: v.TypeRates[t.Name]}
		if t.Gossip != nil && t.Gossip.Joined {
			f.Mesh = drawMesh(t.Name, mesh(v, t.Name))
		}
		flows = append(flows, f)
	}
	return flows
}

func eventsData(i *Inspector, _ view, q url.Values) any {
	f := filter{Kind: q.Get("kind"), Peer: q.Get("peer")}
	var kinds []string
	for _, e := range i.events(filter{}) {
		if !slices.Contains(kinds, e.Kind) {
			kinds = append(kinds, e.Kind)
		}
	}
	slices.Sort(kinds)
	return map[string]any{"Events": i.events(f), "Kinds": kinds, "Kind": f.Kind, "Peer": f.Peer}
}

func (i *Inspector) asset(w http.ResponseWriter, r *http.Request) {
	switch file := r.PathValue("file"); file {
	case "style.css", "live.js":
		http.ServeFileFS(w, r, assetFiles, "assets/"+file)
	default:
		http.NotFound(w, r)
	}
}
