package fsm

import (
	"encoding/binary"

	"github.com/rota-sched/rota"
)

// Kinds of records, in digests and snapshots: never reused.
const (
	kindMeta byte = iota + 1
	kindRun
	kindSpec
	kindTask
	kindNode
	kindLease
	kindHold
	kindVersion
	kindPending
	kindPendingSpec
	kindPendingTask
	kindRequest
	kindEnd
	kindJob
	kindArrivals
	kindArrival // in digests alone
)

func appendMeta(b []byte, m *meta) []byte {
	b = appendInt(appendUint(b, m.index), m.now)
	b = appendUint(appendUint(b, uint64(m.format)), uint64(m.incarnation))
	b = appendUsage(appendUint(appendUint(b, m.serial), m.sessions), m.usage)
	if m.quiet != 0 { // a state that was never restored is written as before there was the field
		b = appendInt(b, m.quiet)
	}
	return b
}

func (r *reader) meta() meta {
	m := meta{
		index: r.uint(), now: r.instant(), format: r.uint16(), incarnation: r.uint16(),
		serial: r.uint(), sessions: r.uint(), usage: r.usage(),
	}
	if r.err == nil && len(r.b) > 0 {
		if m.quiet = r.instant(); m.quiet == 0 {
			r.fail("a second spelling")
		}
	}
	return m
}

func (m *meta) digest() Digest {
	var b [128]byte
	return hash(kindMeta, appendMeta(b[:0], m))
}

// appendTaskFixed writes what never changes of a task but when its late
// expressions are resolved.
func appendTaskFixed(b []byte, t *task) []byte {
	b = appendText(appendInt(appendUint(b, t.run), t.Order), t.ID.Key)
	b = appendInt(appendEdges(b, t.DependsOn), t.specAt)
	if t.specAt == ownSpec {
		b = appendSpec(b, t.Spec)
	}
	return b
}

func (r *reader) taskFixed(t *task) {
	t.run, t.Order, t.ID.Key = r.uint(), r.int(), rota.TaskKey(r.text())
	t.DependsOn, t.specAt = r.edges(), r.int()
	if t.specAt == ownSpec {
		t.Spec = r.spec()
	}
}

func appendTaskMoving(b []byte, t *task) []byte {
	b = appendReason(append(appendInt(append(b, byte(t.Status)), t.OpenDeps), byte(t.ReturnTo)), t.Why)
	b = appendInt(appendInt(appendUint(b, t.Attempt), t.AttemptsUsed), t.Losses)
	b = appendBool(b, t.Placement != nil)
	if p := t.Placement; p != nil {
		b = appendInt(appendGrants(appendSession(b, p.Session), p.GPUs), p.At)
	}
	b = appendAttempts(appendAttempts(b, t.Attempts), t.Late)
	b = appendInt(appendText(append(b, byte(t.Cause)), t.Message), t.ExitCode)
	b = appendBytes(b, t.Output)
	b = appendInt(appendInt(appendInt(b, t.CreatedAt), t.QueuedAt), t.FirstQueued)
	b = appendInt(appendInt(appendInt(b, t.StartedAt), t.FinishedAt), t.DueAt)
	b = appendInt(append(appendUsage(b, t.Usage), byte(t.gaveUp)), t.retryAt)
	b = binary.AppendUvarint(b, uint64(len(t.endings)))
	for _, e := range t.endings {
		b = appendFixed(appendUint(b, e.attempt), e.outcome)
	}
	b = appendBool(b, t.mishaps != nil)
	if m := t.mishaps; m != nil {
		b = appendInt(appendInt(appendInt(b, m.nodeLost), m.preempted), m.throttled)
		b = appendTexts(appendInt(appendInt(b, m.waited), m.givenBack), m.poison)
	}
	return b
}

