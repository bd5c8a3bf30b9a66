package netservice

import (
	"maps"

	"github.com/libp2p/go-libp2p/core/peer"
)

// roster is who has a session now. It is replaced as a whole at each change, so
// that the path of every message reads it without a lock.
type roster struct {
	byID   map[peer.ID]*link
	byName map[string]*link // by the text of the ID
}

func (r *roster) clone() *roster {
	return &roster{byID: maps.Clone(r.byID), byName: maps.Clone(r.byName)}
}

// with is the roster with a link in place of an older one to the same peer.
func (r *roster) with(k *link) *roster {
	n := r.clone()
	n.byID[k.id], n.byName[k.name] = k, k
	return n
}

// without is the roster without a peer.
func (r *roster) without(k *link) *roster {
	n := r.clone()
	delete(n.byID, k.id)
	delete(n.byName, k.name)
	return n
}
