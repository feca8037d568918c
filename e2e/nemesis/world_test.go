package nemesis

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rota-sched/rota/api"
)

// The ports of every node, each at an address of its own.
const (
	portHTTP   = 8420
	portRaft   = 8421
	portGossip = 8422
)

// worlds counts the worlds made, for names and addresses.
var worlds atomic.Int32

// plan says what world to make.
type plan struct {
	nodes  int
	wires  bool   // through the switch, where connections can be spoilt; else a bridge of the kernel
	binary string // empty: the usual one
	env    func(i int) []string
	disk   func(t *testing.T, i int, dir string) // makes node i's data directory
	flags  []string
}

// world is a cluster of nodes, each in a network namespace of its own, and the test
// itself as one more host of their network.
type world struct {
	t     *testing.T
	id    int
	dir   string
	nodes []*node
	wires *wires // nil without
	plan  plan
	notes []string // for the table's next line
	// transport carries what the clients of the world ask.
	transport *http.Transport
}

func newWorld(t *testing.T, p plan) *world {
	t.Helper()
	w := &world{t: t, id: int(worlds.Add(1)), dir: t.TempDir(), plan: p, transport: &http.Transport{MaxIdleConnsPerHost: 16, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	t.Cleanup(w.transport.CloseIdleConnections)
	if w.id > 250 {
		t.Fatal("too many worlds for one process")
	}
	if p.wires {
		w.wires = newWires(t)
		w.plug(-1, w.clientAddress())
	} else {
		w.bridge()
	}
	for i := range p.nodes {
		w.add(fmt.Sprintf("n%d", i+1), "--bootstrap-expect", strconv.Itoa(p.nodes))
	}
	t.Cleanup(func() { w.end() })
	for _, n := range w.nodes {
		for _, other := range w.nodes {
			if other != n {
				n.args = append(n.args, "--join", other.address())
			}
		}
		n.start(t)
	}
	w.ready(w.nodes...)
	return w
}

func (w *world) addressOf(i int) string { return fmt.Sprintf("10.77.%d.%d", w.id, i+1) }

func (w *world) clientAddress() string { return fmt.Sprintf("10.77.%d.254", w.id) }

func (w *world) bridgeName() string { return fmt.Sprintf("br%d", w.id) }

// add gives a node its namespace, its address and its flags, and does not start it.
func (w *world) add(name string, flags ...string) *node {
	w.t.Helper()
	i := len(w.nodes)
	n := &node{w: w, i: i, name: name, ip: w.addressOf(i), ns: fmt.Sprintf("w%d%s", w.id, name), dir: filepath.Join(w.dir, name), binary: w.plan.binary}
	n.log = n.dir + ".log"
	if n.binary == "" {
		n.binary = rotaBinary
	}
	w.must("ip", "netns", "add", n.ns)
	w.must("ip", "-n", n.ns, "link", "set", "lo", "up")
	w.nodes = append(w.nodes, n)
	if w.wires != nil {
		w.plug(i, n.ip)
	} else {
		w.veth(n)
	}
	if w.plan.disk != nil {
		w.plan.disk(w.t, i, n.dir)
	}
	if w.plan.env != nil {
		n.env = w.plan.env(i)
	}
	n.args = append([]string{
		"start", "--data", n.dir, "--name", name, "--http", n.address(), "--raft", fmt.Sprintf("%s:%d", n.ip, portRaft),
		"--gossip", fmt.Sprintf("%s:%d", n.ip, portGossip), "--advertise", n.ip, "--insecure",
	}, append(w.plan.flags[:len(w.plan.flags):len(w.plan.flags)], flags...)...)
	n.client = w.client(n)
	n.group(w.t)
	return n
}

// bridge connects the nodes by the kernel's own switch.
func (w *world) bridge() {
	w.t.Helper()
	w.must("ip", "link", "add", w.bridgeName(), "type", "bridge")
	w.must("ip", "addr", "add", w.clientAddress()+"/24", "dev", w.bridgeName())
	w.must("ip", "link", "set", w.bridgeName(), "up")
	w.t.Cleanup(func() { _ = tool("ip", "link", "del", w.bridgeName()) })
}

func (w *world) veth(n *node) {
	w.t.Helper()
	port := fmt.Sprintf("v%dp%d", w.id, n.i)
	w.must("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", n.ns)
	w.must("ip", "link", "set", port, "master", w.bridgeName(), "up")
	w.must("ip", "-n", n.ns, "addr", "add", n.ip+"/24", "dev", "eth0")
	w.must("ip", "-n", n.ns, "link", "set", "eth0", "up")
}

// plug connects a node (-1: the test) to the switch.
func (w *world) plug(i int, ip string) {
	w.t.Helper()
	name := fmt.Sprintf("t%dp%d", w.id, i+1)
	w.wires.attach(w.t, i, name)
	at := []string{}
	if i >= 0 {
		ns := w.nodes[i].ns
		w.must("ip", "link", "set", name, "netns", ns)
		at = []string{"-n", ns}
	}
	for _, args := range [][]string{
		{"link", "set", name, "address", macOf(i)},
		{"addr", "add", ip + "/24", "dev", name},
		{"link", "set", name, "up"},
	} {
		w.must("ip", append(at[:len(at):len(at)], args...)...)
	}
}

func (w *world) must(name string, args ...string) {
	w.t.Helper()
	if err := tool(name, args...); err != nil {
		w.t.Fatal(err)
	}
}

// client talks to some nodes and asks each once.
func (w *world) client(nodes ...*node) *api.Client {
	w.t.Helper()
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, n.address())
	}
	c, err := api.NewClient(addresses, api.Options{Patience: -1, Transport: frank{w.transport}})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// ready waits until all of the nodes say that all of them are ready under one
// leader.
func (w *world) ready(nodes ...*node) {
	w.t.Helper()
	leaders := map[string]bool{}
	for _, n := range nodes {
		eventually(w.t, 60*time.Second, n.name+" sees the cluster", func() (string, bool) {
			s, err := n.status()
			if err != nil {
				return err.Error(), false
			}
			if s.Leader == nil || s.Nodes.Ready < len(nodes) {
				return fmt.Sprintf("leader %v, nodes %+v", s.Leader, s.Nodes), false
			}
			leaders[*s.Leader] = true
			return "", true
		})
	}
}

// leader is the node that most of those that answer call so.
func (w *world) leader() *node {
	w.t.Helper()
	var found *node
	eventually(w.t, 30*time.Second, "somebody leads", func() (string, bool) {
		votes := map[string]int{}
		for _, n := range w.nodes {
			if s, err := n.status(); err == nil && s.Leader != nil {
				votes[*s.Leader]++
			}
		}
		for _, n := range w.nodes {
			if votes[n.name] > len(w.nodes)/2 {
				found = n
			}
		}
		return fmt.Sprint(votes), found != nil
	})
	return found
}

// others are all nodes but some.
func (w *world) others(not ...*node) []*node {
	var rest []*node
next:
	for _, n := range w.nodes {
		for _, other := range not {
			if n == other {
				continue next
			}
		}
		rest = append(rest, n)
	}
	return rest
}

// end stops everything; the namespaces go with their last process.
func (w *world) end() {
	for _, n := range w.nodes {
		n.end(w.t)
	}
	for _, n := range w.nodes {
		_ = tool("ip", "netns", "del", n.ns)
		if n.cgroup != nil {
			_ = n.cgroup.Close()
		}
	}
	if w.t.Failed() {
		w.keep()
	}
}

// keep puts the nodes' logs where ROTA_NEMESIS_KEEP says.
func (w *world) keep() {
	to := os.Getenv("ROTA_NEMESIS_KEEP")
	if to == "" {
		return
	}
	to = filepath.Join(to, filepath.Base(w.t.Name())+strconv.Itoa(w.id))
	if err := os.MkdirAll(to, 0o755); err != nil {
		w.t.Log(err)
		return
	}
	for _, n := range w.nodes {
		if b, err := os.ReadFile(n.log); err == nil {
			_ = os.WriteFile(filepath.Join(to, n.name+".log"), b, 0o600)
		}
	}
	if b, err := os.ReadFile(w.evidence()); err == nil {
		_ = os.WriteFile(filepath.Join(to, "evidence"), b, 0o600)
	}
	w.t.Log("the logs are in " + to)
}

// evidence is the file that tasks write to.
func (w *world) evidence() string { return filepath.Join(w.dir, "evidence") }

// eventually asks until the answer is yes; it fails the test with the last words
// after the timeout.
func eventually(t *testing.T, timeout time.Duration, what string, ask func() (string, bool)) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		said, ok := ask()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; last seen: %s", what, timeout, said)
		}
		<-tick.C
	}
}
