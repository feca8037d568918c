package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
)

// verdict is what one node says to a demand, in numbers: what it lacks for ever,
// and what it lacks now.
type verdict struct {
	host  *host
	never []lack // Eligible's part
	now   []lack // HasRoom's part, the devices, and distinct hosts
	// points and wish say how much the task prefers the node, if it prefers any.
	points int64
	wish   string
}

// text is all that the verdict says.
func (v *verdict) text() string {
	text := words(append(v.never, v.now...))
	if text != "" && v.wish != "" {
		text += "; "
	}
	return text + v.wish
}

// lack is one thing that a node is short of.
type lack struct {
	misfit rota.Misfit
	text   string
}

// judge finds everything that keeps a task off a node, not only the first thing.
func judge(h *host, c *class) verdict {
	v := verdict{host: h, never: shortForEver(h.node, c.spec)}
	if len(v.never) == 0 {
		v.now = shortNow(h, c.spec)
		if n := c.siblings(h); c.spec.DistinctHosts && n > 0 {
			v.now = append(v.now, lack{rota.MisfitDistinct, fmt.Sprintf("has %s there, and hosts are to be distinct", count(int(n), "sibling"))})
		}
	}
	return v
}

func shortForEver(n *rota.Node, spec *rota.TaskSpec) []lack {
	var lacks []lack
	add := func(m rota.Misfit, format string, args ...any) {
		lacks = append(lacks, lack{m, fmt.Sprintf(format, args...)})
	}
	if !n.HasRole(rota.RoleWorker) {
		add(rota.MisfitRole, "is no worker")
	}
	if !slices.Contains(n.Drivers, spec.Driver) {
		add(rota.MisfitDriver, "has no driver %s", spec.Driver)
	}
	for _, c := range spec.Capabilities {
		if !slices.Contains(n.Capabilities, c) {
			add(rota.MisfitCapability, "lacks the capability %s", c)
		}
	}
	for _, c := range spec.Constraints {
		if !c.Allows(n) {
			add(rota.MisfitConstraint, "does not meet %s", c)
		}
	}
	r, c := &spec.Resources, &n.Capacity
	if r.CPUMilli > c.CPUMilli {
		add(rota.MisfitTooBig, "has %s cores in all, %s are asked for", cores(c.CPUMilli), cores(r.CPUMilli))
	}
	if r.MemoryBytes > c.MemoryBytes {
		add(rota.MisfitTooBig, "has %s of memory in all, %s are asked for", size(c.MemoryBytes), size(r.MemoryBytes))
	}
	if r.DiskBytes > c.DiskBytes {
		add(rota.MisfitTooBig, "has %s of disk in all, %s are asked for", size(c.DiskBytes), size(r.DiskBytes))
	}
	if l, short := shortOfDevices(n, spec); short {
		lacks = append(lacks, l)
	}
	if m := rota.Eligible(n, spec); m != rota.MisfitNone && len(lacks) == 0 {
		add(m, "does not fit: %s", m) // the rule of admission has the last word
	}
	return lacks
}

func shortOfDevices(n *rota.Node, spec *rota.TaskSpec) (lack, bool) {
	d := spec.Resources.GPU
	if d.Count == 0 {
		return lack{}, false
	}
	have, model := len(n.Capacity.GPUs), 0
	for _, g := range n.Capacity.GPUs {
		if d.MatchesModel(g.Model) {
			model++
		}
	}
	match := len(matching(n, d))
	switch {
	case have < d.Count:
		return lack{rota.MisfitTooBig, fmt.Sprintf("has %s, %d are asked for", count(have, "GPU"), d.Count)}, true
	case model < d.Count:
		return lack{rota.MisfitGPUModel, fmt.Sprintf("has %s of the model %s, %d are asked for", count(model, "GPU"), d.Model, d.Count)}, true
	case match < d.Count:
		return lack{rota.MisfitGPUMemory, fmt.Sprintf("has %s with %s of memory, %d are asked for", count(match, "GPU"), size(d.MemoryBytes), d.Count)}, true
	}
	return lack{}, false
}

func shortNow(h *host, spec *rota.TaskSpec) []lack {
	var lacks []lack
	add := func(m rota.Misfit, format string, args ...any) {
		lacks = append(lacks, lack{m, fmt.Sprintf(format, args...)})
	}
	n, r, c := h.node, &spec.Resources, &h.node.Capacity
	switch {
	case n.Unfit != "":
		add(rota.MisfitState, "starts nothing: %s", n.Unfit)
	case !n.Ready():
		add(rota.MisfitState, "is %s", n.State())
	}
	if free := c.CPUMilli - h.held.CPUMilli; r.CPUMilli > free {
		add(rota.MisfitCPU, "has %s of %s cores free, %s are asked for", cores(free), cores(c.CPUMilli), cores(r.CPUMilli))
	}
	if free := c.MemoryBytes - h.held.MemoryBytes; r.MemoryBytes > free {
		add(rota.MisfitMemory, "has %s of %s of memory free, %s are asked for", size(free), size(c.MemoryBytes), size(r.MemoryBytes))
	}
	if free := c.DiskBytes - h.held.DiskBytes; r.DiskBytes > free {
		add(rota.MisfitDisk, "has %s of %s of disk free, %s are asked for", size(free), size(c.DiskBytes), size(r.DiskBytes))
	}
	if h.held.Slots >= c.Slots {
		add(rota.MisfitSlots, "has all of its %s taken", count(int(c.Slots), "slot"))
	}
	d := spec.Resources.GPU
	if d.Count == 0 {
		return lacks
	}
	free, most := 0, int64(0)
	for _, i := range matching(n, d) {
		most = max(most, h.held.FreeMilli(i))
		if h.held.FreeMilli(i) >= d.MilliEach() {
			free++
		}
	}
	switch {
	case free >= d.Count:
	case d.ShareMilli > 0:
		add(rota.MisfitGPU, "has at most %s of a fitting GPU free, %s is asked for", share(most), share(d.ShareMilli))
	default:
		add(rota.MisfitGPU, "has %s free, %d asked for", count(free, "fitting GPU"), d.Count)
	}
	return lacks
}

// words joins what is lacking.
func words(lacks []lack) string {
	texts := make([]string, len(lacks))
	for i, l := range lacks {
		texts[i] = l.text
	}
	return strings.Join(texts, "; ")
}

// count writes a number with its noun: 1 node, 3 nodes.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// cores writes thousandths of a core as a decimal number of cores.
func cores(milli int64) string { return decimal(milli) }

// share writes thousandths of a device.
func share(milli int64) string { return decimal(milli) }

func decimal(milli int64) string {
	sign := ""
	if milli < 0 {
		sign, milli = "-", -milli
	}
	s := fmt.Sprintf("%d.%03d", milli/1000, milli%1000)
	return sign + strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// size writes bytes in the largest binary unit that leaves at most one decimal
// worth reading, rounded down.
func size(bytes int64) string {
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	if bytes < 0 {
		return "-" + size(-max(bytes, -1<<62))
	}
	u, whole, rest := 0, bytes, int64(0)
	for whole >= 1024 && u < len(units)-1 {
		whole, rest = whole>>10, whole&1023
		u++
	}
	if tenth := rest * 10 / 1024; tenth > 0 {
		return fmt.Sprintf("%d.%d %s", whole, tenth, units[u])
	}
	return fmt.Sprintf("%d %s", whole, units[u])
}