func (r *reader) taskMoving(t *task) {
	t.Status, t.OpenDeps, t.ReturnTo, t.Why = r.status(), r.int(), r.status(), r.reason()
	t.Attempt, t.AttemptsUsed, t.Losses = r.uint(), r.int(), r.int()
	if r.bool() {
		p := &rota.Placement{Session: r.session(), GPUs: r.grants(), At: r.instant()}
		p.Node = p.Session.Node
		t.Placement = p
	}
	t.Attempts, t.Late = r.attempts(), r.attempts()
	t.Cause, t.Message, t.ExitCode = rota.Cause(r.byte()), r.text(), r.int()
	t.Output = r.json()
	t.CreatedAt, t.QueuedAt, t.FirstQueued = r.instant(), r.instant(), r.instant()
	t.StartedAt, t.FinishedAt, t.DueAt = r.instant(), r.instant(), r.instant()
	t.Usage, t.gaveUp, t.retryAt = r.usage(), rota.Cause(r.byte()), r.instant()
	t.endings = list(r, 9, func(r *reader) ending { return ending{attempt: r.uint(), outcome: r.fixed64()} })
	if r.bool() {
		t.mishaps = &mishaps{
			nodeLost: r.int(), preempted: r.int(), throttled: r.int(),
			waited: r.duration(), givenBack: r.int(), poison: texts[rota.NodeID](r),
		}
	}
}

func (r *reader) status() rota.Status { return rota.Status(r.enum(uint8(rota.StatusCancelled))) }

func appendAttempts(b []byte, list []rota.Attempt) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		a := &list[i]
		b = appendText(appendText(appendUint(appendUint(b, a.Number), uint64(a.Fence)), a.Node), a.NodeName)
		b = appendInt(appendText(append(b, byte(a.Cause)), a.Message), a.ExitCode)
		b = appendUsage(appendInt(appendInt(appendInt(b, a.PlacedAt), a.StartedAt), a.FinishedAt), a.Usage)
	}
	return b
}

func (r *reader) attempts() []rota.Attempt {
	return list(r, 13, func(r *reader) rota.Attempt {
		return rota.Attempt{
			Number: r.uint(), Fence: rota.Fence(r.uint()), Node: r.nodeID(), NodeName: r.again(&r.other),
			Cause: rota.Cause(r.byte()), Message: r.text(), ExitCode: r.int(),
			PlacedAt: r.instant(), StartedAt: r.instant(), FinishedAt: r.instant(), Usage: r.usage(),
		}
	})
}

// appendRunFixed writes what never changes of a run, its specs apart; pending
// submissions have the same.
func appendRunFixed(b []byte, v *rota.Run) []byte {
	b = appendText(appendText(appendText(b, v.ID), v.Namespace), v.Job)
	b = appendText(appendInt(b, v.Version), v.Principal)
	b = appendVariables(appendPairs(b, v.Labels), v.Variables)
	b = appendText(appendInt(b, v.Priority), v.OnTaskFailure)
	return appendInt(appendInt(b, v.CreatedAt), v.Total)
}

func (r *reader) runFixed(v *rota.Run) {
	v.ID, v.Namespace, v.Job = rota.RunID(r.text()), r.text(), r.text()
	v.Version, v.Principal = r.int(), r.text()
	v.Labels, v.Variables = r.pairs(), r.variables()
	v.Priority, v.OnTaskFailure = r.int(), rota.OnTaskFailure(r.text())
	v.CreatedAt, v.Total = r.instant(), r.int()
}

func appendRunMoving(b []byte, v *run) []byte {
	b = appendInt(appendText(append(b, byte(v.Status)), v.Reason), v.FinishedAt)
	b = appendUsage(b, v.Usage)
	for _, n := range v.Counts {
		b = appendInt(b, n)
	}
	b = appendInt(appendInt(b, v.Failed), v.Cancelled)
	return appendBool(appendInt(b, v.output), v.cancelled)
}

