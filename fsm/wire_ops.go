package fsm

import (
	"encoding/binary"

	"github.com/rota-sched/rota"
)

// Codes of operations on the wire and on disk: never reused.
const (
	codeRaiseFormat byte = iota + 1
	codeRegisterNode
	codeRenewLeases
	codeExpireSession
	codeMarkNode
	codeSubmitRun
	codeAddTasks
	codeResolve
	codePlace
	codeReport
	codeDue
	codeCancelRun
	codeCancelTask
	codeAnswer
	codeStoreJob
	codeMarkJob
	codeMarkUnfit
)

// appendOp writes the operation's code and fields. What is no operation of this
// package, nil or a pointer to one, is written as code 0 and read as nil, which
// Apply refuses: a proposer's mistake must not become an entry nobody can read.
func appendOp(b []byte, op rota.Op) []byte {
	switch op := op.(type) {
	case rota.RaiseFormat:
		return appendUint(append(b, codeRaiseFormat), uint64(op.Format))
	case rota.RegisterNode:
		return appendUint(appendText(appendNodeInfo(append(b, codeRegisterNode), &op.Info), op.Boot), op.Counter)
	case rota.RenewLeases:
		b = binary.AppendUvarint(append(b, codeRenewLeases), uint64(len(op.Sessions)))
		for _, s := range op.Sessions {
			b = appendSession(b, s)
		}
		return b
	case rota.ExpireSession:
		b = appendSession(append(b, codeExpireSession), op.Session)
		b = appendBool(appendBool(appendUint(appendUint(b, op.Seen), op.Term), op.Released), op.Left)
		return appendReportItems(b, op.Items)
	case rota.MarkNode:
		b = appendText(append(b, codeMarkNode), op.Node)
		return appendMaybe(appendMaybe(b, op.Drain), op.Suspect)
	case rota.MarkUnfit:
		return appendText(appendSession(append(b, codeMarkUnfit), op.Session), op.Why)
	case rota.SubmitRun:
		return appendSubmitRun(append(b, codeSubmitRun), &op)
	case rota.AddTasks:
		return appendNewTasks(appendSpecs(appendText(append(b, codeAddTasks), op.Run), op.Specs), op.Tasks)
	case rota.Resolve:
		return appendResolve(append(b, codeResolve), &op)
	case rota.Place:
		return appendPlace(append(b, codePlace), &op)
	case rota.Report:
		return appendReport(append(b, codeReport), &op)
	case rota.StoreJob:
		return appendStoreJob(append(b, codeStoreJob), &op)
	case rota.MarkJob:
		return appendBool(appendMaybe(appendText(append(b, codeMarkJob), op.Job), op.Paused), op.Delete)
	case rota.Due:
		return append(b, codeDue)
	case rota.CancelRun:
		return appendText(appendText(append(b, codeCancelRun), op.Run), op.Reason)
	case rota.CancelTask:
		return appendText(appendTask(append(b, codeCancelTask), op.Task), op.Reason)
	case rota.Answer:
		return appendBool(appendTask(append(b, codeAnswer), op.Task), op.Rerun)
	}
	return append(b, 0)
}

func (r *reader) op() rota.Op {
	switch r.byte() {
	case 0:
		return nil
	case codeRaiseFormat:
		return rota.RaiseFormat{Format: r.uint16()}
	case codeRegisterNode:
		return rota.RegisterNode{Info: r.nodeInfo(), Boot: r.text(), Counter: r.uint()}
	case codeRenewLeases:
		return rota.RenewLeases{Sessions: list(r, 3, (*reader).session)}
	case codeExpireSession:
		return rota.ExpireSession{Session: r.session(), Seen: r.uint(), Term: r.uint(), Released: r.bool(), Left: r.bool(), Items: list(r, 4, (*reader).reportItem)}
	case codeMarkNode:
		return rota.MarkNode{Node: r.nodeID(), Drain: r.maybe(), Suspect: r.maybe()}
	case codeSubmitRun:
		return r.submitRun()
	case codeAddTasks:
		return rota.AddTasks{Run: r.runID(), Specs: r.specs(), Tasks: r.newTasks()}
	case codeResolve:
		return r.resolve()
	case codePlace:
		return rota.Place{Placements: list(r, 6, (*reader).newPlacement)}
	case codeReport:
		return rota.Report{Session: r.session(), Items: list(r, 4, (*reader).reportItem)}
	case codeMarkUnfit:
		return rota.MarkUnfit{Session: r.session(), Why: r.text()}
	case codeDue:
		return rota.Due{}
	case codeCancelRun:
		return rota.CancelRun{Run: r.runID(), Reason: r.text()}
	case codeCancelTask:
		return rota.CancelTask{Task: r.taskID(), Reason: r.text()}
	case codeAnswer:
		return rota.Answer{Task: r.taskID(), Rerun: r.bool()}
	case codeStoreJob:
		return r.storeJob()
	case codeMarkJob:
		return rota.MarkJob{Job: r.text(), Paused: r.maybe(), Delete: r.bool()}
	default:
		r.fail("unknown operation")
		return nil
	}
}

