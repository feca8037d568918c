package rota

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// Shape is one kind of demand and how often it is made. A list of shapes is what a
// placement policy knows of the work to come.
type Shape struct {
	CPUMilli    int64
	MemoryBytes int64 // the mean of those counted
	GPU         GPUDemand
	// Devices are the constraints on gpu.model and gpu.memory; others are not looked at,
	// nor patterns and ranges of versions, which would have to be read again and again.
	Devices []Constraint
	Count   int64 // any unit: only the proportions matter
}

// ShapeOf is the shape of a demand, counted once.
func ShapeOf(spec *TaskSpec) Shape {
	r := &spec.Resources
	s := Shape{CPUMilli: r.CPUMilli, MemoryBytes: r.MemoryBytes, GPU: r.GPU, Count: 1}
	for _, c := range spec.Constraints {
		plain := c.Operator != OpRegexp && c.Operator != OpVersion && c.Operator != OpSetContains
		if r.GPU.Count > 0 && plain && (c.Attribute == "gpu.model" || c.Attribute == "gpu.memory") {
			s.Devices = append(s.Devices, c)
		}
	}
	return s
}

// Rounded is the shape in coarser steps, rounded up, so that demands that are all a
// little different are still counted together: cpu to 6 significant binary digits,
// a share to hundredths of the device.
func (s Shape) Rounded() Shape {
	if s.CPUMilli > 0 {
		step := int64(1) << max(bits.Len64(uint64(s.CPUMilli))-6, 0)
		if s.CPUMilli < 1<<60 {
			s.CPUMilli = (s.CPUMilli + step - 1) / step * step
		}
	}
	if s.GPU.ShareMilli > 0 {
		s.GPU.ShareMilli = min((s.GPU.ShareMilli+9)/10*10, WholeGPU-1)
	}
	return s
}

// textBytes is the length of all that is text in the shape.
func (s *Shape) textBytes() int {
	n := len(s.GPU.Model)
	for i := range s.Devices {
		c := &s.Devices[i]
		n += len(c.Attribute) + len(c.Operator)
		for _, v := range c.Values {
			n += len(v) + 1
		}
	}
	return n
}

// Milli is the GPU asked for, in thousandths of a device.
func (s *Shape) Milli() int64 { return int64(s.GPU.Count) * s.GPU.MilliEach() }

// Allows reports whether a device is of a kind that the shape may use.
func (s *Shape) Allows(g GPU) bool {
	if !s.GPU.Matches(g) {
		return false
	}
	n := Node{NodeInfo: NodeInfo{Capacity: Capacity{GPUs: []GPU{g}}}}
	return !slices.ContainsFunc(s.Devices, func(c Constraint) bool { return !c.Allows(&n) })
}

// Compare orders shapes by what they ask for, memory left out; 0 means that they
// are counted as one.
func (s *Shape) Compare(o *Shape) int {
	return cmp.Or(
		cmp.Compare(s.CPUMilli, o.CPUMilli),
		cmp.Compare(s.GPU.MilliEach(), o.GPU.MilliEach()),
		cmp.Compare(s.GPU.Count, o.GPU.Count),
		strings.Compare(s.GPU.Model, o.GPU.Model),
		cmp.Compare(s.GPU.MemoryBytes, o.GPU.MemoryBytes),
		slices.CompareFunc(s.Devices, o.Devices, compareConstraints),
	)
}

func compareConstraints(a, b Constraint) int {
	return cmp.Or(
		strings.Compare(a.Attribute, b.Attribute),
		strings.Compare(string(a.Operator), string(b.Operator)),
		slices.Compare(a.Values, b.Values),
	)
}
