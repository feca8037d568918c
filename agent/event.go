package agent

import "github.com/rota-sched/rota"

// Event is something that happened to the agent: a closed set, the types of this
// file. Events that answer an action carry what names it.
//
//sumtype:decl
type Event interface{ isEvent() }

// Tick says only that time has passed.
type Tick struct{}

// Greeted answers Greet. Tasks are the records of Kept.Attempts, in their order.
type Greeted struct {
	Kept  Kept
	Tasks []Task
	Err   error
}

// Registered answers Register. With ErrStale the session's counter is the newest
// that the cluster knows of.
type Registered struct {
	Sent    BootTime
	Session rota.Session
	Err     error
}

// Renewed answers Renew.
type Renewed struct {
	Session rota.Session
	Sent    BootTime
	Renewal rota.Renewal
	Err     error
}

// Extended answers Extend, perhaps only the newest of several.
type Extended struct {
	Lease Lease
	Err   error
}

// Polled answers Poll.
type Polled struct {
	Sent     BootTime
	Contacts []rota.Contact
	Err      error
}

// Viewed brings a view from the stream that OpenStream numbered.
type Viewed struct {
	Stream uint64
	View   *rota.View
}

// StreamEnded says that a stream could not be opened or has ended.
type StreamEnded struct {
	Stream uint64
	Err    error
}

// Started says that a driver runs the attempt, after StartTask or AdoptTask.
type Started struct{ Ref Ref }

// NotStarted says that nothing was started because the lease did not cover it, or
// with Unfit, because of something that is wrong with the node.
type NotStarted struct {
	Ref   Ref
	Unfit string
}

// Probed answers Probe. An error says why the node could not start an attempt.
type Probed struct{ Err error }

// FitnessTold answers TellFitness.
type FitnessTold struct {
	Session rota.Session
	Why     string
	Err     error
}

// Ended says how an attempt ended. Without Began it never started. Unreaped:
// something of it is still alive, and Reaped will follow.
type Ended struct {
	Ref      Ref
	Began    bool
	Outcome  rota.Outcome
	Unreaped bool
}

// Reaped says that nothing is left of an attempt that had ended unreaped.
type Reaped struct{ Ref Ref }

// Lost says that an attempt cannot be followed any more.
type Lost struct{ Ref Ref }

// Reported answers Report.
type Reported struct {
	Batch   uint64
	Answers []rota.Kind
	Err     error
}

// Released answers Release.
type Released struct{ Err error }

// KeeperSaid is an event of the keeper.
type KeeperSaid struct{ Event KeeperEvent }

// Leaving asks the agent to stop as planned; with Kill its tasks too.
type Leaving struct{ Kill bool }

func (Tick) isEvent()        {}
func (Greeted) isEvent()     {}
func (Registered) isEvent()  {}
func (Renewed) isEvent()     {}
func (Extended) isEvent()    {}
func (Polled) isEvent()      {}
func (Viewed) isEvent()      {}
func (StreamEnded) isEvent() {}
func (Started) isEvent()     {}
func (NotStarted) isEvent()  {}
func (Probed) isEvent()      {}
func (FitnessTold) isEvent() {}
func (Ended) isEvent()       {}
func (Reaped) isEvent()      {}
func (Lost) isEvent()        {}
func (Reported) isEvent()    {}
func (Released) isEvent()    {}
func (KeeperSaid) isEvent()  {}
func (Leaving) isEvent()     {}
