package rota

import (
	"slices"
	"strings"
)

// Misfit says why a task cannot run on a node; MisfitNone says it can.
type Misfit uint8

// The reasons, roughly from what never changes to what changes all the time.
const (
	MisfitNone Misfit = iota
	MisfitState
	MisfitRole
	MisfitDriver
	MisfitCapability
	MisfitConstraint
	MisfitTooBig // more than the whole node has
	MisfitGPUModel
	MisfitGPUMemory
	MisfitCPU
	MisfitMemory
	MisfitDisk
	MisfitSlots
	MisfitGPU
	MisfitDistinct // a task of the same run and label is there, and hosts are to differ
	MisfitGrant    // the devices named are not what the task asks for
)

var misfitNames = [...]string{
	"", "node_state", "role", "driver", "capability", "constraint", "too_big", "gpu_model", "gpu_memory",
	"cpu", "memory", "disk", "slots", "gpu", "distinct_hosts", "grant",
}

func (m Misfit) String() string { return nameOf(misfitNames[:], uint8(m)) }

// Eligible says whether the node could ever run the task if it were empty: role,
// driver, capabilities, constraints, devices, size. It looks at nothing that
// placements change, so a scheduler may keep the answer until the node changes.
func Eligible(n *Node, spec *TaskSpec) Misfit { return eligible(n, spec, nil) }

// eligible goes by the constraints as they were made ready, if they were.
func eligible(n *Node, spec *TaskSpec, ready []matcher) Misfit {
	switch {
	case !n.HasRole(RoleWorker):
		return MisfitRole
	case !slices.Contains(n.Drivers, spec.Driver):
		return MisfitDriver
	}
	for _, c := range spec.Capabilities {
		if !slices.Contains(n.Capabilities, c) {
			return MisfitCapability
		}
	}
	for i, c := range spec.Constraints {
		if ready == nil && !c.Allows(n) || ready != nil && !ready[i].allows(n) {
			return MisfitConstraint
		}
	}
	r, c := &spec.Resources, &n.Capacity
	if r.CPUMilli > c.CPUMilli || r.MemoryBytes > c.MemoryBytes || r.DiskBytes > c.DiskBytes {
		return MisfitTooBig
	}
	return eligibleGPU(n, r.GPU)
}

func eligibleGPU(n *Node, d GPUDemand) Misfit {
	if d.Count == 0 {
		return MisfitNone
	}
	if d.Count > len(n.Capacity.GPUs) {
		return MisfitTooBig
	}
	model, both := 0, 0
	for _, g := range n.Capacity.GPUs {
		if !d.MatchesModel(g.Model) {
			continue
		}
		model++
		if d.matchesMemory(g.MemoryBytes) {
			both++
		}
	}
	switch {
	case model < d.Count:
		return MisfitGPUModel
	case both < d.Count:
		return MisfitGPUMemory
	}
	return MisfitNone
}

// Matches reports whether the device is of the kind the demand asks for.
func (d GPUDemand) Matches(g GPU) bool {
	return d.MatchesModel(g.Model) && d.matchesMemory(g.MemoryBytes)
}

// MatchesModel reports whether all words of the demanded model occur in the
// device's reported name, case ignored.
func (d GPUDemand) MatchesModel(reported string) bool {
	if d.Model == "" {
		return true
	}
	reported = strings.ToLower(reported)
	for word := range strings.FieldsSeq(strings.ToLower(d.Model)) {
		if !strings.Contains(reported, word) {
			return false
		}
	}
	return true
}

func (d GPUDemand) matchesMemory(have int64) bool { return have >= d.MemoryBytes-d.MemoryBytes/20 }

// HasRoom says whether an eligible node has the room now. The devices are not
// looked at: that is Fits' part, which sees the exact ones.
func HasRoom(n *Node, h Held, r *Resources) Misfit {
	c := &n.Capacity
	switch {
	case !n.Ready():
		return MisfitState
	case r.CPUMilli > c.CPUMilli-h.CPUMilli:
		return MisfitCPU
	case r.MemoryBytes > c.MemoryBytes-h.MemoryBytes:
		return MisfitMemory
	case r.DiskBytes > c.DiskBytes-h.DiskBytes:
		return MisfitDisk
	case h.Slots >= c.Slots:
		return MisfitSlots
	}
	return MisfitNone
}

// Fits is the one rule of admission: the scheduler proposes nothing that it
// refuses, and the state machine checks every placement with it again. The grants
// are the exact devices, in the order of the demand; none for a task without GPU.
func Fits(n *Node, h Held, spec *TaskSpec, grants []GPUGrant) Misfit {
	return fits(n, h, spec, nil, grants)
}

func fits(n *Node, h Held, spec *TaskSpec, ready []matcher, grants []GPUGrant) Misfit {
	if m := eligible(n, spec, ready); m != MisfitNone {
		return m
	}
	if m := HasRoom(n, h, &spec.Resources); m != MisfitNone {
		return m
	}
	d := spec.Resources.GPU
	if len(grants) != d.Count {
		return MisfitGrant
	}
	for i, g := range grants {
		at := n.Capacity.GPUIndex(g.ID)
		twice := slices.ContainsFunc(grants[:i], func(o GPUGrant) bool { return o.ID == g.ID })
		if at < 0 || twice || g.Milli != d.MilliEach() || !d.Matches(n.Capacity.GPUs[at]) {
			return MisfitGrant
		}
		if h.FreeMilli(at) < g.Milli {
			return MisfitGPU
		}
	}
	return MisfitNone
}
