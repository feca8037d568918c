package cluster

import (
	"errors"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

// errHung is what other servers hear, and Raft itself, while the disk hangs.
var errHung = errors.New("this server's disk does not answer")

// gate is Raft's transport while the disk works, and a closed door while it hangs:
// a server that cannot store must neither keep its followers quiet nor count as
// alive with its leader. (The main loop hangs with the disk, but heartbeats are
// sent and answered beside it.)
type gate struct {
	*raft.NetworkTransport
	hung    func() bool
	contact *contacts
	// serves reports whether this node leads, and the server is one of the log's.
	serves func(raft.ServerID) bool
}

func (g *gate) open() error {
	if g.hung() {
		return errHung
	}
	return nil
}

// SetHeartbeatHandler implements raft.Transport.
func (g *gate) SetHeartbeatHandler(handle func(raft.RPC)) {
	g.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if err := g.open(); err != nil {
			rpc.Respond(nil, err)
			return
		}
		g.contact.heardLeader()
		handle(rpc)
	})
}

// AppendEntriesPipeline implements raft.Transport.
func (g *gate) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	p, err := g.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(p, g), nil
}

// AppendEntries implements raft.Transport.
func (g *gate) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := g.open(); err != nil {
		return err
	}
	failed := time.Now()
	err := g.NetworkTransport.AppendEntries(id, target, args, resp)
	if err != nil && !heartbeat(args) && g.awaitPeer(id, failed) {
		err = g.NetworkTransport.AppendEntries(id, target, args, resp)
	}
	if err == nil {
		g.contact.reached(rota.NodeID(id))
	}
	return err
}

// peerLook is how often a server that was not reached is looked for: much less than the
// time between two heartbeats.
const peerLook = 20 * time.Millisecond

// heartbeat reports whether a call carries nothing of the log.
func heartbeat(args *raft.AppendEntriesRequest) bool {
	return args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
}

// awaitPeer holds the sender of entries until heartbeats, which go on beside it, reach
// the server again. Raft itself would try less and less often, up to every 10 s, and a
// server that was away for long would stay behind for as long after its return. False:
// this node does not lead any more, or the server is not one of the log's.
func (g *gate) awaitPeer(id raft.ServerID, failed time.Time) bool {
	for g.serves(id) && g.open() == nil {
		if since := g.contact.since(rota.NodeID(id)); since >= 0 && time.Since(failed) > since {
			return true
		}
		time.Sleep(peerLook)
	}
	return false
}

// RequestVote implements raft.Transport.
func (g *gate) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if err := g.open(); err != nil {
		return err
	}
	return g.NetworkTransport.RequestVote(id, target, args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (g *gate) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := g.open(); err != nil {
		return err
	}
	return g.NetworkTransport.RequestPreVote(id, target, args, resp)
}

// InstallSnapshot implements raft.Transport.
func (g *gate) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if err := g.open(); err != nil {
		return err
	}
	return g.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
}
