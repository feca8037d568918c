package placement

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

const smallNodes = 60

// TestSameSeedGivesTheSameCurve: every policy decides by what it is given alone.
func TestSameSeedGivesTheSameCurve(t *testing.T) {
	tr := madeWorkloads()[0].trace(smallNodes, 3)
	for _, c := range policies(tr) {
		a, b := fill(tr, planOf(tr, 42), c.make()), fill(tr, planOf(tr, 42), c.make())
		if a != b {
			t.Errorf("%s: two runs of one seed differ", c.name)
		}
		if a[100] < 70 || a[130] > 100 || a[130] < a[50] {
			t.Errorf("%s: allocated %.2f at 50, %.2f at 100, %.2f at 130", c.name, a[50], a[100], a[130])
		}
	}
}

// TestFragmentsAreThoseOfThePaper: F of a node, worked out by hand for a list of
// three shapes. (Source: docs/PLACEMENT.md.)
func TestFragmentsAreThoseOfThePaper(t *testing.T) {
	f := &fgd{known: map[fgdState]float64{}, shapes: []fgdShape{
		{cpu: 1000, count: 1, milli: 500, weight: .5},
		{cpu: 1000, count: 2, milli: 1000, weight: .25},
		{cpu: 1000, weight: .25}, // without GPU: all that is idle is lost on it
	}}
	cases := []struct {
		name string
		s    fgdState
		want float64
	}{
		{"full", fgdState{cpu: 4000}, 0},
		{"two whole", fgdState{cpu: 4000, gpus: [8]int16{1000, 1000}}, .25 * 2000},
		{"one whole, a crumb", fgdState{cpu: 4000, gpus: [8]int16{1000, 400}}, .5*400 + .25*1400 + .25*1400},
		{"no cpu", fgdState{gpus: [8]int16{1000, 1000}}, 2000},
	}
	for _, c := range cases {
		if got := f.compute(&c.s); got != c.want {
			t.Errorf("%s: F is %v, want %v", c.name, got, c.want)
		}
	}
}

// TestBestFitLeavesTheLeast: the published score of a placement worked out by hand.
func TestBestFitLeavesTheLeast(t *testing.T) {
	n := &rota.Node{NodeInfo: rota.NodeInfo{Capacity: rota.Capacity{CPUMilli: 64000, GPUs: []rota.GPU{{ID: "a"}, {ID: "b"}}}}}
	held := &rota.Held{GPUMilli: []int64{0, 600}}
	score, device := bestFit{}.Rate(n, held, &rota.Resources{CPUMilli: 32000, GPU: rota.GPUDemand{Count: 1, ShareMilli: 400}}, []int{0, 1})
	// 32000 of 128000 milli and 1000 of 8000 thousandths stay: 100 (1 - .125 - .0625)
	if score != 81 || device != 1 {
		t.Errorf("score %d on device %d, want 81 on device 1", score, device)
	}
}

// TestGuessIsReplacedByWhatArrives: a policy that learns ends near the one that was
// told, on a workload far from the guess.
func TestGuessIsReplacedByWhatArrives(t *testing.T) {
	tr := madeWorkloads()[4].trace(smallNodes, 5)
	by := map[string]curve{}
	for _, c := range policies(tr) {
		by[c.name] = fill(tr, planOf(tr, 42), c.make())
	}
	if given, learning := by["Given"][130], by["Learning"][130]; learning < given-2 {
		t.Errorf("learning allocates %.2f, told %.2f", learning, given)
	}
}

// TestRoomComesBackWhenTasksLeave: after all departures nothing is held.
func TestRoomComesBackWhenTasksLeave(t *testing.T) {
	tr := madeWorkloads()[2].trace(smallNodes, 5)
	c := newCluster(nodesOf(tr, planOf(tr, 42).rank), setup{learns: true})
	var tasks []running
	for i := range tr.Tasks {
		if x, ok := c.arrive(tr.Tasks[i].Spec); ok {
			tasks = append(tasks, x)
		}
	}
	for _, n := range c.nodes {
		if n.Held.CPUMilli > n.Capacity.CPUMilli || n.Held.MemoryBytes > n.Capacity.MemoryBytes {
			t.Fatalf("node %s is over its room", n.Name)
		}
		for i := range n.Capacity.GPUs {
			if n.Held.FreeMilli(i) < 0 {
				t.Fatalf("a device of node %s is over its room", n.Name)
			}
		}
	}
	for _, x := range tasks {
		c.leave(x)
	}
	if c.used != 0 {
		t.Errorf("%d thousandths are still held", c.used)
	}
	out := churn{load: .9, lives: 2, seed: 1}.run(tr, setup{})
	if out.used < 50 || out.used > 100 || out.granted > 100 {
		t.Errorf("with departures: %+v", out)
	}
}

// TestTableAndPictureOfATrace: a directory in the published format becomes tables
// and a picture, and curves that lie beside it are compared.
func TestTableAndPictureOfATrace(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(nodeFile, "sn,cpu_milli,memory_mib,gpu,model\nn0,8000,8192,2,X\nn1,8000,8192,1,Y\n")
	write(taskPrefix+"small.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\nt0,1000,1024,1,500,\nt1,1000,1024,1,1000,X|Y\nt2,1000,1024,0,0,\nt3,1000,1024,1,1000,Y\n")
	names, err := Workloads(dir)
	if err != nil || len(names) != 1 || names[0] != "small" {
		t.Fatalf("workloads %v, %v", names, err)
	}
	picture := filepath.Join(dir, "curves.svg")
	var out bytes.Buffer
	if err := Run(context.Background(), Options{Trace: dir, Seeds: 1, Lives: 2, Picture: picture}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## small: 4 tasks, 2 nodes, 3 GPUs", "| FGD |", "| Learning |", "load 0.95"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	if b, err := os.ReadFile(picture); err != nil || !bytes.HasPrefix(b, []byte("<svg")) {
		t.Errorf("picture: %v", err)
	}
}

// TestBadTracesAreExplained: what is wrong with a directory is said with the file.
func TestBadTracesAreExplained(t *testing.T) {
	dir := t.TempDir()
	if _, err := Workloads(dir); err == nil || !strings.Contains(err.Error(), "docs/PLACEMENT.md") {
		t.Errorf("an empty directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, nodeFile), []byte("sn,cpu_milli,memory_mib,gpu,model\nn0,-1,8192,2,X\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTrace(dir, "x"); err == nil || !strings.Contains(err.Error(), nodeFile+":2") {
		t.Errorf("a negative number: %v", err)
	}
}

var _ scheduler.Policy = bestFit{}