// appendMaybe writes a bool that may be absent: 0 absent, 1 false, 2 true.
func appendMaybe(b []byte, v *bool) []byte {
	switch {
	case v == nil:
		return append(b, 0)
	case *v:
		return append(b, 2)
	default:
		return append(b, 1)
	}
}

func (r *reader) maybe() *bool {
	c := r.enum(2)
	if c == 0 {
		return nil
	}
	v := c == 2
	return &v
}

func appendSubmitRun(b []byte, op *rota.SubmitRun) []byte {
	b = appendText(appendText(appendText(appendText(b, op.Run), op.Job), op.Hash), op.Filename)
	b = appendFiles(appendBytes(b, op.Source), op.Files)
	b = appendVariables(appendPairs(b, op.Labels), op.Variables)
	b = appendText(appendText(appendInt(b, op.Priority), op.OnTaskFailure), op.Digest)
	return appendNewTasks(appendSpecs(appendInt(b, op.Total), op.Specs), op.Tasks)
}

func (r *reader) submitRun() rota.Op {
	return rota.SubmitRun{
		Run: r.runID(), Job: r.text(), Hash: r.text(), Filename: r.text(),
		Source: r.bytes(), Files: r.files(),
		Labels: r.pairs(), Variables: r.variables(),
		Priority: r.int(), OnTaskFailure: rota.OnTaskFailure(r.text()), Digest: r.text(),
		Total: r.int(), Specs: r.specs(), Tasks: r.newTasks(),
	}
}

func appendResolve(b []byte, op *rota.Resolve) []byte {
	b = appendBool(appendTask(b, op.Task), op.Spec != nil)
	if op.Spec != nil {
		b = appendSpec(b, op.Spec)
	}
	return appendText(appendBool(b, op.Skip), op.Failure)
}

func (r *reader) resolve() rota.Op {
	op := rota.Resolve{Task: r.taskID()}
	if r.bool() {
		op.Spec = r.spec()
	}
	op.Skip, op.Failure = r.bool(), r.text()
	return op
}

func appendPlace(b []byte, op *rota.Place) []byte {
	b = binary.AppendUvarint(b, uint64(len(op.Placements)))
	for i := range op.Placements {
		p := &op.Placements[i]
		b = appendGrants(appendSession(appendTask(b, p.Task), p.Session), p.GPUs)
	}
	return b
}

func (r *reader) newPlacement() rota.NewPlacement {
	return rota.NewPlacement{Task: r.taskID(), Session: r.session(), GPUs: r.grants()}
}

const (
	itemStarted byte = 1 << iota
	itemOutcome
	itemReleased
)

func appendReport(b []byte, op *rota.Report) []byte {
	return appendReportItems(appendSession(b, op.Session), op.Items)
}

func appendReportItems(b []byte, items []rota.ReportItem) []byte {
	b = binary.AppendUvarint(b, uint64(len(items)))
	for i := range items {
		it := &items[i]
		b = appendUint(appendTask(b, it.Task), uint64(it.Fence))
		var flags byte
		if it.Started {
			flags |= itemStarted
		}
		if it.Outcome != nil {
			flags |= itemOutcome
		}
		if it.Released {
			flags |= itemReleased
		}
		b = append(b, flags)
		if it.Outcome != nil {
			b = appendOutcome(b, it.Outcome)
		}
	}
	return b
}

func (r *reader) reportItem() rota.ReportItem {
	it := rota.ReportItem{Task: r.taskID(), Fence: rota.Fence(r.uint())}
	flags := r.enum(itemStarted | itemOutcome | itemReleased)
	it.Started, it.Released = flags&itemStarted != 0, flags&itemReleased != 0
	if flags&itemOutcome != 0 {
		it.Outcome = r.outcome()
	}
	return it
}
