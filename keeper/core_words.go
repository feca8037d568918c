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
	// AgentBack says that an agent made its main connection. Connections are numbered from 1.
	AgentBack struct{ Conn uint64 }
	// AgentGone says that this connection is lost.
	AgentGone struct{ Conn uint64 }
	// PlannedStop says that the agent goes on purpose.
	PlannedStop struct{ Token, Conn uint64 }
	// Begin hands over a session that the agent registered; of the present one, it
	// extends the lease.
	Begin struct {
		Token    uint64
		Session  rota.Session
		Deadline BootTime // 0: nothing may start yet
	}
	// Extend says that the lease was renewed. A deadline never goes back.
	Extend struct {
		Token    uint64
		Session  rota.Session
		Deadline BootTime
	}
	// EndAsked says that the cluster or the agent has given up the session.
	EndAsked struct {
		Token   uint64
		Session rota.Session
	}
	// NoteView says that the agent acted on this view.
	NoteView struct {
		Token uint64
		View  ViewMark
	}
	// SpawnAsked asks for the start of an attempt.
	SpawnAsked struct {
		Token   uint64
		Ref     Ref
		Session rota.Session
		Meta    json.RawMessage
	}
	// Started says that the process runs.
	Started struct {
		Token uint64
		Ref   Ref
		PID   int
	}
	// StartFailed says that it could not be started.
	StartFailed struct {
		Token   uint64
		Ref     Ref
		Kind    rota.Kind
		Detail  string
		Refused bool
	}
	// StopAsked asks to end an attempt politely, then not.
	StopAsked struct {
		Token  uint64
		Ref    Ref
		Signal syscall.Signal
		Grace  time.Duration
		Reason string // the asker's own word, kept with the attempt
	}
	// Exited says that the main process was reaped.
	Exited struct {
		Ref  Ref
		Exit Exit
	}
	// Lingers says that after this something that the task started is still alive.
	Lingers struct{ Ref Ref }
	// Emptied says that nothing of the task is alive and its output is written.
	Emptied struct {
		Ref    Ref
		Output Output
	}
	// AckAsked says that the cluster knows these exits.
	AckAsked struct {
		Token uint64
		Refs  []Ref
	}
	// ReleaseDone says that the release was acknowledged, or failed.
	ReleaseDone struct {
		Session rota.Session
		OK      bool
	}
	// Tick says that time has passed.
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
