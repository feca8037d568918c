package keeper

import (
	"encoding/json"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
)

// Event is something that happened, as the core is told of it. A token names the
// request that waits for a Reply; 0: nobody waits.
type Event interface{ isEvent() }

// Action is something the core wants done.
type Action interface{ isAction() }

// The events.
type (
	// AgentBack: an agent made its main connection. Connections are numbered from 1.
	AgentBack struct{ Conn uint64 }
	// AgentGone: that connection is lost.
	AgentGone struct{ Conn uint64 }
	// PlannedStop: the agent says that it goes on purpose.
	PlannedStop struct{ Token, Conn uint64 }
	// Begin: the agent registered a session.
	Begin struct {
		Token    uint64
		Session  rota.Session
		Deadline BootTime // 0: nothing may start yet
	}
	// Extend: the lease was renewed. A deadline never goes back.
	Extend struct {
		Token    uint64
		Session  rota.Session
		Deadline BootTime
	}
	// EndAsked: the cluster or the agent has given up the session.
	EndAsked struct {
		Token   uint64
		Session rota.Session
	}
	// NoteView: the agent acted on this view.
	NoteView struct {
		Token uint64
		View  ViewMark
	}
	// SpawnAsked: start an attempt.
	SpawnAsked struct {
		Token   uint64
		Ref     Ref
		Session rota.Session
		Meta    json.RawMessage
	}
	// Started: the process runs.
	Started struct {
		Token uint64
		Ref   Ref
		PID   int
	}
	// StartFailed: it could not be started.
	StartFailed struct {
		Token   uint64
		Ref     Ref
		Kind    rota.Kind
		Detail  string
		Refused bool
	}
	// StopAsked: end an attempt politely, then not.
	StopAsked struct {
		Token  uint64
		Ref    Ref
		Signal syscall.Signal
		Grace  time.Duration
		Reason string // the asker's own word, kept with the attempt
	}
	// Exited: the main process was reaped.
	Exited struct {
		Ref  Ref
		Exit Exit
	}
	// Lingers: after that, something the task started is still alive.
	Lingers struct{ Ref Ref }
	// Emptied: nothing of the task is alive, its output is written.
	Emptied struct {
		Ref    Ref
		Output Output
	}
	// AckAsked: these exits are known to the cluster.
	AckAsked struct {
		Token uint64
		Refs  []Ref
	}
	// ReleaseDone: the release was acknowledged, or failed.
	ReleaseDone struct {
		Session rota.Session
		OK      bool
	}
	// Tick: time has passed.
	Tick struct{}
)

// The actions.
type (
	// Reply answers a request. KindNone: done.
	Reply struct {
		Token   uint64
		Kind    rota.Kind
		Detail  string
		Refused bool // the command or working directory is at fault
	}
	// Fork starts the process of an attempt, which was noted. Started or
	// StartFailed must follow.
	Fork struct {
		Token uint64
		Ref   Ref
	}
	// Signal sends a signal to everything an attempt started.
	Signal struct {
		Ref    Ref
		Signal syscall.Signal
	}
	// Kill sends SIGKILL to everything an attempt started.
	Kill struct{ Ref Ref }
	// Watch looks until nothing of the attempt is alive: Lingers may follow once,
	// Emptied follows in the end.
	Watch struct{ Ref Ref }
	// Push tells the agent how the attempt stands.
	Push struct{ Ref Ref }
	// SessionOver tells the agent that its session has begun to be ended.
	SessionOver struct {
		Session rota.Session
		Why     Why
	}
	// Drop closes a connection that another agent has replaced.
	Drop struct{ Conn uint64 }
	// Release tells the cluster that nothing of the session is alive. ReleaseDone
	// must follow.
	Release struct {
		Session  rota.Session
		Left     bool // after a planned stop
		Attempts []Attempt
	}
	// CancelRelease gives up a release under way.
	CancelRelease struct{}
	// End ends the keeper.
	End struct{ Why Why }
)

func (AgentBack) isEvent()   {}
func (AgentGone) isEvent()   {}
func (PlannedStop) isEvent() {}
func (Begin) isEvent()       {}
func (Extend) isEvent()      {}
func (EndAsked) isEvent()    {}
func (NoteView) isEvent()    {}
func (SpawnAsked) isEvent()  {}
func (Started) isEvent()     {}
func (StartFailed) isEvent() {}
func (StopAsked) isEvent()   {}
func (Exited) isEvent()      {}
func (Lingers) isEvent()     {}
func (Emptied) isEvent()     {}
func (AckAsked) isEvent()    {}
func (ReleaseDone) isEvent() {}
func (Tick) isEvent()        {}

func (Reply) isAction()         {}
func (Fork) isAction()          {}
func (Signal) isAction()        {}
func (Kill) isAction()          {}
func (Watch) isAction()         {}
func (Push) isAction()          {}
func (SessionOver) isAction()   {}
func (Drop) isAction()          {}
func (Release) isAction()       {}
func (CancelRelease) isAction() {}
func (End) isAction()           {}
