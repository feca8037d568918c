package fsm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/rota-sched/rota"
)

// TestStories tells the state machine's ways as texts: what was asked, what came
// of it. Run with -rewrite after a wanted change and read the diff.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		t.Helper()
		st := newStory(t)
		datadriven.RunTest(t, path, st.step)
		st.replay()
	})
}

// story applies commands as entries of a log that begins at second 1,000.
type story struct {
	t        *testing.T
	s        *State
	log      []rota.Entry
	now      rota.Instant
	limits   Limits
	sessions map[string]rota.Session
}

const storyBegin = rota.Instant(1000 * time.Second)

func newStory(t *testing.T) *story {
	t.Helper()
	st := &story{t: t, now: storyBegin, limits: DefaultLimits(), sessions: map[string]rota.Session{}}
	st.s = NewWith(st.limits)
	return st
}

// replay applies the whole log to a fresh state: it must come out the same.
func (st *story) replay() {
	again := NewWith(st.limits)
	for _, e := range st.log {
		b := AppendEntry(nil, &e)
		d, err := DecodeEntry(b)
		if err != nil {
			st.t.Fatal(err)
		}
		d.Index = e.Index
		again.Apply(d)
	}
	if again.Digest() != st.s.Digest() {
		st.t.Fatalf("the log applied again gives digest %s, want %s", again.Digest(), st.s.Digest())
	}
}

func (st *story) apply(namespace, key string, ops ...rota.Op) string {
	e := rota.Entry{Format: 1, Term: 1, Index: st.s.Index() + 1, At: st.now, Seed: st.s.Index() + 7}
	for _, op := range ops {
		e.Commands = append(e.Commands, rota.Command{Op: op, Namespace: namespace, Principal: "someone", RequestID: key})
	}
	st.log = append(st.log, e)
	results, changes := st.s.Apply(e)
	checkState(st.t, st.s)
	roundTrip(st.t, st.s)
	var out []string
	for i := range results {
		out = append(out, st.resultLine(&results[i]))
	}
	for i := range changes {
		if line := st.changeLine(&changes[i]); line != "" {
			out = append(out, "  "+line)
		}
	}
	return strings.Join(out, "\n") + "\n"
}

func (st *story) resultLine(r *rota.Result) string {
	line := "ok"
	if r.Kind != rota.KindNone {
		line = "refused: " + r.Kind.String() + ": " + r.Detail
	}
	if r.Existed {
		line += " existed"
	}
	switch {
	case r.Run != "":
		line += fmt.Sprintf(" run=%s version=%d", r.Run, r.Version)
	case r.Version != 0:
		line += fmt.Sprintf(" version=%d", r.Version)
	}
	if !r.Session.IsZero() {
		line += " session=" + r.Session.String()
	}
	for _, k := range r.Items {
		line += " [" + k.String() + "]"
	}
	return line
}

func (st *story) changeLine(c *rota.Change) string {
	switch c.Type { //nolint:exhaustive // the rest are tasks
	case rota.ChangeRunCreated, rota.ChangeRunFinished, rota.ChangeRunPurged, rota.ChangeRunStatus:
		return fmt.Sprintf("%s %s %s", c.Type, c.Run.ID, c.Run.Status)
	case rota.ChangeNode:
		return fmt.Sprintf("%s %s %s", c.Type, c.Node.Name, c.Node.State())
	case rota.ChangeHold, rota.ChangeHoldReleased:
		return fmt.Sprintf("%s %s on %s", c.Type, fenced(c.Hold.Task, c.Hold.Fence), c.Node.Name)
	case rota.ChangeRoom:
		return ""
	case rota.ChangeRenewed:
		return fmt.Sprintf("%s %v", c.Type, c.Renewed)
	case rota.TaskChange(rota.StatusCreated):
		return ""
	}
	line := fmt.Sprintf("%s %s (%s)", c.Type, c.Task.ID, c.From)
	switch c.Type { //nolint:exhaustive // only some have more to say
	case rota.TaskChange(rota.StatusFailed):
		line += fmt.Sprintf(" #%d %s: %s", c.Attempt, c.Task.Cause, c.Task.Message)
	case rota.TaskChange(rota.StatusAssigned):
		line += fmt.Sprintf(" #%d", c.Attempt)
	case rota.TaskChange(rota.StatusRetrying), rota.TaskChange(rota.StatusSkipped), rota.TaskChange(rota.StatusCancelled), rota.TaskChange(rota.StatusWaiting):
		if c.Task.DueAt != 0 {
			line += " due " + since(c.Task.DueAt)
		}
		if !c.Task.Why.IsZero() {
			line += " " + c.Task.Why.Code + ": " + c.Task.Why.Text
		}
	case rota.ChangeTaskLate:
		l := c.Task.Late[len(c.Task.Late)-1]
		line += fmt.Sprintf(" #%d %s %s", l.Number, l.Cause, l.Message)
	}
	return line
}

