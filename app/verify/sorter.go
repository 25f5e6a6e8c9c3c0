package verify

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
)

// sorter sorts more entries than memory holds. It collects a chunk of entries, sorts it and writes it as a run to a
// temporary file; reading merges the runs.
type sorter struct {
	folder  string
	size    int // of a chunk in bytes; 0 means chunkSize
	chunk   []byte
	entries []entry
	runs    []*os.File
}

// entry is where a key and its value stand in a chunk.
type entry struct{ key, value, end int }

const (
	chunkSize = 4 << 20
	// maxRuns bounds open files and buffers: as many runs are merged into one.
	maxRuns = 64
	// runBuffer is the memory for reading or writing a run.
	runBuffer = 64 << 10
)

func (s *sorter) add(key, value []byte) error {
	if len(s.chunk)+len(key)+len(value) > cmp.Or(s.size, chunkSize) {
		if err := s.spill(); err != nil {
			return err
		}
	}
	start := len(s.chunk)
	s.chunk = append(append(s.chunk, key...), value...)
	s.entries = append(s.entries, entry{start, start + len(key), len(s.chunk)})
	return nil
}

func (s *sorter) sortChunk() {
	slices.SortStableFunc(s.entries, func(a, b entry) int {
		return bytes.Compare(s.chunk[a.key:a.value], s.chunk[b.key:b.value])
	})
}

// spill writes the chunk to a file. Unix forgets the name at once, so that nothing is left behind by a process that is
// killed; elsewhere the folder is deleted at the end.
func (s *sorter) spill() error {
	if len(s.runs) == maxRuns {
		if err := s.merge(); err != nil {
			return err
		}
	}
	s.sortChunk()
	err := s.write(func(out *bufio.Writer) error {
		for _, e := range s.entries {
			if err := writeEntry(out, s.chunk[e.key:e.value], s.chunk[e.value:e.end]); err != nil {
				return err
			}
		}
		return nil
	})
	s.chunk, s.entries = s.chunk[:0], s.entries[:0]
	return err
}

// merge makes one run of all.
func (s *sorter) merge() error {
	merged, err := s.cursorOf(s.runs)
	if err != nil {
		return err
	}
	old := s.runs
	s.runs = nil
	err = s.write(func(out *bufio.Writer) error {
		for ; !merged.done; err = merged.next() {
			if err != nil {
				return err
			}
			if err := writeEntry(out, merged.key, merged.value); err != nil {
				return err
			}
		}
		return err
	})
	return errors.Join(err, closeAll(old))
}

// write makes a run.
func (s *sorter) write(entries func(*bufio.Writer) error) error {
	file, err := os.CreateTemp(s.folder, "run")
	if err != nil {
		return err
	}
	s.runs = append(s.runs, file)
	_ = os.Remove(file.Name())
	out := bufio.NewWriterSize(file, runBuffer)
	return errors.Join(entries(out), out.Flush())
}

func writeEntry(out *bufio.Writer, key, value []byte) error {
	var lengths [2 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(lengths[:], uint64(len(key)))
	n += binary.PutUvarint(lengths[n:], uint64(len(value)))
	for _, part := range [][]byte{lengths[:n], key, value} {
		if _, err := out.Write(part); err != nil { // the writer keeps its first error
			return err
		}
	}
	return nil
}

// finish frees the memory of what is large. Nothing is added afterwards.
func (s *sorter) finish() error {
	if len(s.runs) == 0 || len(s.entries) == 0 {
		return nil
	}
	err := s.spill()
	s.chunk, s.entries = nil, nil
	return err
}

// sorted begins to read. Nothing is added afterwards. It may be called once.
func (s *sorter) sorted() (*cursor, error) {
	if err := s.finish(); err != nil {
		return nil, err
	}
	if len(s.runs) > 0 {
		return s.cursorOf(s.runs)
	}
	s.sortChunk()
	c := &cursor{runs: runHeap{&run{chunk: s.chunk, entries: s.entries}}}
	return c, c.begin()
}

func (s *sorter) cursorOf(files []*os.File) (*cursor, error) {
	c := &cursor{}
	for _, file := range files {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		c.runs = append(c.runs, &run{file: bufio.NewReaderSize(file, runBuffer)})
	}
	return c, c.begin()
}

func (s *sorter) close() error {
	err := closeAll(s.runs)
	*s = sorter{}
	return err
}

func closeAll(files []*os.File) (err error) {
	for _, file := range files {
		err = errors.Join(err, file.Close())
	}
	return err
}

// cursor stands on an entry: those with equal keys in any order. key and value are valid until the next call of next.
type cursor struct {
	done       bool
	key, value []byte
	runs       runHeap
}

// begin goes to the first entry.
func (c *cursor) begin() error {
	for i := len(c.runs) - 1; i >= 0; i-- {
		if err := c.runs[i].next(); errors.Is(err, io.EOF) {
			c.runs = slices.Delete(c.runs, i, i+1)
		} else if err != nil {
			return err
		}
	}
	heap.Init(&c.runs)
	c.stand()
	return nil
}

func (c *cursor) next() error {
	err := c.runs[0].next()
	switch {
	case errors.Is(err, io.EOF):
		heap.Pop(&c.runs)
	case err != nil:
		return err
	default:
		heap.Fix(&c.runs, 0)
	}
	c.stand()
	return nil
}

func (c *cursor) stand() {
	if c.done = len(c.runs) == 0; !c.done {
		c.key, c.value = c.runs[0].key, c.runs[0].value
	}
}

// run reads a sorted run, from a file or from memory.
type run struct {
	file       *bufio.Reader
	chunk      []byte
	entries    []entry
	buffer     []byte
	key, value []byte
}

// next returns io.EOF at the end.
func (r *run) next() error {
	if r.file == nil {
		if len(r.entries) == 0 {
			return io.EOF
		}
		e := r.entries[0]
		r.key, r.value, r.entries = r.chunk[e.key:e.value], r.chunk[e.value:e.end], r.entries[1:]
		return nil
	}
	key, err := binary.ReadUvarint(r.file)
	if err != nil {
		return err
	}
	value, err := binary.ReadUvarint(r.file)
	if err != nil {
		return err
	}
	r.buffer = slices.Grow(r.buffer[:0], int(key+value))[:key+value]
	if _, err := io.ReadFull(r.file, r.buffer); err != nil {
		return err
	}
	r.key, r.value = r.buffer[:key], r.buffer[key:]
	return nil
}

// runHeap has the run with the least key first.
type runHeap []*run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(a, b int) bool { return bytes.Compare(h[a].key, h[b].key) < 0 }
func (h runHeap) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*run)) }
func (h *runHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// packer appends texts and numbers to the value of an entry.
type packer []byte

func (p *packer) number(n int64) { *p = binary.AppendVarint(*p, n) }

func (p *packer) text(text string) {
	p.number(int64(len(text)))
	*p = append(*p, text...)
}

// unpacker reads what a packer has appended, in the same order. It copies what it returns.
type unpacker []byte

func (u *unpacker) number() int64 {
	n, size := binary.Varint(*u)
	*u = (*u)[size:]
	return n
}

func (u *unpacker) text() string {
	n := u.number()
	text := string((*u)[:n])
	*u = (*u)[n:]
	return text
}
