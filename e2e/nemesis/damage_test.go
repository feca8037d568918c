package nemesis

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDiskContentsAreDamaged changes what is on one follower's disk while it is
// down. It may refuse to start, and then joins again with an empty directory; it
// may never go on with less than it had acknowledged.
func TestDiskContentsAreDamaged(t *testing.T) {
	long(t)
	possible(t, "cp")
	for _, c := range []struct {
		name    string
		harm    func(t *testing.T, n *node, backup string)
		refuses bool // it has to notice
	}{
		{"one bit of an entry of the log flipped", flipEntry, true},
		{"the last tenth of the log cut off", cutLog, true},
		{"high-water mark gone", removeOf("mark"), false}, // nothing is missing
		{"a bit of the high-water mark flipped", flipSmall, false},
		{"data directory deleted", func(t *testing.T, n *node, _ string) { t.Helper(); empty(t, n) }, false},
		{"old backup put back", func(t *testing.T, n *node, backup string) {
			t.Helper()
			empty(t, n)
			if err := tool("cp", "-a", backup+"/.", n.dir); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		w := newWorld(t, plan{nodes: 3})
		backup := filepath.Join(w.dir, "backup")
		victim := w.others(w.leader())[0]
		victim.killHost()
		w.must("cp", "-a", victim.dir, backup)
		victim.start(t)
		w.ready(w.nodes...)
		w.suffer(t, nil, fault{name: c.name, hold: 3 * time.Second, do: func(w *world) func() {
			victim.killHost()
			return func() {
				c.harm(w.t, victim, backup)
				w.comesBack(victim, c.refuses)
			}
		}})
		w.end()
	}
}

// comesBack starts a node on a damaged disk. Where it ends by itself it gets an
// empty directory, as its words advise.
func (w *world) comesBack(n *node, refuses bool) {
	w.t.Helper()
	before := len(n.said())
	n.start(w.t)
	select {
	case <-n.exited:
		w.note("it refused to start: %s", n.lastWords())
		empty(w.t, n)
		n.start(w.t)
	case <-time.After(4 * time.Second):
		said := n.said()[before:]
		noticed := strings.Contains(said, "damaged") || strings.Contains(said, "quarantine")
		w.note("it started, and noticed: %v", noticed)
		if refuses && !noticed {
			w.t.Error("the damage was not noticed")
		}
	}
}

// empty removes all that a node keeps.
func empty(t *testing.T, n *node) {
	t.Helper()
	entries, err := os.ReadDir(n.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(n.dir, e.Name())))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func raftDir(n *node) string { return filepath.Join(n.dir, "raft") }

// change rewrites a file and returns how long it was.
func change(t *testing.T, path string, how func([]byte) []byte) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(b), 0o600); err != nil {
		t.Fatal(err)
	}
	return len(b)
}

// flipEntry flips a bit in what the clients wrote last, as the log keeps it.
func flipEntry(t *testing.T, n *node, _ string) {
	t.Helper()
	change(t, biggest(t, raftDir(n)), func(b []byte) []byte {
		found := 0 // pages that are free by now hold it, too
		for at := 0; ; at++ {
			next := bytes.Index(b[at:], []byte("flipped-10"))
			if next < 0 {
				break
			}
			at += next
			b[at] ^= 4
			found++
		}
		if found == 0 {
			t.Fatal("the log does not hold what the clients wrote")
		}
		return b
	})
}

func cutLog(t *testing.T, n *node, _ string) {
	t.Helper()
	change(t, biggest(t, raftDir(n)), func(b []byte) []byte { // its end may be room for what comes
		used := bytes.TrimRight(b, "\x00")
		return b[:len(used)/10*9]
	})
}

func removeOf(name string) func(t *testing.T, n *node, backup string) {
	return func(t *testing.T, n *node, _ string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(raftDir(n), name+"*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s in %s: %v", name, raftDir(n), err)
		}
		for _, path := range found {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// flipSmall flips a bit in the middle of all files but the log itself.
func flipSmall(t *testing.T, n *node, _ string) {
	t.Helper()
	big := biggest(t, raftDir(n))
	flipped := 0
	err := filepath.WalkDir(raftDir(n), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == big {
			return err
		}
		change(t, path, func(b []byte) []byte {
			if len(b) > 0 {
				b[len(b)/2] ^= 1
				flipped++
			}
			return b
		})
		return nil
	})
	if err != nil || flipped == 0 {
		t.Fatalf("%d files flipped: %v", flipped, err)
	}
}