func fenced(id rota.TaskID, f rota.Fence) string {
	return id.String() + "#" + strconv.FormatUint(f.Attempt(), 10)
}

func since(i rota.Instant) string {
	if i == 0 {
		return "-"
	}
	return "+" + i.Sub(storyBegin).String()
}

func (st *story) step(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	arg := func(name string) string {
		a, ok := d.Arg(name)
		if !ok || len(a.Vals) == 0 {
			return ""
		}
		return strings.Join(a.Vals, ",")
	}
	number := func(name string, otherwise int) int {
		if !d.HasArg(name) {
			return otherwise
		}
		n, err := strconv.Atoi(arg(name))
		if err != nil {
			d.Fatalf(t, "%s: %v", name, err)
		}
		return n
	}
	span := func(name string) time.Duration {
		v, err := time.ParseDuration(arg(name))
		if err != nil {
			d.Fatalf(t, "%s: %v", name, err)
		}
		return v
	}
	switch d.Cmd {
	case "limits": // before anything else
		if d.HasArg("max-requests") {
			st.limits.MaxRequests = number("max-requests", 0)
		}
		if d.HasArg("keep-runs") {
			st.limits.KeepRunsCount = number("keep-runs", 0)
		}
		if d.HasArg("keep-tasks") {
			st.limits.KeepTasksCount = number("keep-tasks", 0)
		}
		if d.HasArg("live") {
			st.limits.MaxLiveTasks = number("live", 0)
		}
		if d.HasArg("run-output") {
			st.limits.MaxRunOutput = int64(number("run-output", 0))
		}
		if d.HasArg("nodes") {
			st.limits.MaxNodes = number("nodes", 0)
		}
		st.s = NewWith(st.limits)
		return "ok\n"
	case "register":
		return st.register(arg, number)
	case "submit":
		specs, tasks := parseTasks(t, d)
		op := rota.SubmitRun{
			Run: rota.RunID(arg("run")), Job: or(arg("job"), "job"), Hash: or(arg("hash"), "h1"), Filename: "job.hcl", Source: []byte("source"),
			Digest: arg("digest"), Total: number("total", len(tasks)), Specs: specs, Tasks: tasks, OnTaskFailure: rota.OnTaskFailure(arg("on-failure")),
		}
		if d.HasArg("no-source") {
			op.Source = nil
		}
		return st.apply(arg("ns"), arg("key"), op)
	case "add":
		specs, tasks := parseTasks(t, d)
		return st.apply(arg("ns"), "", rota.AddTasks{Run: rota.RunID(arg("run")), Specs: specs, Tasks: tasks})
	case "place":
		return st.apply("", "", st.parsePlace(d))
	case "report":
		return st.apply("", "", st.parseReport(d, arg))
	case "expire":
		op := rota.ExpireSession{Session: st.session(d, arg("node")), Released: d.HasArg("released"), Left: d.HasArg("left"), Term: uint64(number("term", 1))}
		op.Seen = uint64(number("seen", int(st.s.Index())))
		return st.apply("", "", op)
	case "renew":
		return st.apply("", "", rota.RenewLeases{Sessions: []rota.Session{st.session(d, arg("node"))}})
	case "mark":
		op := rota.MarkNode{Node: rota.NodeID(arg("node"))}
		if d.HasArg("drain") {
			v := arg("drain") == "true"
			op.Drain = &v
		}
		if d.HasArg("suspect") {
			v := arg("suspect") == "true"
			op.Suspect = &v
		}
		return st.apply("", "", op)
	case "unfit":
		return st.apply("", "", rota.MarkUnfit{Session: st.session(d, arg("node")), Why: arg("why")})
	case "advance":
		st.now = st.now.Add(span("by"))
		return "now " + since(st.now) + "\n"
	case "due":
		if d.HasArg("after") {
			st.now = st.now.Add(span("after"))
		}
		return st.apply("", "", rota.Due{}) + "next " + since(st.s.NextDue()) + "\n"
	case "cancel":
		if d.HasArg("run") {
			return st.apply("", "", rota.CancelRun{Run: rota.RunID(arg("run")), Reason: arg("reason")})
		}
		return st.apply("", "", rota.CancelTask{Task: taskID(arg("task")), Reason: arg("reason")})
	case "answer":
		return st.apply("", "", rota.Answer{Task: taskID(arg("task")), Rerun: d.HasArg("rerun")})
	case "format":
		return st.apply("", "", rota.RaiseFormat{Format: uint16(number("to", 2))}) //nolint:gosec // small
	case "store-job":
		return st.apply(arg("ns"), "", rota.StoreJob{Job: or(arg("job"), "job"), Hash: or(arg("hash"), "h1"), Filename: "job.hcl", Source: []byte(or(arg("source"), "source"))})
	case "mark-job":
		op := rota.MarkJob{Job: or(arg("job"), "job"), Delete: d.HasArg("delete")}
		if d.HasArg("paused") {
			v := arg("paused") == "true"
			op.Paused = &v
		}
		return st.apply(arg("ns"), "", op)
	case "resolve":
		op := rota.Resolve{Task: taskID(arg("task")), Skip: d.HasArg("skip"), Failure: strings.TrimSpace(d.Input)}
		if !op.Skip && op.Failure == "" {
			op.Spec = &rota.TaskSpec{Driver: rota.DriverNoop, Command: []string{"resolved"}}
		}
		return st.apply("", "", op)
	case "show":
		return st.show(d, arg)
	}
	d.Fatalf(t, "unknown directive")
	return ""
}

