package rota

import (
	"fmt"
	"strconv"
	"strings"
)

// NodeID is the identity of a node: a UUID kept in its data directory. A node's
// name and addresses may change, its ID does not.
type NodeID string

// RunID is a ULID of 26 characters whose last two characters are the shard that
// holds the run ("00" while there is one). It is minted by the server that
// received the submission.
type RunID string

// ShardSuffix is the shard part of every run's ID while a cluster has one shard.
const ShardSuffix = "00"

// TaskID names a task of a run everywhere: RUN/KEY on the wire.
type TaskID struct {
	Run RunID
	Key TaskKey
}

// String gives the address of the task as people write it, RUN/KEY.
func (t TaskID) String() string { return string(t.Run) + "/" + string(t.Key) }

// Compare orders task IDs by run, then key; it returns -1, 0 or +1.
func (t TaskID) Compare(o TaskID) int {
	if c := strings.Compare(string(t.Run), string(o.Run)); c != 0 {
		return c
	}
	return strings.Compare(string(t.Key), string(o.Key))
}

// Session is one life of a node process as the cluster committed it: node, the
// boot id of its machine or container, and a counter that grows with every
// registration. The zero Session belongs to nobody.
type Session struct {
	Node    NodeID `json:"node"`
	Boot    string `json:"boot"`
	Counter uint64 `json:"counter"`
}

// IsZero reports whether s names no session.
func (s Session) IsZero() bool { return s == Session{} }

// String is for logs: node/counter.
func (s Session) String() string { return string(s.Node) + "/" + strconv.FormatUint(s.Counter, 10) }

// Fence orders the attempts of one task for ever: the cluster's incarnation in
// the high 16 bits (raised by a restore), the attempt's number in the low 48. It
// is a decimal string in JSON, since many readers lose bits above 2^53.
type Fence uint64

// MaxAttempt is the largest attempt number that a fence can carry.
const MaxAttempt = 1<<48 - 1

// NewFence composes a fence. Attempt numbers above MaxAttempt are cut off.
func NewFence(incarnation uint16, attempt uint64) Fence {
	return Fence(uint64(incarnation)<<48 | attempt&MaxAttempt)
}

// Attempt is the attempt's number within its task, from 1.
func (f Fence) Attempt() uint64 { return uint64(f) & MaxAttempt }

// Incarnation is the cluster's incarnation under which the fence was given out.
func (f Fence) Incarnation() uint16 { return uint16(f >> 48) }

func (f Fence) String() string { return strconv.FormatUint(uint64(f), 10) }

// MarshalText implements encoding.TextMarshaler.
func (f Fence) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Fence) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("fence %q: want an unsigned decimal number: %w", b, err)
	}
	*f = Fence(n)
	return nil
}
