package p2p

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// maxLogText is the most bytes of an error that are logged. Errors of dialling
// name every address that was tried, so that one remote string's share is not
// enough.
const maxLogText = 512

// logText makes an error fit to be logged. It may carry words of the peer: the
// reason phrase of a QUIC connection that the peer closed, say.
func logText(err error) string { return cleanText(err.Error()) }

func cleanText(s string) string {
	var b strings.Builder
	runes := []rune(s[:min(len(s), maxLogText)])
	for part := range slices.Chunk(runes, obs.MaxRemoteText/utf8.UTFMax) { // none is cut
		b.WriteString(obs.Clean(string(part)))
	}
	return b.String()
}