func (st *story) session(d *datadriven.TestData, node string) rota.Session {
	name, counter, ok := strings.Cut(node, "/")
	s := st.sessions[name]
	if ok {
		n, err := strconv.ParseUint(counter, 10, 64)
		if err != nil {
			d.Fatalf(st.t, "session %q: %v", node, err)
		}
		s.Counter = n
	}
	return s
}

func (st *story) register(arg func(string) string, number func(string, int) int) string {
	node := arg("node")
	info := rota.NodeInfo{
		ID: rota.NodeID(node), Name: or(arg("name"), node), Roles: []rota.Role{rota.RoleServer, rota.RoleWorker}, Address: node + ":8420",
		Drivers:  []rota.Driver{rota.DriverExec, rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: int64(number("cpu", 4000)), MemoryBytes: 8 << 30, DiskBytes: 1 << 40, Slots: int64(number("slots", 16))},
	}
	for i := range number("gpu", 0) {
		info.Capacity.GPUs = append(info.Capacity.GPUs, rota.GPU{ID: "fake-" + strconv.Itoa(i), Model: "NVIDIA H100", MemoryBytes: 80 << 30})
	}
	out := st.apply("", "", rota.RegisterNode{Info: info, Boot: "boot"})
	if n, ok := st.s.Snapshot().Node(info.ID); ok && !n.Session.IsZero() {
		st.sessions[node] = n.Session
	}
	return out
}

// parseTasks reads lines of the form "key: dep dep(any) / attr=value attr".
func parseTasks(t *testing.T, d *datadriven.TestData) ([]*rota.TaskSpec, []rota.NewTask) {
	t.Helper()
	var specs []*rota.TaskSpec
	var tasks []rota.NewTask
	for line := range strings.Lines(d.Input) {
		line, attrs, _ := strings.Cut(strings.TrimSpace(line), " / ")
		key, deps, _ := strings.Cut(line, ":")
		n := rota.NewTask{Key: rota.TaskKey(strings.TrimSpace(key)), Spec: len(specs)}
		for dep := range strings.FieldsSeq(deps) {
			on, kind, _ := strings.Cut(strings.TrimSuffix(dep, ")"), "(")
			e := rota.Edge{On: rota.TaskKey(on)}
			switch kind {
			case "any":
				e.Kind = rota.EdgeAny
			case "failure":
				e.Kind = rota.EdgeFailure
			}
			n.DependsOn = append(n.DependsOn, e)
		}
		specs = append(specs, parseSpec(t, d, attrs))
		tasks = append(tasks, n)
	}
	return specs, tasks
}

