package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

// FuzzDecodeEntry: hostile bytes are an error or an entry with one spelling, and
// what they decode to is applied without a panic.
func FuzzDecodeEntry(f *testing.F) {
	for _, op := range everyOp(f) {
		f.Add(AppendEntry(nil, &rota.Entry{Format: 1, Commands: []rota.Command{{Namespace: "team", Op: op}}}))
	}
	for _, e := range busyLog() {
		f.Add(AppendEntry(nil, &e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEntry(b)
		if err != nil {
			return
		}
		if again := AppendEntry(nil, &e); !bytes.Equal(again, b) {
			t.Fatalf("a second spelling:\n%x\n%x", b, again)
		}
		s := NewWith(smallLimits())
		for _, e := range busyLog() {
			s.Apply(e)
		}
		s.Apply(e)
		checkState(t, s)
		roundTrip(t, s)
	})
}

// busyLog makes a state with something of everything.
func busyLog() []rota.Entry {
	session := rota.Session{Node: "n1", Boot: "b", Counter: 1}
	info := rota.NodeInfo{
		ID: "n1", Name: "n1", Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: 4000, MemoryBytes: 1 << 40, Slots: 10, GPUs: []rota.GPU{{ID: "g0"}}},
	}
	away := info
	away.ID, away.Name = "n2", "n2"
	plain := &rota.TaskSpec{Driver: rota.DriverNoop, Output: rota.OutputJSON, Retry: rota.Retry{MaxAttempts: 2, Backoff: rota.BackoffFixed, Initial: time.Second}}
	late := &rota.TaskSpec{Driver: rota.DriverNoop, Late: []string{"command"}, Rerun: rota.RerunAsk}
	gpu := &rota.TaskSpec{Driver: rota.DriverNoop, Resources: rota.Resources{GPU: rota.GPUDemand{Count: 1}}, Timeouts: rota.Timeouts{ScheduleToClose: time.Minute}}
	id := func(k rota.TaskKey) rota.TaskID { return rota.TaskID{Run: "R1", Key: k} }
	ops := [][]rota.Op{
		{rota.RegisterNode{Info: info, Boot: "b"}, rota.RegisterNode{Info: away, Boot: "b"}},
		{rota.ExpireSession{Session: rota.Session{Node: "n2", Boot: "b", Counter: 1}, Released: true, Left: true}},
		{
			rota.SubmitRun{Run: "R1", Job: "job", Hash: "h", Source: []byte("x"), Digest: "d", Total: 5, Specs: []*rota.TaskSpec{plain, late, gpu}, Tasks: []rota.NewTask{
				{Key: "a"},
				{Key: "b", Spec: 1},
				{Key: "c", Spec: 2},
				{Key: "d", DependsOn: []rota.Edge{{On: "a"}, {On: "b", Kind: rota.EdgeAny}}},
				{Key: "e"},
			}},
			rota.SubmitRun{Run: "R2", Job: "job", Hash: "h2", Source: []byte("y"), Total: 3, Specs: []*rota.TaskSpec{plain}, Tasks: []rota.NewTask{{Key: "a"}}},
			rota.SubmitRun{Run: "R3", Job: "job", Hash: "h", Total: 0},
		},
		{rota.Place{Placements: []rota.NewPlacement{
			{Task: id("a"), Session: session}, {Task: id("c"), Session: session, GPUs: []rota.GPUGrant{{ID: "g0", Milli: 1000}}}, {Task: id("e"), Session: session},
		}}},
		{rota.Report{Session: session, Items: []rota.ReportItem{
			{Task: id("a"), Fence: 1, Started: true, Outcome: &rota.Outcome{Output: []byte(`[1]`)}, Released: true},
			{Task: id("c"), Fence: 1, Started: true},
			{Task: id("e"), Fence: 1, Started: true, Outcome: &rota.Outcome{Cause: rota.CauseOOM}},
		}}},
	}
	var log []rota.Entry
	for i, list := range ops {
		e := rota.Entry{Format: 1, Term: 1, Index: uint64(i + 1), At: rota.Instant(i+1) * rota.Instant(time.Second)}
		for _, op := range list {
			e.Commands = append(e.Commands, rota.Command{RequestID: "key" + string(rune('a'+len(e.Commands))), Namespace: "team", Op: op})
		}
		log = append(log, e)
	}
	return log
}

func busyState() *State {
	s := NewWith(smallLimits())
	for _, e := range busyLog() {
		s.Apply(e)
	}
	return s
}

