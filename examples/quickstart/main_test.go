package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The demonstration itself: all nodes find each other, every number adds up,
// and nothing is lost.
func TestQuickstart(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-for", "2500ms"}, &out, &errs); code != 0 {
		t.Fatalf("exit status %d: %s\n%s", code, errs.String(), out.String())
	}
	text := out.String()
	if n := strings.Count(text, "adds up"); n != 2 {
		t.Errorf("%d types add up:\n%s", n, text)
	}
	if !strings.Contains(text, "node 5 got block") {
		t.Errorf("the subscriber of its own type got no block:\n%s", text)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-nope"}, {"extra"}, {"-for", "soon"}, {"-for", "-1s"}} {
		var errs bytes.Buffer
		if code := run(t.Context(), args, io.Discard, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%v: exit status %d, says %q", args, code, errs.String())
		}
	}
}

func TestAddsUp(t *testing.T) {
	good := totals{broadcast: 3, arrived: 12, delivered: 10, dropped: 2}
	if !good.addsUp(5) {
		t.Errorf("%+v does not add up", good)
	}
	for name, spoil := range map[string]func(*totals){
		"broadcast": func(x *totals) { x.broadcast++ },
		"arrived":   func(x *totals) { x.arrived-- },
		"delivered": func(x *totals) { x.delivered-- },
		"waiting":   func(x *totals) { x.waiting++ },
	} {
		bad := good
		spoil(&bad)
		if bad.addsUp(5) {
			t.Errorf("%s is wrong and adds up", name)
		}
	}
}

// Whoever interrupts the start gets a summary like anybody else.
func TestEndBeforeMesh(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-for", "1ms"}, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Errorf("exit status %d: %s", code, errs.String())
	}
	if n := strings.Count(out.String(), "adds up"); n != 2 {
		t.Errorf("%d types add up:\n%s", n, out.String())
	}
}

// lookOnce asks for a page as soon as its address has been printed.
type lookOnce struct {
	bytes.Buffer
	page string
	err  error
}

func (l *lookOnce) Write(p []byte) (int, error) {
	l.Buffer.Write(p)
	_, url, ok := strings.Cut(string(p), "pages of the nodes at ")
	if !ok {
		return len(p), nil
	}
	resp, err := http.Get(strings.TrimSpace(url))
	if err != nil {
		l.err = err
		return len(p), nil
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	l.page, l.err = string(body), err
	return len(p), nil
}

func TestPages(t *testing.T) {
	var errs bytes.Buffer
	var out lookOnce
	if code := run(t.Context(), []string{"-for", "1ms", "-http", "127.0.0.1:0"}, &out, &errs); code != 0 {
		t.Fatalf("exit status %d: %s", code, errs.String())
	}
	if out.err != nil || !strings.Contains(out.page, "Events") {
		t.Errorf("page: %v, %q", out.err, out.page)
	}
	if code := run(t.Context(), []string{"-http", "nowhere"}, io.Discard, &errs); code != 1 || !strings.Contains(errs.String(), "-http") {
		t.Errorf("no address: exit status %d, says %q", code, errs.String())
	}
}
