package inspect

import (
	"net/http"
	"net/url"
	"time"
)

// Trace is the way of one message through the node. It has at least one step.
type Trace struct {
	Type    string      `json:"type"`
	Hash    string      `json:"hash"`
	Size    int         `json:"size"`
	Steps   []TraceStep `json:"steps"`
	Omitted int         `json:"omitted,omitempty"` // later steps that were not kept
}

// TraceStep is one thing that happened to a message.
type TraceStep struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`
	Peer   string    `json:"peer,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// Numbers of traces that are listed.
const (
	tracesOnPage = 50
	tracesInAPI  = 1000
)

func traceData(i *Inspector, _ view, q url.Values) any {
	data := map[string]any{}
	_, data["On"] = i.source.Traces(0)
	if msgType, hash := q.Get("type"), q.Get("hash"); hash != "" {
		one, ok := i.source.Trace(msgType, hash)
		if data["Missing"] = !ok; ok {
			data["One"] = &one
		}
		return data
	}
	data["Latest"], _ = i.source.Traces(tracesOnPage)
	return data
}

func (i *Inspector) apiTrace(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if hash := q.Get("hash"); hash != "" {
		one, ok := i.source.Trace(q.Get("type"), hash)
		if !ok {
			http.NotFound(w, r)
			return
		}
		answer(w, one)
		return
	}
	list, on := i.source.Traces(tracesInAPI)
	answer(w, map[string]any{"on": on, "latest": nonNil(list)})
}