func parseSpec(t *testing.T, d *datadriven.TestData, attrs string) *rota.TaskSpec {
	t.Helper()
	s := &rota.TaskSpec{Driver: rota.DriverNoop, Resources: rota.Resources{CPUMilli: 100, MemoryBytes: 64 << 20}, Retry: rota.Retry{MaxAttempts: 1, Backoff: rota.BackoffNone}}
	for a := range strings.FieldsSeq(attrs) {
		name, value, _ := strings.Cut(a, "=")
		span, _ := time.ParseDuration(value)
		n, _ := strconv.Atoi(value)
		switch name {
		case "late":
			s.Late = []string{"command"}
		case "allow_failure":
			s.AllowFailure = true
		case "rerun":
			s.Rerun = rota.Rerun(value)
		case "attempts":
			s.Retry.MaxAttempts = n
		case "delay":
			s.Retry.Backoff, s.Retry.Initial, s.Retry.Max = rota.BackoffFixed, span, span
		case "on":
			s.Retry.On = []rota.Cause{}
			for w := range strings.SplitSeq(value, ",") {
				c, err := rota.ParseCause(w)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				s.Retry.On = append(s.Retry.On, c)
			}
		case "to_start":
			s.Timeouts.ScheduleToStart = span
		case "to_close":
			s.Timeouts.ScheduleToClose = span
		case "out":
			s.Output = rota.OutputType(value)
		case "cpu":
			s.Resources.CPUMilli = int64(n)
		case "gpu":
			s.Resources.GPU.Count = n
		case "share":
			s.Resources.GPU.ShareMilli = int64(n)
		case "driver":
			s.Driver = rota.Driver(value)
		default:
			d.Fatalf(t, "unknown attribute %q", name)
		}
	}
	return s
}

// parsePlace reads lines of the form "R/key node[/counter] [device[:milli]]...".
func (st *story) parsePlace(d *datadriven.TestData) rota.Place {
	var op rota.Place
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		p := rota.NewPlacement{Task: taskID(f[0]), Session: st.session(d, f[1])}
		for _, g := range f[2:] {
			id, milli, ok := strings.Cut(g, ":")
			grant := rota.GPUGrant{ID: id, Milli: rota.WholeGPU}
			if ok {
				grant.Milli, _ = strconv.ParseInt(milli, 10, 64)
			}
			p.GPUs = append(p.GPUs, grant)
		}
		op.Placements = append(op.Placements, p)
	}
	return op
}

// parseReport reads lines of the form "R/key#attempt started ok|fail:CAUSE
// out=JSON cost=N ran=D released".
func (st *story) parseReport(d *datadriven.TestData, arg func(string) string) rota.Report {
	op := rota.Report{Session: st.session(d, arg("node"))}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		id, attempt, _ := strings.Cut(f[0], "#")
		n, _ := strconv.ParseUint(attempt, 10, 64)
		it := rota.ReportItem{Task: taskID(id), Fence: rota.NewFence(st.s.Incarnation(), n)}
		for _, w := range f[1:] {
			name, value, _ := strings.Cut(w, "=")
			if it.Outcome == nil && !slices.Contains([]string{"started", "released"}, name) {
				it.Outcome = &rota.Outcome{}
			}
			switch name {
			case "started":
				it.Started = true
			case "released":
				it.Released = true
			case "ok":
			case "fail":
				c, err := rota.ParseCause(value)
				if err != nil {
					d.Fatalf(st.t, "%v", err)
				}
				it.Outcome.Cause, it.Outcome.Message = c, "it said so"
				if c == rota.CauseExitNonzero {
					it.Outcome.ExitCode = 1
				}
			case "out":
				it.Outcome.Output = json.RawMessage(value)
			case "size":
				size, _ := strconv.Atoi(value)
				it.Outcome.Output = json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
			case "cost":
				cost, _ := strconv.Atoi(value)
				it.Outcome.Usage.Cost = rota.MicroUSD(cost)
			case "ran":
				it.Outcome.Ran, _ = time.ParseDuration(value)
			default:
				d.Fatalf(st.t, "unknown word %q", w)
			}
		}
		op.Items = append(op.Items, it)
	}
	return op
}

