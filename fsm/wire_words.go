package fsm

import (
	"encoding/binary"

	"github.com/rota-sched/rota"
)

func appendSession(b []byte, s rota.Session) []byte {
	return appendUint(appendText(appendText(b, s.Node), s.Boot), s.Counter)
}

func (r *reader) session() rota.Session {
	return rota.Session{Node: r.nodeID(), Boot: r.again(&r.boot), Counter: r.uint()}
}

func appendPairs(b []byte, pairs []rota.Pair) []byte {
	b = binary.AppendUvarint(b, uint64(len(pairs)))
	for i := range pairs {
		b = appendText(appendText(b, pairs[i].Key), pairs[i].Value)
	}
	return b
}

func (r *reader) pairs() []rota.Pair {
	return list(r, 2, func(r *reader) rota.Pair { return rota.Pair{Key: r.text(), Value: r.text()} })
}

func appendGrants(b []byte, grants []rota.GPUGrant) []byte {
	b = binary.AppendUvarint(b, uint64(len(grants)))
	for i := range grants {
		b = appendInt(appendText(b, grants[i].ID), grants[i].Milli)
	}
	return b
}

func (r *reader) grants() []rota.GPUGrant {
	return list(r, 2, func(r *reader) rota.GPUGrant { return rota.GPUGrant{ID: r.text(), Milli: r.int64()} })
}

func appendUsage(b []byte, u rota.Usage) []byte {
	return appendInt(appendInt(appendInt(b, u.Cost), u.TokensIn), u.TokensOut)
}

func (r *reader) usage() rota.Usage {
	return rota.Usage{Cost: rota.MicroUSD(r.int64()), TokensIn: r.int64(), TokensOut: r.int64()}
}

func appendReason(b []byte, w rota.Reason) []byte { return appendText(appendText(b, w.Code), w.Text) }

func (r *reader) reason() rota.Reason {
	code := r.again(&r.other)
	return rota.Reason{Code: code, Text: r.text()}
}

func appendResources(b []byte, v *rota.Resources) []byte {
	b = appendInt(appendInt(appendInt(b, v.CPUMilli), v.MemoryBytes), v.DiskBytes)
	b = appendInt(b, v.GPU.Count)
	if v.GPU == (rota.GPUDemand{Count: v.GPU.Count}) {
		return append(b, 0)
	}
	b = appendText(append(b, 1), v.GPU.Model)
	return appendInt(appendInt(b, v.GPU.MemoryBytes), v.GPU.ShareMilli)
}

func (r *reader) resources() rota.Resources {
	v := rota.Resources{CPUMilli: r.int64(), MemoryBytes: r.int64(), DiskBytes: r.int64(), GPU: rota.GPUDemand{Count: r.int()}}
	if r.bool() {
		v.GPU.Model, v.GPU.MemoryBytes, v.GPU.ShareMilli = r.text(), r.int64(), r.int64()
		if v.GPU == (rota.GPUDemand{Count: v.GPU.Count}) {
			r.fail("a second spelling")
		}
	}
	return v
}

func appendCapacity(b []byte, c *rota.Capacity) []byte {
	b = appendInt(appendInt(appendInt(appendInt(b, c.CPUMilli), c.MemoryBytes), c.DiskBytes), c.Slots)
	b = binary.AppendUvarint(b, uint64(len(c.GPUs)))
	for i := range c.GPUs {
		b = appendInt(appendText(appendText(b, c.GPUs[i].ID), c.GPUs[i].Model), c.GPUs[i].MemoryBytes)
	}
	return b
}

func (r *reader) capacity() rota.Capacity {
	return rota.Capacity{
		CPUMilli: r.int64(), MemoryBytes: r.int64(), DiskBytes: r.int64(), Slots: r.int64(),
		GPUs: list(r, 3, func(r *reader) rota.GPU { return rota.GPU{ID: r.text(), Model: r.text(), MemoryBytes: r.int64()} }),
	}
}

