package dispatcher

// Outcome says what became of a message with the subscribers of its type.
type Outcome string

// The outcomes. Of several subscribers the best one counts.
const (
	OutcomeDelivered Outcome = "delivered"
	OutcomeDuplicate Outcome = "duplicate" // every subscriber had it
	OutcomeFull      Outcome = "subscriber full"
	OutcomePanic     Outcome = "panic"
	OutcomeUnrouted  Outcome = "no subscriber"
)

// outcomes are those of the loop.
var outcomes = [fates]Outcome{
	fateDelivered: OutcomeDelivered,
	fatePanic:     OutcomePanic,
	fateFull:      OutcomeFull,
	fateDuplicate: OutcomeDuplicate,
	fateUnrouted:  OutcomeUnrouted,
}

// Trace has f told what became of every message that is offered to subscribers
// from now on, until it is nil. Delivered means that the queue or channel of a
// subscriber took it. The loop calls f, so it must be quick and wait for nothing;
// it may be called once more while Trace returns. A message that is not admitted is
// the error of PutMessage, and not heard of here.
func (d *Dispatcher) Trace(f func(m Message, o Outcome)) {
	if f == nil {
		d.trace.Store(nil)
		return
	}
	d.trace.Store(&f)
}

// tell tells what became of the messages of a block.
func (b *block) tell(trace func(m Message, o Outcome)) {
	for i := range b.items {
		trace(b.items[i].msg, outcomes[b.flags[i].fate()])
	}
}
