package main

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// pages serves the page of each node: of the first at /1/, and so on.
type pages struct {
	mux *http.ServeMux

	mu sync.Mutex // guards n
	n  int
}

func newPages() *pages {
	p := &pages{mux: http.NewServeMux()}
	p.mux.Handle("/{$}", http.RedirectHandler("/1/", http.StatusFound))
	return p
}

// add gives the next node its page, which shows what happens from now on.
func (p *pages) add(svc *netservice.NebService) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	prefix := fmt.Sprintf("/%d", p.n)
	p.mux.Handle(prefix+"/", http.StripPrefix(prefix, svc.Inspector()))
}

// serve begins to serve, and stop ends it.
func (p *pages) serve(addr string) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("-http: %w", err)
	}
	server := &http.Server{Handler: p.mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until stop
	}()
	return "http://" + l.Addr().String() + "/", func() {
		_ = server.Close()
		<-done
	}, nil
}
