package agent_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// TestStories plays the stories under testdata against the core: each command is
// an event at a moment, the answer the actions that follow. Moments are durations
// since the machine's boot; -rewrite writes the answers anew.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/core", func(t *testing.T, path string) {
		t.Helper()
		s := newStory()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			return s.play(t, d)
		})
	})
}

// story is one core and the newest of what it asked.
type story struct {
	core   *agent.Core
	now    agent.BootTime
	sent   map[string]agent.BootTime // of the newest renewal, registration and poll
	lease  agent.Lease               // of the newest Extend
	stream uint64
	batch  uint64
	items  int
	why    string // of the newest TellFitness
}

const (
	storyNode = rota.NodeID("n1")
	storyRun  = rota.RunID("R")
)

func newStory() *story {
	cfg := agent.DefaultCoreConfig()
	cfg.Node = rota.RegisterNode{Info: rota.NodeInfo{ID: storyNode, Name: "n1"}, Boot: "boot"}
	cfg.ReportItems = 4
	return &story{core: agent.NewCore(cfg), sent: map[string]agent.BootTime{}}
}

func (s *story) play(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var at string
	if d.MaybeScanArgs(t, "at", &at) {
		s.now = moment(t, at)
	}
	if d.Cmd == "wake" {
		return since(s.core.Wake()) + "\n"
	}
	var b strings.Builder
	for _, act := range s.core.Step(s.event(t, d), s.now) {
		s.note(act)
		b.WriteString(show(act))
		b.WriteByte('\n')
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// note remembers what answers are to name.
func (s *story) note(act agent.Action) {
	switch a := act.(type) {
	case agent.Register:
		s.sent["register"] = a.Sent
	case agent.Renew:
		s.sent["renew"] = a.Sent
	case agent.Poll:
		s.sent["poll"] = a.Sent
	case agent.Extend:
		s.lease = a.Lease
	case agent.OpenStream:
		s.stream = a.Stream
	case agent.TellFitness:
		s.why = a.Why
	case agent.SendReport:
		s.batch, s.items = a.Batch, len(a.Report.Items)
	default:
	}
}

// event reads a command. (A long switch: one line per event.)
func (s *story) event(t *testing.T, d *datadriven.TestData) agent.Event {
	t.Helper()
	err := failure(t, d)
	sent := func(what string) agent.BootTime {
		var at string
		if d.MaybeScanArgs(t, "sent", &at) {
			return moment(t, at)
		}
		return s.sent[what]
	}
	switch d.Cmd {
	case "tick":
		return agent.Tick{}
	case "greeted":
		return s.greeted(t, d, err)
	case "registered":
		return agent.Registered{Sent: sent("register"), Session: session(number(t, d, "session")), Err: err}
	case "renewed":
		r := rota.Renewal{
			Current: !d.HasArg("over"), Index: number(t, d, "index"), Term: number(t, d, "term"),
			Incarnation: uint16(number(t, d, "incarnation")), Leader: "n9",
		}
		return agent.Renewed{Session: s.core.Session(), Sent: sent("renew"), Renewal: r, Err: err}
	case "extended":
		return agent.Extended{Lease: s.lease, Err: err}
	case "polled":
		return agent.Polled{Sent: sent("poll"), Contacts: contacts(t, d), Err: err}
	case "view":
		return agent.Viewed{Stream: s.stream, View: s.view(t, d)}
	case "stream-ended":
		return agent.StreamEnded{Stream: s.stream, Err: err}
	case "started":
		return agent.Started{Ref: ref(t, d)}
	case "not-started":
		e := agent.NotStarted{Ref: ref(t, d)}
		d.MaybeScanArgs(t, "unfit", &e.Unfit)
		return e
	case "probed":
		return agent.Probed{Err: err}
	case "told":
		return agent.FitnessTold{Session: s.core.Session(), Why: s.why, Err: err}
	case "ended":
		return s.ended(t, d)
	case "reaped":
		return agent.Reaped{Ref: ref(t, d)}
	case "lost":
		return agent.Lost{Ref: ref(t, d)}
	case "reported":
		answers := make([]rota.Kind, s.items)
		if d.HasArg("answers") {
			answers = kinds(t, d)
		}
		return agent.Reported{Batch: s.batch, Answers: answers, Err: err}
	case "released":
		return agent.Released{Err: err}
	case "keeper-gone", "keeper-over":
		ev := agent.KeeperEvent{Keeper: "k1", Kind: agent.KeeperGone}
		d.MaybeScanArgs(t, "keeper", &ev.Keeper)
		if d.Cmd == "keeper-over" {
			ev.Kind = agent.KeeperOver
		}
		return agent.KeeperSaid{Event: ev}
	case "leave":
		return agent.Leaving{Kill: d.HasArg("kill")}
	}
	d.Fatalf(t, "no event %q", d.Cmd)
	return nil
}

func (s *story) greeted(t *testing.T, d *datadriven.TestData, err error) agent.Event {
	t.Helper()
	kept := agent.Kept{ID: "k1", Boot: "boot", Containment: "pidns", Over: d.HasArg("over"), Remains: d.HasArg("remains")}
	d.MaybeScanArgs(t, "keeper", &kept.ID)
	d.MaybeScanArgs(t, "containment", &kept.Containment)
	if n := number(t, d, "session"); n > 0 {
		var deadline string
		d.ScanArgs(t, "deadline", &deadline)
		kept.Lease = agent.Lease{Session: session(n), Deadline: moment(t, deadline), Index: number(t, d, "index")}
	}
	var tasks []agent.Task
	for _, r := range refs(t, d, "attempts") {
		kept.Attempts = append(kept.Attempts, agent.KeptAttempt{Ref: r, Running: !slices.Contains(refs(t, d, "exited"), r)})
		task := agent.Task{Assignment: assignment(r, "exec", 0)}
		if d.HasArg("unreadable") {
			task = agent.Task{}
		}
		tasks = append(tasks, task)
	}
	return agent.Greeted{Kept: kept, Tasks: tasks, Err: err}
}

func (s *story) view(t *testing.T, d *datadriven.TestData) *rota.View {
	t.Helper()
	driver, limit := "exec", ""
	d.MaybeScanArgs(t, "driver", &driver)
	d.MaybeScanArgs(t, "start_to_close", &limit)
	v := &rota.View{
		Session: s.core.Session(), Index: number(t, d, "index"), Term: number(t, d, "term"),
		Incarnation: uint16(number(t, d, "incarnation")), Full: d.HasArg("full"),
	}
	for _, r := range refs(t, d, "start") {
		v.Start = append(v.Start, assignment(r, driver, time.Duration(moment(t, limit))))
	}
	cause := rota.CauseCancelled
	if d.HasArg("cause") {
		cause = causeOf(t, d)
	}
	for _, r := range refs(t, d, "stop") {
		v.Stop = append(v.Stop, rota.StopOrder{Task: r.Task, Fence: r.Fence, Cause: cause})
	}
	return v
}

func (s *story) ended(t *testing.T, d *datadriven.TestData) agent.Event {
	t.Helper()
	e := agent.Ended{Ref: ref(t, d), Began: !d.HasArg("never-began"), Unreaped: d.HasArg("unreaped")}
	if d.HasArg("cause") {
		e.Outcome.Cause = causeOf(t, d)
	}
	return e
}

func causeOf(t *testing.T, d *datadriven.TestData) rota.Cause {
	t.Helper()
	var cause string
	d.ScanArgs(t, "cause", &cause)
	c, err := rota.ParseCause(cause)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return c
}

// show writes an action as one line.
func show(act agent.Action) string {
	switch a := act.(type) {
	case agent.Greet:
		return "greet the keeper"
	case agent.Register:
		return "register sent=" + since(a.Sent)
	case agent.Renew:
		return fmt.Sprintf("renew %s sent=%s", a.Session, since(a.Sent))
	case agent.Extend:
		return fmt.Sprintf("extend %s deadline=%s index=%d", a.Lease.Session, since(a.Lease.Deadline), a.Lease.Index)
	case agent.Poll:
		return "poll sent=" + since(a.Sent)
	case agent.OpenStream:
		return fmt.Sprintf("open stream %d of %s from index=%d", a.Stream, a.Session, a.Index)
	case agent.CloseStream:
		return fmt.Sprintf("close stream %d", a.Stream)
	case agent.StartTask:
		return fmt.Sprintf("start %s before=%s", name(a.Assignment.Task, a.Assignment.Fence), since(a.Before))
	case agent.AdoptTask:
		return "adopt " + name(a.Task.Task, a.Task.Fence)
	case agent.StopTask:
		return fmt.Sprintf("stop %s cause=%s grace=%s", name(a.Ref.Task, a.Ref.Fence), a.Cause, a.How.Grace)
	case agent.Probe:
		return "probe"
	case agent.TellFitness:
		return fmt.Sprintf("tell for %s: %s", a.Session, cmp.Or(a.Why, "fit"))
	case agent.SendReport:
		return fmt.Sprintf("report for %s:%s", a.Report.Session, showItems(a.Report.Items))
	case agent.Ack:
		var names []string
		for _, r := range a.Refs {
			names = append(names, name(r.Task, r.Fence))
		}
		return "ack " + strings.Join(names, " ")
	case agent.Release:
		return fmt.Sprintf("release %s left=%t:%s", a.Session, a.Left, showItems(a.Items))
	case agent.AnnounceLeave:
		return "announce the stop to the keeper"
	case agent.KillKeeper:
		return "kill the keeper"
	case agent.Say:
		return "say " + a.Text
	case agent.Done:
		return "done"
	}
	return fmt.Sprintf("%T", act)
}

func showItems(items []rota.ReportItem) string {
	var b strings.Builder
	for _, it := range items {
		b.WriteString(" " + name(it.Task, it.Fence))
		if it.Started {
			b.WriteString("+started")
		}
		if it.Outcome != nil {
			cause := "ok"
			if it.Outcome.Cause != rota.CauseNone {
				cause = it.Outcome.Cause.String()
			}
			b.WriteString("+" + cause)
		}
		if it.Released {
			b.WriteString("+released")
		}
	}
	return b.String()
}

func name(t rota.TaskID, f rota.Fence) string {
	return string(t.Key) + "#" + strconv.FormatUint(f.Attempt(), 10)
}

func since(b agent.BootTime) string {
	if b == 0 {
		return "never"
	}
	return time.Duration(b).String()
}

func moment(t *testing.T, s string) agent.BootTime {
	t.Helper()
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("moment %q: %v", s, err)
	}
	return agent.BootTime(d)
}

func number(t *testing.T, d *datadriven.TestData, key string) uint64 {
	t.Helper()
	var n uint64
	d.MaybeScanArgs(t, key, &n)
	return n
}

func session(n uint64) rota.Session {
	return rota.Session{Node: storyNode, Boot: "boot", Counter: n}
}

func assignment(r agent.Ref, driver string, limit time.Duration) rota.Assignment {
	return rota.Assignment{Task: r.Task, Fence: r.Fence, Spec: &rota.TaskSpec{
		Driver: rota.Driver(driver), Command: []string{"true"}, Timeouts: rota.Timeouts{StartToClose: limit},
		Stop: rota.Stop{Signal: "SIGTERM", Grace: 5 * time.Second},
	}}
}

// ref reads a task and attempt, a#1.
func ref(t *testing.T, d *datadriven.TestData) agent.Ref {
	t.Helper()
	return parseRef(t, d.CmdArgs[0].Key)
}

func refs(t *testing.T, d *datadriven.TestData, key string) []agent.Ref {
	t.Helper()
	var out []agent.Ref
	for _, a := range d.CmdArgs {
		if a.Key != key {
			continue
		}
		for _, v := range a.Vals {
			out = append(out, parseRef(t, v))
		}
	}
	return out
}

func parseRef(t *testing.T, s string) agent.Ref {
	t.Helper()
	key, attempt, _ := strings.Cut(s, "#")
	n, err := strconv.ParseUint(attempt, 10, 64)
	if err != nil {
		t.Fatalf("attempt %q: want KEY#NUMBER", s)
	}
	return agent.Ref{Task: rota.TaskID{Run: storyRun, Key: rota.TaskKey(key)}, Fence: rota.NewFence(0, n)}
}

// failure reads error=KIND, or any other word for an error without a kind.
func failure(t *testing.T, d *datadriven.TestData) error {
	t.Helper()
	var word string
	if !d.MaybeScanArgs(t, "error", &word) {
		return nil
	}
	var k rota.Kind
	if k.UnmarshalText([]byte(word)) == nil {
		return &rota.Refusal{Kind: k}
	}
	return errors.New(word)
}

func kinds(t *testing.T, d *datadriven.TestData) []rota.Kind {
	t.Helper()
	var out []rota.Kind
	for _, a := range d.CmdArgs {
		if a.Key != "answers" {
			continue
		}
		for _, v := range a.Vals {
			if v == "done" {
				v = ""
			}
			var k rota.Kind
			if err := k.UnmarshalText([]byte(v)); err != nil {
				t.Fatal(err)
			}
			out = append(out, k)
		}
	}
	return out
}

// contacts reads answers=(A:10s,B:10s@7): voter, age, configuration index (1).
// The configuration has the voters A, B and C.
func contacts(t *testing.T, d *datadriven.TestData) []rota.Contact {
	t.Helper()
	var out []rota.Contact
	for _, a := range d.CmdArgs {
		if a.Key != "answers" {
			continue
		}
		for _, v := range a.Vals {
			who, rest, _ := strings.Cut(v, ":")
			age, config, named := strings.Cut(rest, "@")
			c := rota.Contact{
				Server: rota.NodeID(who), Voter: true, Voters: []rota.NodeID{"A", "B", "C"}, ConfigIndex: 1,
				Age: time.Duration(moment(t, age)),
			}
			if named {
				n, err := strconv.ParseUint(config, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				c.ConfigIndex = n
			}
			out = append(out, c)
		}
	}
	return out
}
