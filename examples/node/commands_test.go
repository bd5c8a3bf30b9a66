package main

import (
	"strings"
	"testing"
)

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
