package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

func mustLoad(t testing.TB, path string, opts ...Option) crypto.PrivKey {
	t.Helper()
	key, err := Load(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustEncode(t testing.TB) []byte {
	t.Helper()
	key, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	b, err := encode(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names lists a directory, so that leftovers show.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestFirstStartMakesTheKeyLaterOnesFindIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "node")
	path := filepath.Join(dir, "peer.key")
	key := mustLoad(t, path)
	if key.Type() != crypto.Ed25519 {
		t.Errorf("key type %s", key.Type())
	}
	if !mustLoad(t, path).Equals(key) {
		t.Error("the second load returned another key")
	}
	if got := names(t, dir); got != "peer.key" {
		t.Errorf("directory holds %q", got)
	}
	if !checkMode {
		return
	}
	for p, want := range map[string]fs.FileMode{path: 0o600, dir: 0o700 | fs.ModeDir} {
		if st, err := os.Stat(p); err != nil || st.Mode() != want {
			t.Errorf("%s: mode %v, want %v (%v)", p, st.Mode(), want, err)
		}
	}
}

func TestManyFirstStartsAtOnceAgree(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		path := filepath.Join(dir, "peer.key")
		keys := make([]crypto.PrivKey, 8)
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range keys {
			wg.Go(func() {
				<-begin
				keys[i], _ = Load(path)
			})
		}
		close(begin)
		wg.Wait()
		for i, k := range keys {
			if k == nil || !k.Equals(keys[0]) {
				t.Fatalf("load %d returned another key", i)
			}
		}
		if got := names(t, dir); got != "peer.key" {
			t.Fatalf("directory holds %q", got)
		}
	}
}

// Every truncation, every extension and every flipped bit is refused, and the
// file stays as it was: nothing turns into another identity.
func TestDamagedFileIsRefusedAndKept(t *testing.T) {
	good := mustEncode(t)
	path := filepath.Join(t.TempDir(), "peer.key")
	try := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrKeyType) {
			t.Fatalf("%x: error %v", b, err)
		}
		if !strings.Contains(err.Error(), path) {
			t.Fatalf("error %v does not name the file", err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
			t.Fatalf("the file was changed: %x, %v", after, err)
		}
	}
	for n := range len(good) {
		try(good[:n])
	}
	try(append(bytes.Clone(good), 0))
	try(append(bytes.Clone(good), good...))
	try(make([]byte, fileSize))
	try(make([]byte, 1<<20))
	for bit := range len(good) * 8 {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		try(b)
	}
}

func TestOtherKeyTypesAreNamed(t *testing.T) {
	rsa, _, err := crypto.GenerateKeyPair(crypto.RSA, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsa, _, err := crypto.GenerateECDSAKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secp, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "peer.key")
	files := [][]byte{[]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n")}
	for _, k := range []crypto.PrivKey{rsa, ecdsa, secp} {
		b, err := crypto.MarshalPrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b, []byte(base64.StdEncoding.EncodeToString(b)))
	}
	for _, b := range files {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, ErrKeyType) {
			t.Errorf("%.10q: error %v", b, err)
		}
	}
}

func TestEphemeralKeysDiffer(t *testing.T) {
	a, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	if a.Equals(b) {
		t.Error("the same key twice")
	}
}

// A file system without hard links still gets its key, and a file that is
// there is never replaced.
func TestPublishNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	tmp, path := filepath.Join(dir, "tmp"), filepath.Join(dir, "peer.key")
	for _, p := range []string{tmp, path} {
		if err := os.WriteFile(p, []byte(p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish(tmp, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("publish over a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != path {
		t.Errorf("the file now holds %q", b)
	}
}

// forms are the ways in which programs keep a key, ours first.
func forms(ours []byte) [][]byte {
	old := append([]byte(oldHeader), ours[len(header):]...)
	old = append(old, ours[len(ours)-ed25519.PublicKeySize:]...)
	text := func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) }
	two := func(b []byte, end string) []byte { return slices.Concat(b[:76], []byte(end), b[76:], []byte(end)) }
	return [][]byte{ours, old, text(ours), append(text(ours), '\n'), text(old), append(text(old), '\r', '\n'),
		two(text(ours), "\n"), two(text(old), "\r\n")}
}

// Key files of older programs are read, and no damaged one is.
func TestOlderFormsAreRead(t *testing.T) {
	ours := mustEncode(t)
	want, err := decode(ours)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "peer.key")
	for i, form := range forms(ours) {
		if err := os.WriteFile(path, form, 0o600); err != nil {
			t.Fatal(err)
		}
		if !mustLoad(t, path).Equals(want) {
			t.Errorf("form %d: another key", i)
		}
		for at := range bytes.TrimRight(form, "\r\n") {
			bad := bytes.Clone(form)
			bad[at] ^= 1
			if _, err := decode(bad); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrKeyType) {
				t.Errorf("form %d with byte %d changed: %v", i, at, err)
			}
		}
	}
}

// The content is on disk before the file has its name, and the name before Load
// returns.
func TestKeyIsSyncedBeforeItIsUsed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peer.key")
	var synced []string
	var dflt, sync any = newOptions(nil).sync, (*os.File).Sync
	if reflect.ValueOf(dflt).Pointer() != reflect.ValueOf(sync).Pointer() {
		t.Error("keys are not synced as files are")
	}
	_, err := Load(path, func(o *options) {
		o.sync = func(f *os.File) error {
			st, err := f.Stat()
			if err != nil {
				return err
			}
			_, named := os.Stat(path)
			switch {
			case st.IsDir() && f.Name() == dir && named == nil:
				synced = append(synced, "name")
			case st.Mode().IsRegular() && st.Size() == int64(fileSize) && errors.Is(named, fs.ErrNotExist):
				synced = append(synced, "content")
			default:
				t.Errorf("sync of %s, %d bytes, %v", f.Name(), st.Size(), named)
			}
			return f.Sync()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "content name"
	if !checkMode { // there directories cannot be synced
		want = "content"
	}
	if got := strings.Join(synced, " "); got != want {
		t.Errorf("synced %q, want %q", got, want)
	}
	// What cannot be synced is no key.
	broken := errors.New("broken disk")
	other := filepath.Join(dir, "other.key")
	if _, err := Load(other, func(o *options) { o.sync = func(*os.File) error { return broken } }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if got := names(t, dir); got != "peer.key" {
		t.Errorf("directory holds %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	good := mustEncode(f)
	for _, form := range forms(good) {
		f.Add(form)
	}
	f.Add(good[:len(good)-1])
	f.Add([]byte(header))
	f.Add([]byte("\x08\x00\x12\x04abcd"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrKeyType) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		// What decodes has one encoding of ours, or is that of older programs.
		again, err := encode(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range forms(again) {
			if bytes.Equal(b, form) || b[0] != header[0] && bytes.Equal(oneLine(b), oneLine(form)) {
				return
			}
		}
		t.Fatalf("%x became %x", b, again)
	})
}

// oneLine is base64 without the ends of its lines.
func oneLine(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r"), nil), []byte("\n"), nil)
}

// The file format is a promise to later versions, and to kubo's key export.
func TestFileFormatIsStable(t *testing.T) {
	raw := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	path := filepath.Join(t.TempDir(), "peer.key")
	if err := os.WriteFile(path, append([]byte{8, 1, 18, 64}, raw...), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(mustLoad(t, path))
	if want := "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"; err != nil || id.String() != want {
		t.Errorf("peer ID %s, want %s (%v)", id, want, err)
	}
}
