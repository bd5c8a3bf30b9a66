package inspect

import (
	"fmt"
	"html/template"
	"net/http"
	"time"
)

// Config is how an Inspector behaves. The zero value is fine.
type Config struct {
	// WriteTimeout is how long a viewer of the live page may take to read what
	// was written for it. Default: 10 s.
	WriteTimeout time.Duration
	// Events calls add with what has happened since the last call. It is called
	// when somebody looks, by one goroutine at a time. Default: nothing happens.
	Events func(add func(Event))
}

// Inspector serves the page and the JSON. It is an http.Handler that takes only
// GET and HEAD, and is safe for concurrent use.
type Inspector struct {
	cfg     Config
	source  Source
	sampler *sampler
	log     eventLog
	mux     *http.ServeMux
	// templates are by name of the page.
	templates map[string]*template.Template
}

// New makes an Inspector. It starts nothing before somebody looks. Its error is
// that of a template, which only a broken build can have.
func New(source Source, cfg Config) (*Inspector, error) {
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 10 * time.Second
	}
	if cfg.Events == nil {
		cfg.Events = func(func(Event)) {}
	}
	i := &Inspector{
		cfg: cfg, source: source, mux: http.NewServeMux(),
		templates: make(map[string]*template.Template, len(allPages)),
	}
	i.sampler = newSampler(source, i.Note)
	for _, p := range allPages {
		t, err := p.parse()
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", p.Name, err)
		}
		i.templates[p.Name] = t
	}
	i.routes()
	return i, nil
}

func (i *Inspector) routes() {
	i.mux.HandleFunc("GET /{$}", i.page)
	i.mux.HandleFunc("GET /{page}", i.page)
	i.mux.HandleFunc("GET /live", i.live)
	i.mux.HandleFunc("GET /assets/{file}", i.asset)
	i.mux.HandleFunc("GET /api/{part}", i.api)
	i.mux.HandleFunc("GET /api/{$}", i.apiIndex)
}

// ServeHTTP is http.Handler. Paths are relative: mount it anywhere, with
// http.StripPrefix and a prefix without a slash at its end.
func (i *Inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	i.mux.ServeHTTP(w, r)
}

// events brings the log up to date and lists it.
func (i *Inspector) events(f filter) []Event {
	i.log.mu.Lock()
	defer i.log.mu.Unlock()
	i.cfg.Events(i.log.addLocked)
	return i.log.listLocked(f)
}

// Note adds an event to those of Config.Events.
func (i *Inspector) Note(e Event) {
	i.log.mu.Lock()
	defer i.log.mu.Unlock()
	i.cfg.Events(i.log.addLocked) // what was before it
	i.log.addLocked(e)
}

// Close ends the live pages and the sampler, and waits for the sampler.
func (i *Inspector) Close() { i.sampler.close() }
