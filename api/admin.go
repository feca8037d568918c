package api

import (
	"context"
	"io"

	"github.com/rota-sched/rota"
)

// Admin is the care of the log's servers and of the state as a whole. Remove and
// Transfer return an error wrapping rota.ErrNoLeader on a node that does not lead.
type Admin interface {
	// Servers are the servers of the log, and those that want to be.
	Servers() []ServerDetail
	// Remove takes a server, by name, ID or prefix, out of the log for good.
	Remove(ctx context.Context, server string) (ServerDetail, error)
	// Transfer hands the lead to a server; to the one that is furthest if it is empty.
	Transfer(ctx context.Context, server string) error
	// Backup writes this node's state; unless stale is asked for, with all that was
	// acknowledged before.
	Backup(ctx context.Context, w io.Writer, stale bool) error
}

// ServerDetail is one server as the answering node sees it.
type ServerDetail struct {
	ID            rota.NodeID `json:"id"`
	Name          string      `json:"name"`
	Address       string      `json:"address"`
	Raft          string      `json:"raft"`
	State         string      `json:"state"` // leader, follower, non_voter, unreachable; joining, quarantined: not in the log
	Voter         bool        `json:"voter"`
	LastContactMs *int64      `json:"last_contact_ms"` // null: not known here
	Replaces      rota.NodeID `json:"replaces"`        // the ID under which it took part before it put its log aside
}

// TransferRequest names who is to lead.
type TransferRequest struct {
	To string `json:"to"` // name, ID or prefix; empty: the one that is furthest
}

// TransferView is who leads afterwards.
type TransferView struct {
	Leader *string `json:"leader"` // null: the election goes on
}