func (r *reader) runMoving(v *run) {
	v.Status, v.Reason, v.FinishedAt = rota.RunStatus(r.enum(uint8(rota.RunCancelled))), r.text(), r.instant()
	v.Usage = r.usage()
	for i := range v.Counts {
		v.Counts[i] = r.int()
	}
	v.Failed, v.Cancelled = r.int(), r.int()
	v.output, v.cancelled = r.int64(), r.bool()
}

func appendNodeMoving(b []byte, n *node) []byte {
	b = appendUint(appendUint(appendSession(b, n.Session), n.LastCounter), n.RenewedIndex)
	b = appendBool(appendBool(b, n.Draining), n.Suspect)
	b = appendLeft(b, n)
	b = appendInt(appendInt(b, n.RegisteredAt), n.ChangedAt)
	h := &n.Held
	b = appendInt(appendInt(appendInt(appendInt(b, h.CPUMilli), h.MemoryBytes), h.DiskBytes), h.Slots)
	b = binary.AppendUvarint(b, uint64(len(h.GPUMilli)))
	for _, m := range h.GPUMilli {
		b = appendInt(b, m)
	}
	return b
}

// appendLeft writes whether the node left, 0 or 1. Why it is unfit, which versions
// before rota.FormatUnfit do not know, follows where 2 was added to that.
func appendLeft(b []byte, n *node) []byte {
	if n.Unfit == "" {
		return appendBool(b, n.Left)
	}
	gone := byte(2)
	if n.Left {
		gone = 3
	}
	return appendText(append(b, gone), n.Unfit)
}

func (r *reader) nodeMoving(n *node) {
	n.Session, n.LastCounter, n.RenewedIndex = r.session(), r.uint(), r.uint()
	n.Draining, n.Suspect = r.bool(), r.bool()
	if gone := r.enum(3); gone&2 != 0 {
		n.Left, n.Unfit = gone&1 != 0, r.text()
	} else {
		n.Left = gone&1 != 0
	}
	n.RegisteredAt, n.ChangedAt = r.instant(), r.instant()
	n.Held = rota.Held{
		CPUMilli: r.int64(), MemoryBytes: r.int64(), DiskBytes: r.int64(), Slots: r.int64(),
		GPUMilli: list(r, 1, (*reader).int64),
	}
}

func appendHold(b []byte, h *rota.Hold) []byte {
	b = appendSession(appendUint(appendTask(b, h.Task), uint64(h.Fence)), h.Session)
	return appendGrants(appendResources(b, &h.Resources), h.GPUs)
}

func (r *reader) hold() rota.Hold {
	return rota.Hold{Task: r.taskID(), Fence: rota.Fence(r.uint()), Session: r.session(), Resources: r.resources(), GPUs: r.grants()}
}

func appendVersion(b []byte, v *rota.JobVersion) []byte {
	b = appendInt(appendText(appendText(b, v.Namespace), v.Job), v.Version)
	b = appendBytes(appendText(appendText(b, v.Hash), v.Filename), v.Source)
	return appendInt(appendFiles(b, v.Files), v.CreatedAt)
}

func (r *reader) version() rota.JobVersion {
	return rota.JobVersion{
		Namespace: r.text(), Job: r.text(), Version: r.int(), Hash: r.text(), Filename: r.text(),
		Source: r.bytes(), Files: r.files(), CreatedAt: r.instant(),
	}
}

func appendRequestKey(b []byte, k requestKey) []byte {
	return appendText(appendText(appendText(b, k.namespace), k.principal), k.id)
}

func (r *reader) requestKey() requestKey {
	return requestKey{namespace: r.text(), principal: r.text(), id: r.text()}
}

func appendRequest(b []byte, v *request) []byte {
	b = appendText(appendUint(appendRequestKey(b, v.key), v.serial), v.digest)
	return appendInt(appendInt(appendText(b, v.run), v.number), v.at)
}

func (r *reader) request() requestItem {
	return requestItem{&request{
		key: r.requestKey(), serial: r.uint(), digest: r.text(), run: rota.RunID(r.text()), number: r.int(), at: r.instant(),
	}}
}
