package rota

// Resources is what a task asks of one node. Zero asks for nothing.
type Resources struct {
	CPUMilli    int64     `json:"cpu_milli"` // thousandths of a core
	MemoryBytes int64     `json:"memory_bytes"`
	DiskBytes   int64     `json:"disk_bytes,omitempty"`
	GPU         GPUDemand `json:"gpu,omitzero"`
}

// GPUDemand is what a task asks of the GPUs of one node. Count 0 asks for none.
type GPUDemand struct {
	Count int `json:"count"`
	// Model matches a device when its words, case ignored, all occur in the
	// device's reported name. Empty: any model.
	Model string `json:"model,omitempty"`
	// MemoryBytes is a floor for the whole device, met from 95 % of it: cards sold
	// as 80 GB report 81,559 MiB. (Source: JOBSPEC.md, section 3.)
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// ShareMilli is the part of one device in thousandths, 1..999 and only with
	// Count 1; zero means whole devices.
	ShareMilli int64 `json:"share_milli,omitempty"`
}

// MilliEach is how many thousandths of each device the demand takes.
func (d GPUDemand) MilliEach() int64 {
	switch {
	case d.Count == 0:
		return 0
	case d.ShareMilli > 0:
		return d.ShareMilli
	default:
		return WholeGPU
	}
}

// WholeGPU is a whole device in thousandths.
const WholeGPU = 1000

// GPU is one device, or one MIG instance, of a node.
type GPU struct {
	ID          string `json:"id"` // what CUDA_VISIBLE_DEVICES takes: a device's or MIG instance's UUID, fake-0 ... for fake ones
	Model       string `json:"model"`
	MemoryBytes int64  `json:"memory_bytes"`
}

// GPUGrant gives a part of one device to an attempt.
type GPUGrant struct {
	ID    string `json:"id"`
	Milli int64  `json:"milli"` // 1..1000
}

// Capacity is what a node has for tasks.
type Capacity struct {
	CPUMilli    int64 `json:"cpu_milli"`
	MemoryBytes int64 `json:"memory_bytes"`
	DiskBytes   int64 `json:"disk_bytes"`
	Slots       int64 `json:"slots"` // attempts at the same time
	GPUs        []GPU `json:"gpus"`
}

// Held is what the attempts on a node hold of it together. A record of the state
// is immutable, so Add and Remove return a new value.
type Held struct {
	CPUMilli    int64
	MemoryBytes int64
	DiskBytes   int64
	Slots       int64
	GPUMilli    []int64 // by the index of Capacity.GPUs; nil: none held
}

// Hold is the room that one attempt holds on a node from its placement until the
// node's release or the end of the session, whatever becomes of the task.
type Hold struct {
	Task      TaskID
	Fence     Fence
	Session   Session
	Resources Resources
	GPUs      []GPUGrant
}

// Add returns h with the hold taken, for a node with capacity c.
func (h Held) Add(c *Capacity, d Hold) Held { return h.move(c, d, 1) }

// Remove returns h with the hold given back.
func (h Held) Remove(c *Capacity, d Hold) Held { return h.move(c, d, -1) }

func (h Held) move(c *Capacity, d Hold, sign int64) Held {
	h.CPUMilli += sign * d.Resources.CPUMilli
	h.MemoryBytes += sign * d.Resources.MemoryBytes
	h.DiskBytes += sign * d.Resources.DiskBytes
	h.Slots += sign
	if len(d.GPUs) == 0 {
		return h
	}
	milli := make([]int64, len(c.GPUs))
	copy(milli, h.GPUMilli)
	for _, g := range d.GPUs {
		if i := c.GPUIndex(g.ID); i >= 0 {
			milli[i] += sign * g.Milli
		}
	}
	h.GPUMilli = milli
	return h
}

// GPUIndex finds a device by its ID; -1 if the node has none of that name.
func (c *Capacity) GPUIndex(id string) int {
	for i := range c.GPUs {
		if c.GPUs[i].ID == id {
			return i
		}
	}
	return -1
}

// FreeMilli is how many thousandths of the i-th device nobody holds.
func (h Held) FreeMilli(i int) int64 {
	if i < len(h.GPUMilli) {
		return WholeGPU - h.GPUMilli[i]
	}
	return WholeGPU
}
