package obs

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"geth/v1.2 (linux)":       "geth/v1.2 (linux)",
		"zażółć 日本 é":             "zażółć 日本 é",
		"a\nb\r\tc\x00d\x7f":      "a?b??c?d?",
		"\x1b[31mred\x1b[0m":      "?[31mred?[0m",
		"\u202egnp.exe\u2066":     "?gnp.exe?", // bidirectional override and isolate
		"line\u2028para\u2029":    "line?para?",
		"nel\u0085zw\u200bsp":     "nel?zw?sp",
		"bom\ufeff":               "bom?",
		"bad\xff\xfeutf8\xc3":     "bad??utf8?",
		"surrogate \xed\xa0\x80":  "surrogate ???",
		"replacement \ufffd":      "replacement ?",
		strings.Repeat("x", 500):  strings.Repeat("x", MaxRemoteText),
		strings.Repeat("é", 100):  strings.Repeat("é", MaxRemoteText/2),
		strings.Repeat("日", 100):  strings.Repeat("日", MaxRemoteText/3),
		strings.Repeat("\x00", 1): "?",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("agent/1.0")
	f.Add("\x1b]0;title\x07\u202e\xff")
	f.Add(strings.Repeat("日", 60))
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if len(got) > MaxRemoteText || !utf8.ValidString(got) {
			t.Fatalf("%d bytes, %q", len(got), got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%U is left in %q", r, got)
			}
		}
		if Clean(got) != got {
			t.Fatalf("cleaning %q twice gives %q", got, Clean(got))
		}
	})
}

func BenchmarkClean(b *testing.B) {
	agent := "nebnet/v0.1.0 go1.26 linux-amd64 (some chain)"
	b.ReportAllocs()
	for b.Loop() {
		Clean(agent)
	}
}
