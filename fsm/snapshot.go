package fsm

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	stdhash "hash"
	"hash/crc32"
	"io"
)

// A snapshot on disk or on its way to another replica: a header, records, each
// with its length in front and its CRC-32C behind, the last of them carrying the
// number of records and the digest, then the SHA-256 of everything before it.
// (Source: RELIABILITY.md, section 3.)

const (
	snapshotMagic   = "rotasnap"
	snapshotVersion = 1
	maxRecordBytes  = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a table that never changes

// Encode writes the snapshot. The bytes are the same for equal states.
func (s *Snapshot) Encode(w io.Writer) error {
	e := &snapshotWriter{w: bufio.NewWriterSize(w, 256<<10), sha: sha256.New()}
	e.write(append([]byte(snapshotMagic), snapshotVersion))
	e.state(s)
	e.record(kindEnd, func(b []byte) []byte { return appendDigest(appendUint(b, e.count), s.Digest()) })
	if e.err == nil {
		_, e.err = e.w.Write(e.sha.Sum(nil))
	}
	if e.err == nil {
		e.err = e.w.Flush()
	}
	if e.err != nil {
		return fmt.Errorf("write a snapshot of index %d: %w", s.Index(), e.err)
	}
	return nil
}

type snapshotWriter struct {
	w     *bufio.Writer
	sha   stdhash.Hash
	count uint64 // of records
	buf   []byte
	head  []byte
	err   error // the first one
}

func (e *snapshotWriter) write(b []byte) {
	if e.err != nil {
		return
	}
	e.sha.Write(b)
	_, e.err = e.w.Write(b)
}

func (e *snapshotWriter) record(kind byte, fields func(b []byte) []byte) {
	if e.err != nil {
		return
	}
	e.buf = fields(append(e.buf[:0], kind))
	e.head = binary.AppendUvarint(e.head[:0], uint64(len(e.buf)))
	e.buf = binary.LittleEndian.AppendUint32(e.buf, crc32.Checksum(e.buf, castagnoli))
	e.write(e.head)
	e.write(e.buf)
	e.count++
}

// state writes every record, those that others refer to first.
func (e *snapshotWriter) state(s *Snapshot) {
	e.record(kindMeta, func(b []byte) []byte { return appendMeta(b, &s.meta) })
	if s.arrivals.Total() > 0 {
		e.record(kindArrivals, func(b []byte) []byte { return appendArrivals(b, &s.arrivals) })
	}
	s.nodes.Scan(func(it nodeItem) bool {
		e.record(kindNode, func(b []byte) []byte { return appendNodeMoving(appendNodeInfo(b, &it.rec.NodeInfo), it.rec) })
		return e.err == nil
	})
	s.leases.Scan(func(it leaseItem) bool {
		e.record(kindLease, func(b []byte) []byte { return appendUint(appendSession(b, it.rec.session), it.rec.index) })
		return e.err == nil
	})
	s.versions.Scan(func(it versionItem) bool {
		e.record(kindVersion, func(b []byte) []byte { return appendVersion(b, &it.rec.JobVersion) })
		return e.err == nil
	})
	s.jobs.Scan(func(it jobItem) bool {
		e.record(kindJob, func(b []byte) []byte { return appendJob(b, it.rec) })
		return e.err == nil
	})
	s.requests.Scan(func(it requestItem) bool {
		e.record(kindRequest, func(b []byte) []byte { return appendRequest(b, it.rec) })
		return e.err == nil
	})
	s.pending.Scan(func(it pendingItem) bool {
		e.pending(it.rec)
		return e.err == nil
	})
	s.holds.Scan(func(it holdItem) bool {
		e.record(kindHold, func(b []byte) []byte { return appendHold(b, &it.rec.Hold) })
		return e.err == nil
	})
	s.runs.Scan(func(it runItem) bool {
		e.run(s, it.rec)
		return e.err == nil
	})
}

func (e *snapshotWriter) pending(p *pending) {
	e.record(kindPending, func(b []byte) []byte {
		b = appendRequestKey(appendRunFixed(b, &p.Run), p.request)
		return appendInt(appendInt(b, len(p.specs)), len(p.tasks))
	})
	for _, spec := range p.specs {
		e.record(kindPendingSpec, func(b []byte) []byte { return appendSpec(b, spec) })
	}
	for i := range p.tasks {
		e.record(kindPendingTask, func(b []byte) []byte { return appendNewTask(b, &p.tasks[i]) })
	}
}

func (e *snapshotWriter) run(s *Snapshot, r *run) {
	e.record(kindRun, func(b []byte) []byte {
		b = appendUint(appendRunFixed(b, &r.Run), r.number)
		return appendInt(appendRunMoving(b, r), len(r.graph.specs))
	})
	for _, spec := range r.graph.specs {
		e.record(kindSpec, func(b []byte) []byte { return appendSpec(b, spec) })
	}
	s.tasks.Ascend(taskItem{taskPos: taskPos{run: r.number}}, func(it taskItem) bool {
		if it.run != r.number {
			return false
		}
		e.record(kindTask, func(b []byte) []byte { return appendTaskMoving(appendTaskFixed(b, it.rec), it.rec) })
		return e.err == nil
	})
}
