package verify

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// However many runs and merges it takes, every entry comes out once, sorted by key.
func TestTheSorterSortsMoreThanAChunk(t *testing.T) {
	for name, c := range map[string]struct{ entries, chunk int }{
		"nothing":                {0, 100},
		"one chunk":              {50, 1 << 20},
		"a few runs":             {1000, 2000},
		"runs that are merged":   {3 * maxRuns, 60},
		"one entry a chunk":      {2*maxRuns + 1, 1},
		"entries larger than it": {10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			s := sorter{folder: folder, size: c.chunk}
			random := rand.New(rand.NewPCG(1, 2))
			want, bytes := map[string]int{}, 0
			for n := range c.entries {
				key := make([]byte, random.IntN(40))
				for i := range key {
					key[i] = byte(random.IntN(3))
				}
				want[string(key)]++
				value := binary.AppendUvarint(slices.Clone(key), uint64(n))
				if err := s.add(key, value); err != nil {
					t.Fatal(err)
				}
				bytes += len(key) + len(value)
				if size := len(s.chunk); size > c.chunk && len(s.entries) > 1 {
					t.Fatalf("memory holds %d bytes, want no more than %d", size, c.chunk)
				}
			}
			if len(s.runs) > maxRuns {
				t.Errorf("%d runs are open, want at most %d", len(s.runs), maxRuns)
			}
			if c.chunk == 1 && c.entries < maxRuns && len(s.runs) < c.entries-1 {
				t.Errorf("%d runs of %d entries, want one for each: they are few", len(s.runs), c.entries)
			}
			cursor, err := s.sorted()
			if err != nil {
				t.Fatal(err)
			}
			if bytes <= c.chunk && len(s.runs) > 0 {
				t.Errorf("%d bytes fit into a chunk, and went to %d files", bytes, len(s.runs))
			}
			last, seen := "", map[uint64]bool{}
			for !cursor.done {
				key := string(cursor.key)
				if key < last {
					t.Fatalf("%x comes after %x", key, last)
				}
				value, ok := cursor.value, len(cursor.value) > len(key) && string(cursor.value[:len(key)]) == key
				n, _ := binary.Uvarint(value[min(len(key), len(value)):])
				if !ok || seen[n] {
					t.Fatalf("entry %d of key %x comes with value %x", n, key, value)
				}
				seen[n] = true
				want[key]--
				last = key
				if err := cursor.next(); err != nil {
					t.Fatal(err)
				}
			}
			for key, left := range want {
				if left != 0 {
					t.Errorf("%d entries of %x did not come out", left, key)
				}
			}
			if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
				t.Errorf("files are left in the folder: %v, error %v", left, err)
			}
			if err := s.close(); err != nil {
				t.Error(err)
			}
		})
	}
}
