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
func Clean(s string) string {
	var b strings.Builder
	b.Grow(min(len(s), MaxRemoteText))
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > MaxRemoteText {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
