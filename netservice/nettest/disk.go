package nettest

import "sync"

// disk keeps a node's address book over restarts. A process that is dead writes
// no more: each run has a mount of its own.
type disk struct {
	mu   sync.Mutex // guards what follows
	book []byte
	runs int
}

// mount is the disk as one run of the node sees it.
type mount struct {
	d   *disk
	run int
}

func (d *disk) mount() *mount {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.runs++
	return &mount{d, d.runs}
}

// unplug ends the writing of the run that there is.
func (d *disk) unplug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.runs++
}

// Load implements netservice.PeerStore.
func (m *mount) Load() ([]byte, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	return m.d.book, nil
}

// Save implements netservice.PeerStore.
func (m *mount) Save(book []byte) error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if m.run == m.d.runs {
		m.d.book = book
	}
	return nil
}
