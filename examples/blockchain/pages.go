package main

// Teaches: sight. A service brings a page of its own; the program decides where it
// is served, and who may see it: here whoever can reach the address.

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// pages serves the page of each node under its number: /0/, /1/, and so on.
type pages struct{ nodes sync.Map }

// show gives a number the page of a node, which may be one that comes back.
func (p *pages) show(number int, n *node) { p.nodes.Store(fmt.Sprint(number), n.svc.Inspector()) }

// serve begins to serve where there is an address, and stop ends it.
func (p *pages) serve(addr string, out io.Writer) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return func() {}, fmt.Errorf("-http: %w", err)
	}
	fmt.Fprintf(out, "pages at http://%s/\n", l.Addr())
	mux := http.NewServeMux()
	mux.Handle("/{$}", http.RedirectHandler("/0/", http.StatusFound))
	mux.HandleFunc("/{number}/", func(w http.ResponseWriter, r *http.Request) {
		number := r.PathValue("number")
		if page, ok := p.nodes.Load(number); ok {
			http.StripPrefix("/"+number, page.(http.Handler)).ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) }) // until stop
	return func() { _ = server.Close(); wg.Wait() }, nil
}
