package inspect

import (
	"bytes"
	"net/http"
	"net/url"
	"time"
)

// live sends one part of the page again at every sample, as server-sent events
// (HTML Living Standard, section 9.2). The query is that of the page, with its
// name in "page".
func (i *Inspector) live(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	p := pageNamed(query.Get("page"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	done, ok := i.sampler.look()
	if !ok {
		http.Error(w, "the service has stopped", http.StatusServiceUnavailable)
		return
	}
	defer done()
	w.Header().Set("Content-Type", "text/event-stream")
	ctl := http.NewResponseController(w)
	for {
		v, next := i.sampler.view()
		// A viewer that does not read must not keep a goroutine and a buffer. A
		// server that cannot set deadlines has its own.
		_ = ctl.SetWriteDeadline(time.Now().Add(i.cfg.WriteTimeout))
		if i.send(w, p, v, query) != nil || ctl.Flush() != nil {
			return
		}
		select {
		case <-next: // the sampler
		case <-i.sampler.quit: // close
			return
		case <-r.Context().Done():
			return
		}
	}
}

// send writes one event. Each line of it has to be marked as data.
func (i *Inspector) send(w http.ResponseWriter, p *page, v view, query url.Values) error {
	var body bytes.Buffer
	if err := i.render(&body, "main", p, v, query); err != nil {
		return err
	}
	var event bytes.Buffer
	event.Grow(body.Len() + body.Len()/8)
	for line := range bytes.Lines(body.Bytes()) {
		event.WriteString("data: ")
		event.Write(bytes.TrimRight(line, "\r\n"))
		event.WriteByte('\n')
	}
	event.WriteByte('\n')
	_, err := w.Write(event.Bytes())
	return err
}
