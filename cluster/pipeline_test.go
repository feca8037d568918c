package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestAFollowerThatRefusesDoesNotStopTheSender, although nobody fetches its answers.
// (Source: hashicorp/raft issue 612.)
func TestAFollowerThatRefusesDoesNotStopTheSender(t *testing.T) {
	leader, follower := loopback(t), loopback(t)
	go func() {
		for rpc := range follower.Consumer() {
			rpc.Respond(&raft.AppendEntriesResponse{Success: false}, nil)
		}
	}()
	g := &gate{NetworkTransport: leader, hung: func() bool { return false }, contact: &contacts{}}
	p, err := g.AppendEntriesPipeline("follower", follower.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		for i := range uint64(20) {
			req := &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: i + 1, PrevLogTerm: 1}
			if _, err := p.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the sender waits for ever")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func loopback(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	trans, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, time.Second, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = trans.Close() })
	return trans
}
