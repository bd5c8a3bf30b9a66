package obs

import (
	"fmt"
	"maps"
	"runtime/debug"

	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"
)

// A Panic is one that was recovered, of code that the program gave to this
// library.
type Panic struct {
	Component string          // of the library, as in Log
	In        string          // what panicked: a callback, a message type or a subscriber; no remote peer's words
	Value     any             // what recover returned; nil says that the code ended its goroutine
	Stack     []byte          // default: the caller's
	Count     metrics.Counter // optional: counts one
	Fields    logrus.Fields   // optional: more to be logged
}

// Panicked counts a panic and logs it with its stack, as WarnLimited does: a
// remote peer may be able to cause it. It is called where the panic was
// recovered, in the deferred function.
func (o *Obs) Panicked(p Panic) {
	if p.Count != nil {
		p.Count.Inc(1)
	}
	if p.Value == nil {
		p.Value = "ended its goroutine"
	}
	if p.Stack == nil {
		p.Stack = debug.Stack()
	}
	fields := logrus.Fields{"in": p.In, "panic": Clean(fmt.Sprint(p.Value)), "stack": string(p.Stack)}
	maps.Copy(fields, p.Fields)
	o.WarnLimited(p.Component, "panic/"+p.In, fields, "code of the program panicked")
}
