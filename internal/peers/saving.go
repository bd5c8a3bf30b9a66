package peers

import (
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/sirupsen/logrus"
)

const (
	// saveSoon is how long after a change the address book is saved, and
	// saveEvery the least time between two savings: a crash loses less than that.
	saveSoon  = 5 * time.Second
	saveEvery = 30 * time.Second
)

// saving is the state of saving the address book.
type saving struct {
	mu    sync.Mutex // one saving at a time; guards the rest
	err   error      // of the last one
	saved time.Time
	size  int
}

// load puts what was saved under what is known already. A book that is corrupt
// is set aside, and the node starts without.
func (m *Manager) load() {
	if m.cfg.Store == nil {
		return
	}
	log := m.cfg.Obs.Log("peers")
	raw, err := m.cfg.Store.Load()
	if err == nil && raw == nil {
		return
	}
	now := time.Now()
	var old *book.Book
	if err == nil {
		old, err = book.Decode(raw, now)
	}
	if err != nil {
		m.cfg.Obs.Counter(obs.BookCorrupt).Inc(1)
		aside := ""
		if s, ok := m.cfg.Store.(interface{ SetAside() (string, error) }); ok {
			if where, moved := s.SetAside(); moved == nil {
				aside = where
			}
		}
		log.WithError(err).WithField("kept_as", aside).Warn("the address book cannot be read: starting with an empty one")
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.closed {
		return
	}
	old.Restart()
	for e := range m.book.All() {
		old.Add(now, book.Told{Peer: peer.AddrInfo{ID: e.ID, Addrs: e.Multiaddrs()}, Source: e.Source, Teller: e.Teller, Seq: e.Seq, Agent: e.Agent})
	}
	for _, x := range m.book.Bans(now) {
		old.SetBan(x)
	}
	for e := range old.All() {
		if _, known := m.scores.get(e.ID); e.Faults >= scoreForgotten && !known {
			m.scores.put(e.ID, score{}.add(e.Faults, now))
		}
	}
	m.book = old
	m.refreshNetsLocked(now)
	log.WithFields(logrus.Fields{"peers": old.Len(), "bans": len(old.Bans(now))}).Debug("address book loaded")
}

// keepSaving saves the book while the node runs. It ends with Close.
func (m *Manager) keepSaving() {
	tick := time.NewTicker(saveSoon)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-m.ctx.Done():
			return
		case now := <-tick.C:
			if now.Sub(last) >= saveEvery && m.save(false) {
				last = now
			}
		}
	}
}

// save writes the book, if something has changed or force says so. The node runs
// on without when it cannot: what was saved before is still there.
func (m *Manager) save(force bool) bool {
	if m.cfg.Store == nil {
		return false
	}
	m.saving.mu.Lock()
	defer m.saving.mu.Unlock()
	m.mu.Lock()
	changed := m.book.TakeChanged() || force
	var raw []byte
	now := time.Now()
	if changed {
		m.rememberLocked(now)
		raw = m.book.Append(nil, now)
	}
	m.mu.Unlock()
	if !changed {
		return false
	}
	err := m.cfg.Store.Save(raw)
	m.saving.err = err
	if err != nil {
		m.mu.Lock()
		m.book.Touch()
		m.mu.Unlock()
		m.cfg.Obs.Counter(obs.BookUnsaved).Inc(1)
		m.cfg.Obs.WarnLimited("peers", "book", logrus.Fields{"error": err.Error()}, "the address book cannot be saved")
		return true
	}
	m.saving.saved, m.saving.size = now, len(raw)
	return true
}

// rememberLocked notes in the book that those who are here still are, and what stands
// against anybody: a restart must not make a peer blameless.
func (m *Manager) rememberLocked(now time.Time) {
	for p, e := range m.entries {
		if e.live != nil {
			m.book.Met(now, p)
		}
	}
	m.book.Blame(func(p peer.ID) float64 {
		s, _ := m.scores.get(p)
		return s.now(now)
	})
}

// BookInfo describes the address book.
type BookInfo struct {
	Peers int       // known
	Good  int       // of them reached at least once
	Bans  int       // that stand
	Saved time.Time // last saved, zero for never
	Bytes int       // then
	Error error     // why the last saving failed, nil when it did not
}

// BookInfo describes the address book as it is.
func (m *Manager) BookInfo() BookInfo {
	m.saving.mu.Lock()
	i := BookInfo{Saved: m.saving.saved, Bytes: m.saving.size, Error: m.saving.err}
	m.saving.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	i.Peers, i.Bans = m.book.Len(), len(m.book.Bans(time.Now()))
	for e := range m.book.All() {
		if e.Proven() {
			i.Good++
		}
	}
	return i
}
