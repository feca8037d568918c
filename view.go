package rota

import "time"

// View is what the leader pushes to a node: which attempts it is to run and which
// it is to end. Views are ordered by (Incarnation, Index); a node refuses one
// older than the newest it has seen.
type View struct {
	Incarnation uint16
	Term        uint64
	Index       uint64 // of the entry that it follows from
	Session     Session
	// Full says that Start and Stop together are everything the session holds:
	// what else the node runs is to end. Otherwise only what changed.
	Full  bool
	Start []Assignment
	Stop  []StopOrder
}

// Assignment is a placement with all the node needs to start it.
type Assignment struct {
	Task           TaskID
	Namespace      string
	Job            string
	Fence          Fence
	IdempotencyKey string // the same for all attempts of the task
	GPUs           []GPUGrant
	Spec           *TaskSpec
}

// StopOrder ends an attempt whose result is not wanted any more.
type StopOrder struct {
	Task  TaskID
	Fence Fence
	Cause Cause // CauseCancelled, CausePreempted, CauseTimeoutTotal ...
}

// Renewal is the leader's answer to a node that asked for its lease, given only
// after the renewal was committed.
type Renewal struct {
	Current     bool // false: the session is over; register a new one
	Incarnation uint16
	Term        uint64
	Index       uint64 // of the entry that renewed
	Leader      NodeID
}

// LeaseTimes are the constants of the lease protocol. (Source: RELIABILITY.md,
// section 2; Check is its inequality.)
type LeaseTimes struct {
	TTL       time.Duration // T: the node's deadline is TTL after it sent a renewal
	Renew     time.Duration // h: between renewals
	Kill      time.Duration // K: to end every process, of which Term is the polite part
	Term      time.Duration // between SIGTERM and SIGKILL when the lease runs out
	Slack     time.Duration // G: scheduling slack
	Gap       time.Duration // X: longest gap in a leader's commits over which it may still expire sessions
	Poll      time.Duration // r_max: longest poll that may extend a deadline
	LeaderTTL time.Duration // T_L: the leader waits this long after the commit of the last renewal
	Adopt     time.Duration // how long a keeper waits for its agent to come back
}

// DefaultLeaseTimes notices a vanished host after 10.8 s.
func DefaultLeaseTimes() LeaseTimes {
	return LeaseTimes{
		TTL: 10 * time.Second, Renew: time.Second, Kill: 3 * time.Second, Term: 2 * time.Second, Slack: 500 * time.Millisecond,
		Gap: time.Second, Poll: 2 * time.Second, LeaderTTL: 10800 * time.Millisecond, Adopt: 2 * time.Second,
	}
}

// FastLeaseTimes notices a vanished host after 3.3 s, at the risk of killing
// healthy work on a starved node.
func FastLeaseTimes() LeaseTimes {
	return LeaseTimes{
		TTL: 3 * time.Second, Renew: 250 * time.Millisecond, Kill: 800 * time.Millisecond, Term: 400 * time.Millisecond, Slack: 200 * time.Millisecond,
		Gap: 300 * time.Millisecond, Poll: 500 * time.Millisecond, LeaderTTL: 3300 * time.Millisecond, Adopt: time.Second,
	}
}

// DriftPermille is the clock-rate error, in thousandths, that the times allow for.
const DriftPermille = 10

// Check reports whether the times keep two attempts from running at once:
// T_L >= T(1+rho)/(1-rho) + G(1+rho), K + 2h < T and X + 2h + r_max < T - K.
func (t LeaseTimes) Check() error {
	need := t.TTL*(1000+DriftPermille)/(1000-DriftPermille) + t.Slack*(1000+DriftPermille)/1000
	switch {
	case t.LeaderTTL < need:
		return &Refusal{Kind: KindInvalid, Detail: "lease times: the leader's TTL " + t.LeaderTTL.String() + " is shorter than " + need.String()}
	case t.Kill+2*t.Renew >= t.TTL:
		return &Refusal{Kind: KindInvalid, Detail: "lease times: kill time and two renewals do not fit into the TTL"}
	case t.Gap+2*t.Renew+t.Poll >= t.TTL-t.Kill:
		return &Refusal{Kind: KindInvalid, Detail: "lease times: gap, two renewals and a poll do not fit before the kill time"}
	case t.Term >= t.Kill:
		return &Refusal{Kind: KindInvalid, Detail: "lease times: the polite part is not shorter than the kill time"}
	}
	return nil
}

// Contact is what a voter answers to a node that cannot reach a leader (rule 7 of
// RELIABILITY.md, section 2): how long ago its log store last stored a leader's
// entries, under which configuration.
type Contact struct {
	Server      NodeID        `json:"server"`
	Voter       bool          `json:"voter"`
	Voters      []NodeID      `json:"voters"` // of the configuration
	ConfigIndex uint64        `json:"config_index"`
	Age         time.Duration `json:"age_ns"`
}
