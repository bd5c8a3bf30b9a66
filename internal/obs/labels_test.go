package obs

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"testing"
)

func TestLabels(t *testing.T) {
	marked, end := make(chan struct{}), make(chan struct{})
	go func() {
		Discard().Labels("session", "type", "tx").Apply()
		close(marked)
		<-end
	}()
	<-marked
	defer close(end)
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"type":"tx"`) {
		t.Errorf("no marked goroutine in\n%s", b.String())
	}
	Labels{}.Apply()
}

func BenchmarkLabelsApply(b *testing.B) {
	l := Discard().Labels("session", "type", "tx")
	b.ReportAllocs()
	for b.Loop() {
		l.Apply()
	}
	Labels{}.Apply()
}
