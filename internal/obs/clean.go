package obs

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxRemoteText is the most bytes of a remote string that reach a log line, a
// metric or a page.
const MaxRemoteText = 128

// Clean makes a string that came from a remote peer fit to be shown: control,
// formatting (bidirectional overrides among them), line-breaking and invalid
// characters become '?', and the result has at most MaxRemoteText bytes, cut
// at a rune boundary.
func Clean(s string) string { return CleanTo(s, MaxRemoteText) }

// CleanTo is Clean with another bound, for a text of which remote strings are only a
// part: the error of a dial names every address that was tried.
func CleanTo(s string, most int) string {
	var b strings.Builder
	b.Grow(min(len(s), most))
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > most {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
