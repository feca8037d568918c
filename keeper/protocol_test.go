package keeper_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/keeper"
)

// speak sends one frame on a connection of its own and returns the answer.
func (w *world) speak(text string) (string, error) {
	w.t.Helper()
	var d net.Dialer
	c, err := d.DialContext(w.t.Context(), "unix", filepath.Join(w.data, "keeper", "sock"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	if _, err := c.Write(frame); err != nil {
		return "", err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return "", err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err = io.ReadFull(c, b)
	return string(b), err
}

// TestVersionsOfTheProtocolMeet: the newest that both speak holds; none is said in
// words.
func TestVersionsOfTheProtocolMeet(t *testing.T) {
	w := newWorld(t, "")
	got, err := w.speak(`{"id":1,"op":"hello","body":{"newest":99,"oldest":1}}`)
	if err != nil || !strings.Contains(got, `"protocol":1`) || !strings.Contains(got, w.c.Greeting().ID) {
		t.Errorf("a newer client: %s, %v", got, err)
	}
	got, err = w.speak(`{"id":1,"op":"hello","body":{"newest":99,"oldest":98}}`)
	if err != nil || !strings.Contains(got, "speaks protocol 98 to 99, the keeper 1 to 1") {
		t.Errorf("one that is too new: %s, %v", got, err)
	}
}

// TestBadRequestsHarmNobody.
func TestBadRequestsHarmNobody(t *testing.T) {
	w := newWorld(t, "")
	for _, text := range []string{
		`{"id":1,"op":"no such request"}`, `{"id":1,"op":"spawn","body":7}`, `{"id":1,"op":"spawn","body":{}}`, `{"id":1,"op":"ack","body":{}}`,
		`{"id":1,"op":"stop","body":"x"}`, `{"id":1,"op":"begin","body":{}}`, `{"id":1,"op":"lease","body":[]}`, `{"id":1,"op":"hello"}`, `{"id":1}`,
	} {
		got, err := w.speak(text)
		if err != nil || !strings.Contains(got, `"kind":`) && !strings.Contains(got, `"refused":`) {
			t.Errorf("%s is answered with %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "no JSON", "{", strings.Repeat("[", 100_000)} {
		if got, err := w.speak(text); err == nil {
			t.Errorf("%.20q is answered with %s", text, got)
		}
	}
	if err := w.c.Ping(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestOnlyTheAgentsConnectionCounts: others come and go.
func TestOnlyTheAgentsConnectionCounts(t *testing.T) {
	w := newWorld(t, "")
	if _, err := w.speak(`{"id":1,"op":"hello","body":{"newest":1,"oldest":1,"role":"second"}}`); err != nil {
		t.Fatal(err)
	}
	if h, err := w.c.Hello(t.Context()); err != nil || h.Phase != keeper.PhaseServing {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestTheReleaseOfAPlannedStopSaysSo: the agent stops its tasks too.
func TestTheReleaseOfAPlannedStopSaysSo(t *testing.T) {
	w := newWorld(t, "")
	w.spawn("a", "exec sleep 4731")
	if err := w.c.SetPeers(t.Context(), []string{"127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if err := w.c.PlannedStop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.c.EndSession(t.Context(), testSession); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-w.c.Over():
		if s != testSession {
			t.Errorf("over is %v", s)
		}
	case <-time.After(5 * time.Second):
		t.Error("the agent is not told that its session is over")
	}
	if r := w.awaitRelease(5 * time.Second); !r.Left || r.Session != testSession {
		t.Errorf("the release says %+v", r)
	}
}

// TestARequestTooLargeIsRefusedByName.
func TestARequestTooLargeIsRefusedByName(t *testing.T) {
	w := newWorld(t, "")
	r := shell(w.data, "a", 1, "true")
	r.Meta, _ = json.Marshal(strings.Repeat("x", 9<<20))
	if err := w.c.Spawn(t.Context(), r); !errors.Is(err, rota.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := w.c.Ping(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestOutOfMemoryIsNamed: the kernel kills a task for its memory; not one that
// killed itself.
func TestOutOfMemoryIsNamed(t *testing.T) {
	group := "/sys/fs/cgroup/memory/rota-test-" + filepath.Base(filepath.Dir(t.TempDir()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no memory cgroup to be had: %v", err)
	}
	t.Cleanup(func() {
		eventually(t, 5*time.Second, "removed", func() bool { return os.Remove(group) == nil })
	})
	if err := os.WriteFile(group+"/memory.limit_in_bytes", []byte("16M"), 0); err != nil {
		t.Skipf("no memory cgroup to be had: %v", err)
	}
	w := newWorld(t, keeper.LevelCgroup)
	if a := w.wait(w.spawn("b", "kill -KILL $$")); a.Exit.OOM || a.Exit.Signal != 9 {
		t.Errorf("one that killed itself: %+v", a)
	}
	if a := w.wait(w.spawn("a", "echo $$ >"+group+"/cgroup.procs && exec tail /dev/zero")); !a.Exit.OOM {
		t.Errorf("out of memory: %+v; stderr %s", a, read(t, w.data+"/a.err"))
	}
}
