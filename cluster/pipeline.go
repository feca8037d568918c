package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// answersKept is how many answers a pipeline keeps that Raft does not fetch: those
// to the messages that it still sends after it stopped listening.
const answersKept = 256

// pipeline is Raft's pipeline to a follower behind the gate. It fetches the answers
// from the transport whether Raft wants them or not: Raft stops fetching at the
// first answer that is not a success and may send once more before it notices;
// sender and receiver of the transport then wait for each other, and the follower,
// kept quiet by heartbeats, gets no entry any more until its leader is restarted.
// (Source: hashicorp/raft issue 612; grafana/pyroscope pull request 5518. Found here
// by TestRealServersInTroubleLoseNothing, seed 80.)
type pipeline struct {
	raft.AppendPipeline
	gate    *gate
	answers chan raft.AppendFuture
	quit    chan struct{}
	once    sync.Once
}

func newPipeline(inner raft.AppendPipeline, g *gate) *pipeline {
	p := &pipeline{AppendPipeline: inner, gate: g, answers: make(chan raft.AppendFuture, answersKept), quit: make(chan struct{})}
	go p.fetch()
	return p
}

// fetch ends with Close.
func (p *pipeline) fetch() {
	for {
		select {
		case a := <-p.AppendPipeline.Consumer():
			select {
			case p.answers <- a:
			case <-p.quit:
				return
			}
		case <-p.quit:
			return
		}
	}
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if err := p.gate.open(); err != nil {
		return nil, err
	}
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.quit) })
	return p.AppendPipeline.Close()
}
