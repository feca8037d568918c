package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	stdhash "hash"
	"hash/crc32"
	"io"

	"github.com/rota-sched/rota"
)

// Restore reads what Encode wrote. A state comes back only if every checksum, the
// digest and the state's own invariants hold; the error wraps ErrWire otherwise,
// or ErrHalt if the snapshot's format is newer than this binary, or is the
// reader's own.
func Restore(r io.Reader) (*State, error) { return RestoreWith(r, DefaultLimits()) }

// RestoreWith is Restore with other limits, for tests.
func RestoreWith(r io.Reader, l Limits) (*State, error) {
	d := &snapshotReader{in: bufio.NewReaderSize(r, 256<<10), sha: sha256.New(), s: NewWith(l)}
	if err := d.read(); err != nil {
		return nil, fmt.Errorf("read a snapshot, record %d: %w", d.count, err)
	}
	if err := d.s.rebuild(); err != nil {
		return nil, fmt.Errorf("read a snapshot of index %d: %w", d.s.meta.index, err)
	}
	if have := d.s.Digest(); have != d.digest {
		return nil, fmt.Errorf("read a snapshot of index %d: %w", d.s.meta.index, wrong("the digest is %s, want %s", have, d.digest))
	}
	return d.s, nil
}

type snapshotReader struct {
	in    *bufio.Reader
	sha   stdhash.Hash
	s     *State
	specs shelf
	count uint64 // of records
	buf   bytes.Buffer
	// digest is what the snapshot claims.
	digest Digest
}

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrWire}, args...)...)
}

func (d *snapshotReader) read() error {
	head := make([]byte, len(snapshotMagic)+1)
	if err := d.take(head); err != nil {
		return err
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return wrong("not a snapshot")
	}
	if v := head[len(snapshotMagic)]; v != snapshotVersion {
		return wrong("version %d of a snapshot, want %d", v, snapshotVersion)
	}
	for {
		kind, r, err := d.next()
		if err != nil {
			return err
		}
		if kind == kindEnd {
			return d.end(r)
		}
		if err := d.record(kind, r); err != nil {
			return err
		}
	}
}

// take fills b and notes it in the hash.
func (d *snapshotReader) take(b []byte) error {
	if _, err := io.ReadFull(d.in, b); err != nil {
		return cut(err)
	}
	d.sha.Write(b)
	return nil
}

// cut names a reader's end for what it is here.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return wrong("ends too early")
	}
	return err
}

// next reads one record and checks its checksum. Memory grows with the bytes that
// come, not with the length they claim.
func (d *snapshotReader) next() (byte, *reader, error) {
	var head []byte
	for {
		c, err := d.in.ReadByte()
		if err != nil {
			return 0, nil, cut(err)
		}
		head = append(head, c)
		if c < 0x80 || len(head) == binary.MaxVarintLen64 {
			break
		}
	}
	n, used := binary.Uvarint(head)
	if used != len(head) || n == 0 || n > maxRecordBytes {
		return 0, nil, wrong("a record of %d bytes", n)
	}
	d.sha.Write(head)
	d.buf.Reset()
	if _, err := io.CopyN(&d.buf, d.in, int64(n)+4); err != nil {
		return 0, nil, cut(err)
	}
	b := d.buf.Bytes()
	d.sha.Write(b)
	b, sum := b[:n], binary.LittleEndian.Uint32(b[n:])
	if crc32.Checksum(b, castagnoli) != sum {
		return 0, nil, wrong("checksum of a record")
	}
	d.count++
	return b[0], &reader{b: b[1:], seen: &d.specs}, nil
}

func (d *snapshotReader) end(r *reader) error {
	count, digest := r.uint(), r.digest()
	if err := r.end(); err != nil {
		return err
	}
	want := d.sha.Sum(nil)
	var sum [sha256.Size]byte
	if _, err := io.ReadFull(d.in, sum[:]); err != nil {
		return cut(err)
	}
	switch {
	case !bytes.Equal(sum[:], want):
		return wrong("SHA-256 of the snapshot")
	case count != d.count-1:
		return wrong("%d records, want %d", d.count-1, count)
	}
	d.digest = digest
	return nil
}

