package fsm

import (
	"bytes"
	"testing"

	"github.com/rota-sched/rota"
)

// TestEqualRunsShareWhatIsEqual: runs of one job keep one spec and one graph, after a
// snapshot too, and the digest is that of a state which shares nothing.
func TestEqualRunsShareWhatIsEqual(t *testing.T) {
	entry := func(i int, command string) []byte {
		e := rota.Entry{Format: 1, Term: 1, Index: uint64(i), At: rota.Instant(i)}
		for j := range 2 {
			id := rota.RunID([]byte{'r', byte('a' + i), byte('a' + j)})
			e.Commands = append(e.Commands, rota.Command{Op: rota.SubmitRun{
				Run: id, Job: "j", Hash: "h", Source: []byte("s"), Filename: "f", Total: 2, Digest: string(id),
				Specs: []*rota.TaskSpec{{Driver: rota.DriverExec, Command: []string{command}, Retry: rota.Retry{MaxAttempts: 1}}},
				Tasks: []rota.NewTask{{Key: "a"}, {Key: "b", DependsOn: []rota.Edge{{On: "a"}}}},
			}})
		}
		return AppendEntry(nil, &e)
	}
	var d Decoder
	sharing, plain := New(), New()
	for i, command := range []string{"/bin/true", "/bin/true", "/bin/false", "/bin/true"} {
		b := entry(i+1, command)
		for _, to := range []struct {
			s      *State
			decode func([]byte) (rota.Entry, error)
		}{{sharing, d.Entry}, {plain, DecodeEntry}} {
			e, err := to.decode(b)
			if err != nil {
				t.Fatal(err)
			}
			results, _ := to.s.Apply(e)
			for _, r := range results {
				if r.Kind != rota.KindNone {
					t.Fatal(r.Kind, r.Detail)
				}
			}
		}
	}
	if sharing.Digest() != plain.Digest() {
		t.Errorf("digest %s, without sharing %s", sharing.Digest(), plain.Digest())
	}
	var out bytes.Buffer
	if err := sharing.Snapshot().Encode(&out); err != nil {
		t.Fatal(err)
	}
	restored, err := Restore(&out)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*State{"applied": sharing, "restored": restored} {
		specs, graphs := map[*rota.TaskSpec]bool{}, map[*graph]bool{}
		s.runs.Scan(func(it runItem) bool {
			specs[it.rec.graph.specs[0]], graphs[it.rec.graph] = true, true
			return true
		})
		if len(specs) != 2 || len(graphs) > 3 {
			t.Errorf("%s: %d specs and %d graphs for eight runs of two kinds", name, len(specs), len(graphs))
		}
	}
}
