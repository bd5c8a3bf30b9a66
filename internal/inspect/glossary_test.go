package inspect

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestTermsAreExplained holds that what the templates mark as a term is in the
// glossary, fixed words apart that stand for themselves.
func TestTermsAreExplained(t *testing.T) {
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := templateFiles.ReadFile("templates/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range termCall.FindAllStringSubmatch(string(text), -1) {
			if word := cmp.Or(m[2], m[1]); about(word) == "" {
				t.Errorf("%s: %q is not explained", f.Name(), word)
			}
		}
	}
}

// termCall is a fixed word that a template marks as a term, with its entry where that
// is another one.
var termCall = regexp.MustCompile(`{{(?:term|named) "([^"]+)"(?: "([^"]+)")?}}`)

// explained are the elements that hold a term: heads of columns, names of values,
// stages of a type's way and the ways in which messages leave it.
var explained = regexp.MustCompile(`(?s)<(th|dt|b|br)>(.*?)(?:</(?:th|dt|b)>|: )|<(li) class="(?:bad|calm)">([^<].*?)</li>|<div class="card"><(h2)>(.*?)</h2>`)

// TestEveryTermHasATooltip walks every part of the page with something in each of its
// tables.
func TestEveryTermHasATooltip(t *testing.T) {
	srv := serve(t, static(), hostileEvent())
	least := map[string]int{
		"": 12, "peers": 15, "flow": 12, "requests": 16, "large": 28, "tunnels": 17, "events": 5, "trace": 7,
		"trace?hash=00112233445566778899&type=" + url.QueryEscape(evil): 5,
		"peer?id=12D3KooWPeerA": 20,
	}
	for path, want := range least {
		_, body := get(t, srv.URL+"/node/"+path)
		_, body, _ = strings.Cut(body, "<main")
		found := explained.FindAllStringSubmatch(body, -1)
		if len(found) < want {
			t.Errorf("page %q has %d terms, want %d or more", path, len(found), want)
		}
		for _, m := range found {
			if text := m[2] + m[4] + m[6]; !strings.Contains(text, `title="`) {
				t.Errorf("page %q: <%s> %q has no tooltip", path, m[1]+m[3]+m[5], text)
			}
		}
		if n := strings.Count(body, "<th") + strings.Count(body, "<dt"); n != strings.Count(body, "<thead")+strings.Count(body, "<th>")+strings.Count(body, "<dt>") {
			t.Errorf("page %q has heads that the test does not see", path)
		}
	}
	for _, p := range allPages {
		if _, ok := least[p.Name]; !ok && !p.Hidden && p != allPages[0] {
			t.Errorf("part %q is not walked", p.Name)
		}
	}
}
