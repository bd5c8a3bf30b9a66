package main

// Teaches: keep blocks yourself; the network keeps nothing. One bbolt file, with
// blocks by height and hash, so that reading it again finds parents first.

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

var bucket = []byte("blocks")

// store is blocks on disk.
type store struct{ db *bbolt.DB }

// openStore opens the blocks in a directory, which it makes where there is none.
// Another process that has them open is an error after a second. With sync what was
// put survives a loss of power.
func openStore(dir string, sync bool) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "blocks.db"), 0o600, &bbolt.Options{Timeout: time.Second, NoSync: !sync})
	if err != nil {
		return nil, fmt.Errorf("open blocks in %s, which another node may use: %w", dir, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	return &store{db}, err
}

func (s *store) close() error { return s.db.Close() }

func key(height uint64, h hash) []byte {
	return append(binary.BigEndian.AppendUint64(nil, height), h...)
}

func (s *store) put(b *block) error {
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key(b.Height, b.hash()), data) })
}

func (s *store) get(height uint64, h hash) (*block, error) {
	b := new(block)
	return b, s.db.View(func(tx *bbolt.Tx) error {
		data := tx.Bucket(bucket).Get(key(height, h))
		if data == nil {
			return fmt.Errorf("block %s is not stored", h.short())
		}
		return json.Unmarshal(data, b)
	})
}

// each calls f for every block, parents first.
func (s *store) each(f func(*block) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(_, data []byte) error {
			b := new(block)
			if err := json.Unmarshal(data, b); err != nil {
				return err
			}
			return f(b)
		})
	})
}