// FuzzRestore: hostile snapshots are errors, never panics; and one that passes all
// checks is a state on which entries apply. The checksums are made right, or no
// mutation would come past them.
func FuzzRestore(f *testing.F) {
	var b bytes.Buffer
	if err := busyState().Snapshot().Encode(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := RestoreWith(bytes.NewReader(b), smallLimits()); err == nil && len(b) == 0 {
			t.Fatal("nothing restores")
		}
		d := &snapshotReader{in: bufio.NewReader(bytes.NewReader(reframe(b))), sha: sha256.New(), s: NewWith(smallLimits())}
		if d.read() != nil || d.s.rebuild() != nil {
			return
		}
		s := d.s
		e := rota.Entry{Format: s.Format(), At: s.Now().Add(time.Hour)}
		for n := range s.Snapshot().Nodes() {
			e.Commands = append(e.Commands, rota.Command{Op: rota.ExpireSession{Session: n.Session, Released: true}})
		}
		e.Commands = append(e.Commands, rota.Command{Op: rota.Due{}}, rota.Command{Op: rota.CancelRun{Run: "R1"}})
		s.Apply(e)
		roundTrip(t, s)
	})
}

// reframe gives each record of a snapshot the checksum it should have.
func reframe(b []byte) []byte {
	if len(b) < 9 {
		return b
	}
	out, rest := append([]byte(nil), b[:9]...), b[9:]
	records := uint64(0)
	for {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n == 0 || n > uint64(len(rest)-used) || n > 1<<20 {
			break
		}
		payload := rest[used : used+int(n)]
		if payload[0] == kindEnd {
			break
		}
		out = append(binary.AppendUvarint(out, n), payload...)
		out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(payload, castagnoli))
		records++
		if len(rest) < used+int(n)+4 {
			break
		}
		rest = rest[used+int(n)+4:]
	}
	end := appendDigest(appendUint([]byte{kindEnd}, records), Digest{})
	out = append(binary.AppendUvarint(out, uint64(len(end))), end...)
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(end, castagnoli))
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

// TestDamagedSnapshotIsRefused: a flipped bit or a missing tail never restores.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	var buf bytes.Buffer
	if err := busyState().Snapshot().Encode(&buf); err != nil {
		t.Fatal(err)
	}
	b := buf.Bytes()
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		if _, err := RestoreWith(bytes.NewReader(bad), smallLimits()); err == nil {
			t.Fatalf("a snapshot with a flipped bit in byte %d of %d restores", i, len(b))
		}
		if _, err := RestoreWith(bytes.NewReader(b[:i]), smallLimits()); err == nil {
			t.Fatalf("the first %d of %d bytes restore", i, len(b))
		}
	}
	s, err := RestoreWith(io.MultiReader(bytes.NewReader(b), bytes.NewReader([]byte("more"))), smallLimits())
	if err != nil || s.Digest() != busyState().Digest() {
		t.Fatalf("the whole snapshot: %v", err)
	}
}

// TestRecordsThatDisagreeAreRefused: right checksums do not make a state. Found by
// FuzzRestore: two idempotency keys of one serial shared a timer.
func TestRecordsThatDisagreeAreRefused(t *testing.T) {
	for name, damage := range map[string]func(*State){
		"two requests of one serial": func(s *State) {
			s.requests.Scan(func(it requestItem) bool {
				it.rec.serial, it.rec.at = 1, 1
				return true
			})
		},
		"a session above the node's counter": func(s *State) { s.nodeByID("n1").LastCounter = 0 },
		"a lease of another session": func(s *State) {
			s.leases.Set(leaseItem{node: "n1", rec: &lease{session: rota.Session{Node: "n1", Boot: "b", Counter: 9}}})
		},
		"a hold that the node does not count": func(s *State) { s.nodeByID("n1").Held.Slots = 7 },
		"a task placed without room":          func(s *State) { s.holds.Clear() },
		"a miscounted run":                    func(s *State) { s.runByID("R1").Counts[rota.StatusQueued]++ },
		"a miscounted dependency":             func(s *State) { s.taskByID(taskID("R1/d")).OpenDeps++ },
		"a timer that is not when it is due":  func(s *State) { s.taskByID(taskID("R1/c")).DueAt++ },
		"a run without its version":           func(s *State) { s.versions.Clear() },
	} {
		s := busyState()
		damage(s)
		var b bytes.Buffer
		if err := s.Snapshot().Encode(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := RestoreWith(&b, s.limits); !errors.Is(err, ErrWire) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