func (st *story) show(d *datadriven.TestData, arg func(string) string) string {
	sn := st.s.Snapshot()
	var b strings.Builder
	if run := arg("run"); run != "" {
		r, ok := sn.Run(rota.RunID(run))
		if !ok {
			return "no run\n"
		}
		fmt.Fprintf(&b, "%s %s version=%d cost=%s finished=%s", r.ID, r.Status, r.Version, r.Usage.Cost, since(r.FinishedAt))
		if r.Reason != "" {
			fmt.Fprintf(&b, " reason=%q", r.Reason)
		}
		b.WriteByte('\n')
		for t := range sn.Tasks(r.ID) {
			showTask(&b, t)
		}
	}
	if task := arg("task"); task != "" {
		t, ok := sn.Task(taskID(task))
		if !ok {
			return "no task\n"
		}
		showTask(&b, t)
		fmt.Fprintf(&b, "  created=%s first=%s queued=%s started=%s finished=%s\n", since(t.CreatedAt), since(t.FirstQueued), since(t.QueuedAt), since(t.StartedAt), since(t.FinishedAt))
		for _, a := range t.Attempts {
			fmt.Fprintf(&b, "  #%d on %s %s %q placed=%s started=%s finished=%s cost=%s\n", a.Number, a.NodeName, or(a.Cause.String(), "-"), a.Message, since(a.PlacedAt), since(a.StartedAt), since(a.FinishedAt), a.Usage.Cost)
		}
		for _, a := range t.Late {
			fmt.Fprintf(&b, "  late #%d on %s %s cost=%s\n", a.Number, a.NodeName, or(a.Cause.String(), "-"), a.Usage.Cost)
		}
	}
	if d.HasArg("nodes") {
		for n := range sn.Nodes() {
			fmt.Fprintf(&b, "%s %s session=%s renewed=%d cpu=%d slots=%d", n.Name, n.State(), n.Session, n.RenewedIndex, n.Held.CPUMilli, n.Held.Slots)
			for i, g := range n.Capacity.GPUs {
				fmt.Fprintf(&b, " %s=%d", g.ID, rota.WholeGPU-n.Held.FreeMilli(i))
			}
			b.WriteByte('\n')
		}
	}
	if d.HasArg("jobs") {
		for v := range sn.Jobs() {
			fmt.Fprintf(&b, "%s/%s newest=%d", v.Namespace, v.Job, v.Version)
			if sn.JobPaused(v.Namespace, v.Job) {
				b.WriteString(" paused")
			}
			b.WriteByte('\n')
		}
	}
	if d.HasArg("runs") {
		for r := range sn.Runs() {
			fmt.Fprintf(&b, "%s %s %s\n", r.ID, r.Namespace, r.Status)
		}
	}
	if d.HasArg("queued") {
		for t := range sn.Queued() {
			fmt.Fprintf(&b, "queued %s\n", t.ID)
		}
		for t := range sn.Unresolved() {
			fmt.Fprintf(&b, "unresolved %s\n", t.ID)
		}
	}
	fmt.Fprintf(&b, "next %s\n", since(sn.NextDue()))
	return b.String()
}

func showTask(b *strings.Builder, t *rota.Task) {
	fmt.Fprintf(b, "%s %s attempt=%d used=%d losses=%d", t.ID.Key, t.Status, t.Attempt, t.AttemptsUsed, t.Losses)
	if t.Cause != 0 {
		fmt.Fprintf(b, " cause=%s message=%q", t.Cause, t.Message)
	}
	if !t.Why.IsZero() {
		fmt.Fprintf(b, " why=%s: %s", t.Why.Code, t.Why.Text)
	}
	if len(t.Output) > 0 {
		fmt.Fprintf(b, " output=%.40s", t.Output)
	}
	if t.Usage.Cost != 0 {
		fmt.Fprintf(b, " cost=%s", t.Usage.Cost)
	}
	b.WriteByte('\n')
}

func taskID(s string) rota.TaskID {
	run, key, _ := strings.Cut(s, "/")
	return rota.TaskID{Run: rota.RunID(run), Key: rota.TaskKey(key)}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