func appendNodeInfo(b []byte, n *rota.NodeInfo) []byte {
	b = appendText(appendText(b, n.ID), n.Name)
	b = appendTexts(b, n.Roles)
	b = appendText(appendText(appendText(b, n.Address), n.Pool), n.OS)
	b = appendText(appendText(appendText(b, n.Arch), n.Kernel), n.Version)
	b = appendUint(b, uint64(n.MaxFormat))
	b = appendTexts(appendTexts(appendTexts(b, n.Drivers), n.Capabilities), n.Models)
	b = appendPairs(b, n.Labels)
	return appendCapacity(appendText(b, n.Containment), &n.Capacity)
}

func (r *reader) nodeInfo() rota.NodeInfo {
	return rota.NodeInfo{
		ID: rota.NodeID(r.text()), Name: r.text(), Roles: texts[rota.Role](r),
		Address: r.text(), Pool: r.text(), OS: r.text(),
		Arch: r.text(), Kernel: r.text(), Version: r.text(),
		MaxFormat: r.uint16(),
		Drivers:   texts[rota.Driver](r), Capabilities: texts[string](r), Models: texts[string](r),
		Labels: r.pairs(), Containment: r.text(), Capacity: r.capacity(),
	}
}

func appendOutcome(b []byte, o *rota.Outcome) []byte {
	b = appendInt(append(b, byte(o.Cause)), o.ExitCode)
	b = appendBytes(appendText(b, o.Message), o.Output)
	return appendBool(appendInt(appendUsage(appendInt(b, o.Ran), o.Usage), o.DroppedBytes), o.Final)
}

func (r *reader) outcome() *rota.Outcome {
	return &rota.Outcome{
		Cause: rota.Cause(r.byte()), ExitCode: r.int(), Message: r.text(), Output: r.json(),
		Ran: r.duration(), Usage: r.usage(), DroppedBytes: r.int64(), Final: r.bool(),
	}
}

func appendEdges(b []byte, edges []rota.Edge) []byte {
	b = binary.AppendUvarint(b, uint64(len(edges)))
	for i := range edges {
		b = append(appendText(b, edges[i].On), byte(edges[i].Kind))
	}
	return b
}

func (r *reader) edges() []rota.Edge {
	return list(r, 2, func(r *reader) rota.Edge {
		return rota.Edge{On: rota.TaskKey(r.text()), Kind: rota.EdgeKind(r.enum(uint8(rota.EdgeFailure)))}
	})
}

func appendNewTasks(b []byte, tasks []rota.NewTask) []byte {
	b = binary.AppendUvarint(b, uint64(len(tasks)))
	for i := range tasks {
		b = appendNewTask(b, &tasks[i])
	}
	return b
}

func appendNewTask(b []byte, t *rota.NewTask) []byte {
	return appendEdges(appendInt(appendText(b, t.Key), t.Spec), t.DependsOn)
}

func (r *reader) newTasks() []rota.NewTask {
	return list(r, 3, (*reader).newTask)
}

func (r *reader) newTask() rota.NewTask {
	return rota.NewTask{Key: rota.TaskKey(r.text()), Spec: r.int(), DependsOn: r.edges()}
}

func appendVariables(b []byte, vs []rota.Variable) []byte {
	b = binary.AppendUvarint(b, uint64(len(vs)))
	for i := range vs {
		b = appendBytes(appendText(b, vs[i].Name), vs[i].Value)
	}
	return b
}

func (r *reader) variables() []rota.Variable {
	return list(r, 2, func(r *reader) rota.Variable { return rota.Variable{Name: r.text(), Value: r.json()} })
}

func appendFiles(b []byte, files []rota.File) []byte {
	b = binary.AppendUvarint(b, uint64(len(files)))
	for i := range files {
		b = appendBytes(appendText(b, files[i].Path), files[i].Data)
	}
	return b
}

func (r *reader) files() []rota.File {
	return list(r, 2, func(r *reader) rota.File { return rota.File{Path: r.text(), Data: r.bytes()} })
}
