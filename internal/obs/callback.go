package obs

import (
	"bytes"
	"reflect"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
)

// Callback runs code of the program's. Its frame on the stack is what InCallback
// looks for: labels alone do not tell, because goroutines that the code starts
// have them too. It costs a call.
func Callback(f func()) { f() }

// InCallback tells whether the calling goroutine runs code of the program's on behalf
// of this service, and the labels of the goroutine then. It looks at the stack, and
// only where that has the frame of Callback at a profile of all goroutines, which is
// the one way to read labels: it is for what is done once, such as Stop. Code that
// was called in a goroutine without labels, or that set others, is not found.
func (o *Obs) InCallback() (labels map[string]string, ok bool) {
	if !inFrame(nameOf(Callback)) {
		return nil, false
	}
	labels = ownLabels()
	return labels, labels[ownerLabel] == o.owner()
}

func nameOf(f any) string { return runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name() }

// inFrame tells whether a function of that name has called this one.
func inFrame(name string) bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		for frames := runtime.CallersFrames(pcs[:n]); ; {
			f, more := frames.Next()
			if f.Function == name {
				return true
			}
			if !more {
				break
			}
		}
	}
}

// ownLabels reads the labels of the calling goroutine, which is the one in the profile
// that is writing it.
func ownLabels() map[string]string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return nil
	}
	for record := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(record, nameOf(ownLabels)+"+") {
			return parseLabels(record)
		}
	}
	return nil
}

// parseLabels reads the line "# labels: {"name":"value", ...}" of a record.
func parseLabels(record string) map[string]string {
	_, rest, ok := strings.Cut(record, "\n# labels: {")
	labels := make(map[string]string)
	for ok {
		var pair [2]string
		for i := range pair {
			q, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return labels
			}
			pair[i], _ = strconv.Unquote(q)
			rest = strings.TrimPrefix(rest[len(q):], ":")
		}
		labels[pair[0]] = pair[1]
		rest, ok = strings.CutPrefix(rest, ", ")
	}
	return labels
}
