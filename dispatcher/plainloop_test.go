package dispatcher_test

import (
	"crypto/sha3"
	"encoding/hex"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// plainLoop is what the benchmarks compare with: the dispatcher that many
// chains carry. One channel with 65,536 places, one goroutine, a sync.Map of
// sync.Map, and a SHA3-256 in hex of every message.
type plainLoop struct {
	in     chan dispatcher.Message
	subs   sync.Map // type → *sync.Map of channel → struct{}
	filter *lru.Cache[string, struct{}]
	quit   chan struct{}
	done   chan struct{}
}

func newPlainLoop(filter bool) *plainLoop {
	p := &plainLoop{
		in: make(chan dispatcher.Message, 65536), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if filter {
		p.filter, _ = lru.New[string, struct{}](65536)
	}
	go p.loop()
	return p
}

func (p *plainLoop) register(msgType string, ch chan dispatcher.Message) {
	m, _ := p.subs.LoadOrStore(msgType, new(sync.Map))
	m.(*sync.Map).Store(ch, struct{}{})
}

func (p *plainLoop) put(m dispatcher.Message) { p.in <- m }

func (p *plainLoop) stop() {
	close(p.quit)
	<-p.done
}

func (p *plainLoop) loop() {
	defer close(p.done)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-p.quit:
			return
		case m := <-p.in:
			sum := sha3.Sum256(m.Data())
			hash := hex.EncodeToString(sum[:])
			v, ok := p.subs.Load(m.MessageType())
			if !ok {
				continue
			}
			if p.filter != nil {
				if p.filter.Contains(hash) {
					continue
				}
				p.filter.Add(hash, struct{}{})
			}
			v.(*sync.Map).Range(func(ch, _ any) bool {
				select {
				case ch.(chan dispatcher.Message) <- m:
				default:
				}
				return true
			})
		}
	}
}