// record takes one record, with those that follow as a part of it.
func (d *snapshotReader) record(kind byte, r *reader) error {
	s := d.s
	if d.count == 1 != (kind == kindMeta) {
		return wrong("a record of kind %d at this place", kind)
	}
	switch kind {
	case kindMeta:
		s.meta = r.meta()
		if s.meta.now < 0 || s.meta.now > latest {
			return wrong("the state's moment")
		}
		if s.meta.format > s.limits.MaxFormat {
			return fmt.Errorf("the state has format %d, this binary knows %d: %w", s.meta.format, s.limits.MaxFormat, ErrHalt)
		}
	case kindArrivals:
		if s.arrivals = r.arrivals(); r.err == nil && s.arrivals.Total() == 0 {
			return wrong("arrivals of which there are none")
		}
	case kindNode:
		n := &node{Node: rota.Node{NodeInfo: r.nodeInfo()}}
		r.nodeMoving(n)
		s.nodes.Load(nodeItem{id: n.ID, rec: n})
	case kindLease:
		l := &lease{session: r.session(), index: r.uint()}
		s.leases.Load(leaseItem{node: l.session.Node, rec: l})
	case kindVersion:
		v := &version{JobVersion: r.version()}
		s.putVersion(v)
	case kindJob:
		j := r.job()
		s.jobs.Load(jobItem{jobKey: jobKey{namespace: j.namespace, name: j.name}, rec: j})
	case kindRequest:
		s.requests.Load(r.request())
	case kindHold:
		h := &hold{Hold: r.hold()}
		s.holds.Load(holdItem{holdKey: h.key(), rec: h})
	case kindPending:
		return d.pending(r)
	case kindRun:
		return d.run(r)
	default:
		return wrong("a record of kind %d at this place", kind)
	}
	return r.end()
}

// part reads a record that has to be of a kind.
func (d *snapshotReader) part(want byte) (*reader, error) {
	kind, r, err := d.next()
	if err == nil && kind != want {
		err = wrong("a record of kind %d, want %d", kind, want)
	}
	return r, err
}

func (d *snapshotReader) pending(r *reader) error {
	p := &pending{}
	r.runFixed(&p.Run)
	p.request, p.Status = r.requestKey(), rota.RunSubmitting
	specs, tasks := r.int(), r.int()
	if err := r.end(); err != nil {
		return err
	}
	for range specs {
		r, err := d.part(kindPendingSpec)
		if err != nil {
			return err
		}
		p.specs = append(p.specs, r.spec())
		if err := r.end(); err != nil {
			return err
		}
	}
	for range tasks {
		r, err := d.part(kindPendingTask)
		if err != nil {
			return err
		}
		p.tasks = append(p.tasks, r.newTask())
		if err := r.end(); err != nil {
			return err
		}
	}
	d.s.pending.Set(pendingItem{run: p.ID, rec: p})
	return nil
}

func (d *snapshotReader) run(r *reader) error {
	v := &run{graph: &graph{}}
	r.runFixed(&v.Run)
	v.number = r.uint()
	r.runMoving(v)
	specs := r.int()
	if err := r.end(); err != nil {
		return err
	}
	if v.Total < 0 || v.Total > rota.MaxTasksPerRun {
		return wrong("a run of %d tasks", v.Total)
	}
	for range specs {
		r, err := d.part(kindSpec)
		if err != nil {
			return err
		}
		v.graph.specs = append(v.graph.specs, r.spec())
		if err := r.end(); err != nil {
			return err
		}
	}
	for order := range v.Total {
		r, err := d.part(kindTask)
		if err != nil {
			return err
		}
		if err := d.task(v, order, r); err != nil {
			return err
		}
	}
	d.s.runs.Load(runItem{number: v.number, rec: v})
	return nil
}

func (d *snapshotReader) task(v *run, order int, r *reader) error {
	t := &task{}
	t.ID.Run, t.Namespace = v.ID, v.Namespace
	r.taskFixed(t)
	r.taskMoving(t)
	if err := r.end(); err != nil {
		return err
	}
	switch {
	case t.run != v.number || t.Order != order:
		return wrong("task %q is not at its place in run %s", t.ID.Key, v.ID)
	case t.specAt != ownSpec && (t.specAt < 0 || t.specAt >= len(v.graph.specs)):
		return wrong("task %s has spec %d of %d", t.ID, t.specAt, len(v.graph.specs))
	}
	if t.specAt != ownSpec {
		t.Spec = v.graph.specs[t.specAt]
	}
	if p := t.Placement; p != nil {
		p.Task, p.Fence = t.ID, t.Fence(d.s.meta.incarnation)
	}
	d.s.tasks.Load(taskItem{taskPos: t.pos(), rec: t})
	return nil
}
