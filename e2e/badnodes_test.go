package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// badNodes are nodes that cannot become part of the cluster as they are started.
func badNodes(t *testing.T, nodes []*process) {
	t.Helper()
	t.Run("port taken", func(t *testing.T) { portTaken(t, nodes[0]) })
	t.Run("data directory is none", dataIsNone)
	t.Run("data directory in use", func(t *testing.T) {
		p := newProcess(t, "twin", "--join", nodes[0].address())
		p.args[2] = nodes[1].dir
		said, code := p.fails(t)
		if code != exitConflict {
			t.Errorf("exit %d", code)
		}
		holdsWords(t, said, nodes[1].dir, "another running node", "--data")
	})
	t.Run("two nodes of one name", func(t *testing.T) { sameName(t, nodes) })
	t.Run("data of another cluster", func(t *testing.T) { foreignData(t, nodes) })
	t.Run("nobody answers yet", nobodyAnswers)
}

// fails runs a node that has to end by itself and returns its words and its exit
// code.
func (p *process) fails(t *testing.T) (said string, code int) {
	t.Helper()
	p.start(t)
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		t.Fatalf("the node did not end: %s", p.said(t))
	}
	return p.said(t), p.cmd.ProcessState.ExitCode()
}

// said is all that a node has written.
func (p *process) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says waits until a node has written all of the words.
func (p *process) says(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, 15*time.Second, p.name+" says "+strings.Join(words, ", "), func() (string, bool) {
		text := p.said(t)
		for _, w := range words {
			if !strings.Contains(text, w) {
				return text, false
			}
		}
		return "", true
	})
}

// portTaken: each of a node's three ports, by another node that runs.
func portTaken(t *testing.T, other *process) {
	t.Helper()
	for i, flag := range []string{"--http", "--raft", "--gossip"} {
		p := newProcess(t, "late", "--bootstrap-expect", "1")
		taken := fmt.Sprintf("127.0.0.1:%d", other.port+i)
		p.args = append(p.args, flag, taken)
		said, code := p.fails(t)
		if code != exitConflict {
			t.Errorf("%s taken: exit %d", flag, code)
		}
		holdsWords(t, said, taken, flag, "another node")
		p.args = append(p.args, flag, fmt.Sprintf("127.0.0.1:%d", p.port+i))
		p.start(t) // the way out works: nothing is left that stands in its way
		ready(t, p)
		p.end(t)
	}
}

// dataIsNone: a file where the directory should be, and a disk that cannot be
// written.
func dataIsNone(t *testing.T) {
	t.Helper()
	p := newProcess(t, "file", "--bootstrap-expect", "1")
	if err := os.WriteFile(p.dir, []byte("no directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	said, code := p.fails(t)
	if code != exitUsage {
		t.Errorf("a file as data directory: exit %d", code)
	}
	holdsWords(t, said, p.dir, "--data")

	p = newProcess(t, "readonly", "--bootstrap-expect", "1")
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", p.dir, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Logf("skipped: a disk that cannot be written: it takes the right to mount one: %v", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(p.dir, syscall.MNT_DETACH) }) // the directory is the test's own
	said, code = p.fails(t)
	if code != exitFailed {
		t.Errorf("a disk that cannot be written: exit %d", code)
	}
	holdsWords(t, said, p.dir, "cannot be written", "--data")
}

// sameName: the second node of a name is told whose it is and gets no work; under
// another name it does.
func sameName(t *testing.T, nodes []*process) {
	t.Helper()
	p := newProcess(t, nodes[2].name, "--role", "worker", "--join", nodes[0].address())
	p.start(t)
	p.says(t, nodes[2].name, "belongs to node", nodes[2].address(), "choose another --name")
	if status, body := request(t, http.MethodGet, p.url()+"/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz of the second: %d %s", status, body)
	}
	if s, err := statusOf(nodes[0]); err != nil || s.Nodes["ready"] != 3 {
		t.Errorf("the cluster counts %v (%v)", s.Nodes, err)
	}
	p.kill(t)
	p.args[4] = "other"
	p.start(t)
	ready(t, append(nodes[:3:3], p)...)
}

// foreignData: a node started with the data of another cluster and told to join
// this one ends and names both. Neither is harmed: without --join it is what its
// data say.
func foreignData(t *testing.T, nodes []*process) {
	t.Helper()
	foreign := newProcess(t, "foreign", "--bootstrap-expect", "1")
	foreign.start(t)
	ready(t, foreign)
	theirs, err := statusOf(foreign)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(must(t, foreign, "run", "--wait", "-o", "template={{.id}}", "--", "true"))
	foreign.killHost(t)

	ours, err := statusOf(nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	moved := newProcess(t, "moved", "--join", nodes[0].address())
	if err := os.Rename(foreign.dir, moved.dir); err != nil {
		t.Fatal(err)
	}
	said, code := moved.fails(t)
	if code != exitConflict {
		t.Errorf("exit %d", code)
	}
	holdsWords(t, said, moved.dir, ours.ClusterID, theirs.ClusterID, "--join", "--data")

	moved.args = moved.args[:len(moved.args)-2]
	moved.start(t)
	ready(t, moved)
	if s, err := statusOf(moved); err != nil || s.ClusterID != theirs.ClusterID || s.ClusterID == ours.ClusterID {
		t.Errorf("it is in cluster %s now (%v), its data are of %s", s.ClusterID, err, theirs.ClusterID)
	}
	if run := await(t, 10*time.Second, id, moved); run.Status != "succeeded" {
		t.Errorf("its run is lost: %+v", run)
	}
	if s, err := statusOf(nodes[0]); err != nil || s.ClusterID != ours.ClusterID || s.Nodes["ready"] != ours.Nodes["ready"] {
		t.Errorf("this cluster became %+v (%v)", s, err)
	}
}

// nobodyAnswers: the node keeps trying, says so, and joins once somebody is there.
func nobodyAnswers(t *testing.T) {
	t.Helper()
	late := newProcess(t, "late", "--bootstrap-expect", "1")
	p := newProcess(t, "early", "--role", "worker", "--join", late.address())
	p.start(t)
	p.says(t, "no answer from "+late.address(), "trying on")
	status, body := request(t, http.MethodGet, p.url()+"/readyz", "")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, strconv.Itoa(late.port)) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	late.start(t)
	ready(t, late, p)
	if status, body := request(t, http.MethodGet, p.url()+"/readyz", ""); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	run, code := runOne(t, p, command("true")+"constraint {\n attribute = \"node.name\"\n operator = \"=\"\n value = \"early\"\n}\n")
	if code != 0 || run.Tasks[0].Node != "early" {
		t.Errorf("exit %d: %+v", code, run)
	}
}
