package agent

import "github.com/rota-sched/rota"

// Action is something the shell is to do: a closed set, the types of this file.
// Each that asks something is answered by one event, also when it failed.
//
//sumtype:decl
type Action interface{ isAction() }

// Greet says hello to the keeper. Answer: Greeted.
type Greet struct{}

// Register asks for a new session. Answer: Registered.
type Register struct {
	Sent BootTime
	Node rota.RegisterNode
}

// Renew asks the leader to renew the session. Answer: Renewed, within the time
// that Core.RenewTimeout says.
type Renew struct {
	Session rota.Session
	Sent    BootTime
}

// Extend hands a lease to the keeper. Of several that wait only the newest need
// be carried out. Answer: Extended.
type Extend struct{ Lease Lease }

// Poll asks all voters for their last contact. Answer: Polled, within
// LeaseTimes.Poll.
type Poll struct{ Sent BootTime }

// OpenStream opens the stream of views, instead of any other. Answers: Viewed, in
// the end StreamEnded.
type OpenStream struct {
	Stream      uint64
	Session     rota.Session
	Incarnation uint16
	Index       uint64
}

// CloseStream ends the stream. No answer.
type CloseStream struct{ Stream uint64 }

// StartTask hands an attempt to its driver, but only before the given moment.
// Answer: Started, NotStarted or Ended; after Started, Ended or Lost.
type StartTask struct {
	Assignment rota.Assignment
	Before     BootTime
}

// AdoptTask hands the driver an attempt that the keeper holds. Answer: Started,
// Ended or Lost.
type AdoptTask struct{ Task Task }

// StopTask asks the driver to end an attempt. No answer of its own.
type StopTask struct {
	Ref   Ref
	How   rota.Stop
	Cause rota.Cause
}

// Probe tries whether the node could start an attempt. Answer: Probed.
type Probe struct{}

// TellFitness says why the node can start nothing, or with an empty Why that it
// can. Answer: FitnessTold.
type TellFitness struct {
	Session rota.Session
	Why     string
}

// SendReport reports attempts. Answer: Reported.
type SendReport struct {
	Batch  uint64
	Report rota.Report
}

// Ack lets the keeper forget attempts. No answer.
type Ack struct{ Refs []Ref }

// Release ends the session: nothing of it is alive. Answer: Released.
type Release struct {
	Session rota.Session
	Left    bool
	Items   []rota.ReportItem
}

// AnnounceLeave tells the keeper that the agent stops as planned. No answer.
type AnnounceLeave struct{}

// KillKeeper ends a keeper that does not answer. The answer is KeeperSaid.
type KillKeeper struct{}

// Say is a line for the node's log.
type Say struct {
	Warn  bool
	Text  string
	Pairs []any
}

// Done says that the agent has nothing left to do and ends.
type Done struct{}

func (Greet) isAction()         {}
func (Register) isAction()      {}
func (Renew) isAction()         {}
func (Extend) isAction()        {}
func (Poll) isAction()          {}
func (OpenStream) isAction()    {}
func (CloseStream) isAction()   {}
func (StartTask) isAction()     {}
func (AdoptTask) isAction()     {}
func (StopTask) isAction()      {}
func (Probe) isAction()         {}
func (TellFitness) isAction()   {}
func (SendReport) isAction()    {}
func (Ack) isAction()           {}
func (Release) isAction()       {}
func (AnnounceLeave) isAction() {}
func (KillKeeper) isAction()    {}
func (Say) isAction()           {}
func (Done) isAction()          {}
