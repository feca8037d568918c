package scheduler

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
)

// TestQuickWayComesToThePlainOne: what is worked out once for a room and then adjusted
// for each demand is the waste rated from nothing, before and after.
func TestQuickWayComesToThePlainOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var shapes []rota.Shape
		for i := range rapid.IntRange(0, 12).Draw(t, "shapes") {
			d := rota.GPUDemand{Count: rapid.SampledFrom([]int{1, 1, 1, 2, 4}).Draw(t, "count")}
			if d.Count == 1 {
				d.ShareMilli = int64(rapid.SampledFrom([]int{0, 100, 250, 335, 500, 999}).Draw(t, "share"))
			}
			shapes = append(shapes, rota.Shape{CPUMilli: int64(i * 700), MemoryBytes: int64(i) << 30, GPU: d, Count: int64(1 + rapid.IntRange(0, 500).Draw(t, "times"))})
		}
		n := &rota.Node{NodeInfo: rota.NodeInfo{Capacity: rota.Capacity{CPUMilli: 8000, MemoryBytes: 64 << 30}}}
		held := rota.Held{CPUMilli: int64(rapid.IntRange(0, 6000).Draw(t, "held")), MemoryBytes: int64(rapid.IntRange(0, 30).Draw(t, "memory")) << 30}
		for i := range rapid.IntRange(1, 6).Draw(t, "gpus") {
			n.Capacity.GPUs = append(n.Capacity.GPUs, rota.GPU{ID: fmt.Sprint(i), Model: "X"})
			held.GPUMilli = append(held.GPUMilli, int64(rapid.SampledFrom([]int{0, 0, 1, 300, 500, 665, 1000}).Draw(t, "used")))
		}
		r := rota.Resources{CPUMilli: int64(rapid.IntRange(0, 2000).Draw(t, "cpu")), MemoryBytes: 1 << 30}
		if r.GPU.Count = rapid.IntRange(0, 3).Draw(t, "wants"); r.GPU.Count == 1 {
			r.GPU.ShareMilli = int64(rapid.SampledFrom([]int{0, 100, 335, 700}).Draw(t, "share"))
		}
		var devices []int
		for i := range n.Capacity.GPUs {
			if r.GPU.Count > 0 && held.FreeMilli(i) >= r.GPU.MilliEach() && (r.GPU.ShareMilli > 0 || len(devices) < r.GPU.Count) {
				devices = append(devices, i)
			}
		}
		if len(devices) < r.GPU.Count {
			t.Skip("no room")
		}
		w := DefaultWeights()
		w.Crowd, w.Grain = 1000, int64(rapid.SampledFrom([]int{1, 40}).Draw(t, "grain"))
		p := NewLeastWaste(w, shapes, []Machines{{CPUMilli: 8000, MemoryBytes: 64 << 30, GPUs: 4, Device: rota.GPU{Model: "X"}, Count: 3}})
		score, device := p.Rate(n, &held, &r, devices)
		if want, on := plainRate(p, n, &held, &r, devices); score != want || r.GPU.ShareMilli > 0 && device != on {
			t.Fatalf("score %d on device %d, the plain way %d on %d", score, device, want, on)
		}
	})
}

// plainRate is Rate by waste.of alone.
func plainRate(p *LeastWaste, n *rota.Node, held *rota.Held, r *rota.Resources, devices []int) (score int64, device int) {
	w := p.wasteOf(&n.Capacity.GPUs[0])
	have := room{cpu: n.Capacity.CPUMilli - held.CPUMilli, mem: n.Capacity.MemoryBytes - held.MemoryBytes}
	for i := range n.Capacity.GPUs {
		have.gpu = append(have.gpu, held.FreeMilli(i))
	}
	before, _ := w.of(&have)
	have.cpu, have.mem = have.cpu-r.CPUMilli, have.mem-r.MemoryBytes
	if r.GPU.ShareMilli == 0 {
		for _, d := range devices {
			have.gpu[d] = 0
		}
		after, left := w.of(&have)
		return p.score(before, after, left), outside
	}
	device = outside
	for _, d := range devices {
		free := have.gpu[d]
		have.gpu[d] -= r.GPU.ShareMilli
		after, left := w.of(&have)
		have.gpu[d] = free
		if x := p.score(before, after, left); device == outside || x > score || x == score && free < have.gpu[device] {
			score, device = x, d
		}
	}
	return score, device
}
