package jobspecs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/rota-sched/rota"
)

// What a task asks of a node: resources and capabilities.

func (b *specBuilder) resources() {
	res := &b.spec.Resources
	if b.task.driver != rota.DriverNoop {
		res.CPUMilli, res.MemoryBytes = defaultCPUMilli, defaultMemoryBytes
	}
	if n, g := parsed(b.reader, b.either("resources.cpu"), parseCores); g == gotValue {
		res.CPUMilli = n
	}
	if n, g := b.size(b.either("resources.memory")); g == gotValue {
		res.MemoryBytes = n
	}
	if n, g := b.size(b.either("resources.disk")); g == gotValue {
		res.DiskBytes = n
	}
	if holds(b.task.hasBlock["resources"], "gpu") || b.job.defaultBlocks["resources.gpu"] {
		b.gpu(&res.GPU)
	}
}

func holds(b *hclsyntax.Block, inner string) bool {
	return b != nil && slices.ContainsFunc(b.Body.Blocks, func(x *hclsyntax.Block) bool { return x.Type == inner })
}

func (b *specBuilder) gpu(d *rota.GPUDemand) {
	d.Count = 1
	if n, g := b.integer(b.either("resources.gpu.count"), 0, 1024); g == gotValue {
		d.Count = int(n)
	}
	if text, g := b.text(b.either("resources.gpu.model")); g == gotValue {
		d.Model = text
	}
	if n, g := b.size(b.either("resources.gpu.memory")); g == gotValue {
		d.MemoryBytes = n
	}
	share := b.either("resources.gpu.share")
	if n, g := b.milli(share); g == gotValue {
		d.ShareMilli = n
		switch {
		case n <= 0 || n >= rota.WholeGPU:
			b.bad(share.expr.Range(), `"resources.gpu.share" is out of range`, "A share is a part of one device: more than 0 and less than 1, in thousandths. Leave it out for whole devices.")
		case d.Count > 1:
			b.bad(share.expr.Range(), "A share and a count of more than one", fmt.Sprintf("share is a part of one device, count asks for %d. Take share out for whole devices, or set count = 1.", d.Count))
		}
	}
	if d.Count == 0 {
		*d = rota.GPUDemand{}
	}
}

// placement reads where the task may run.
func (b *specBuilder) placement() {
	a := b.attr("routing.required_capabilities")
	if words, g := b.texts(a); g == gotValue {
		slices.Sort(words)
		words = slices.Compact(words)
		b.spec.Capabilities = words
		if slices.Contains(words, "") {
			b.bad(a.expr.Range(), "A capability is empty", "Name what the node must offer, as in rota start --capability NAME.")
		}
	}
	if distinct, g := b.bool(b.attr("distinct_hosts")); g == gotValue {
		b.spec.DistinctHosts = distinct
	}
	b.choices()
	slices.SortFunc(b.spec.Constraints, func(x, y rota.Constraint) int {
		return cmp.Or(strings.Compare(x.Attribute, y.Attribute), strings.Compare(string(x.Operator), string(y.Operator)), slices.Compare(x.Values, y.Values))
	})
}
