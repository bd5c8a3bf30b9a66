package main

import (
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// What stats shows to people tells how large broadcasts have come.
func TestStatsShowLarge(t *testing.T) {
	var text strings.Builder
	(&printer{w: &text}).stats(netservice.Stats{Large: netservice.LargeStats{
		Types:    map[string]netservice.LargeTypeStats{"chat": {Published: 1, Fetched: 2, Announced: 3, Chunks: 4, Duplicates: 5, PromisesKept: 6, PromisesBroken: 7, Served: 8}},
		Messages: []netservice.LargeMessage{{ID: [32]byte{0xab, 0xcd}, Type: "chat", Phase: "serving", Size: 10, Here: 9, Took: 1500 * time.Microsecond, Holders: 2}},
	}})
	for _, want := range []string{
		"large chat: published 1, fetched 2 of 3 announced, chunks 4 + copies 5, promises kept 6, broken 7, chunks served 8\n",
		"large chat abcd0000: serving, 9 of 10 B, took 2ms, 0 chunks served, 2 peers have it\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

// A line that is too long is no end of input.
func TestScan(t *testing.T) {
	long := strings.Repeat("a", 3*maxLine)
	var got []string
	scan(strings.NewReader("one\n"+long+"\n\r\ntwo\r\n"+long+"\nlast"),
		func(line string) { got = append(got, line) },
		func() { got = append(got, "too long") })
	if s := strings.Join(got, "|"); s != "one|too long||two|too long|last" {
		t.Errorf("got %q", s)
	}
}
