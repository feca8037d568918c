package sim

import (
	"fmt"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/leader"
)

// World is one history: machines, a network between them, people who submit work,
// and a nemesis.
type World struct {
	*engine
	cfg          Config
	times        rota.LeaseTimes
	leaderConfig leader.Config
	epoch        rota.Instant

	machines []*machine
	servers  []*machine // those that hold the log
	net      *network
	check    *checker
	people   *people

	noElections bool
	slack       time.Duration // the longest pause of a keeper that the lease times allow for
	keepers     int
	spins       int
}

// Config is what a history is made of.
type Config struct {
	Seed uint64
	// Faults is how long the nemesis is at work; then everything heals.
	Faults time.Duration
	// Settle is how long everything may take afterwards to come to its end.
	Settle time.Duration
	Runs   int  // submitted during the first two thirds of Faults
	Calm   bool // no nemesis
	Whole  bool // keep the whole story
	// Change may alter the world before it begins: for tests.
	Change func(*World)
}

// DefaultConfig is a history of a minute or so with the given seed.
func DefaultConfig(seed uint64) Config {
	return Config{Seed: seed, Faults: 40 * time.Second, Settle: 10 * time.Minute, Runs: 10}
}

// Result is what came of a history.
type Result struct {
	Digest   uint64 // equal for equal histories
	Ended    time.Duration
	Steps    int
	Entries  uint64
	Attempts int // processes started
	Tasks    int
	Faults   int
	Story    []string // the newest lines
	Err      error    // the promise that was broken; nil: all were kept
}

// Run runs a history to its end.
func Run(cfg Config) Result {
	w := newWorld(cfg)
	if cfg.Change != nil {
		cfg.Change(w)
	}
	w.begin()
	w.run(moment(cfg.Faults))
	w.heal()
	for end := w.now.add(cfg.Settle); w.failed == nil && w.now < end && w.restless() != ""; {
		w.run(w.now.add(500 * time.Millisecond))
	}
	if w.failed == nil {
		w.check.atTheEnd()
	}
	return Result{
		Digest: w.digest, Ended: time.Duration(w.now), Steps: w.steps, Entries: w.check.newest, Attempts: w.check.starts,
		Tasks: w.check.tasks(), Faults: w.check.faults, Story: w.story, Err: w.failed,
	}
}

func newWorld(cfg Config) *World {
	w := &World{engine: newEngine(cfg.Seed), cfg: cfg, times: rota.DefaultLeaseTimes(), epoch: rota.InstantOf(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))}
	w.whole = cfg.Whole
	switch w.rng.IntN(4) {
	case 0, 1:
		w.times = rota.FastLeaseTimes()
	case 2:
		w.times = tightTimes()
	}
	w.slack = w.times.Slack / 2
	w.leaderConfig = leader.DefaultConfig(w.times)
	w.net = &network{w: w, cut: map[[2]*machine]int{}, lag: map[[2]*machine]time.Duration{}}
	w.check = newChecker(w)
	w.people = &people{w: w, open: map[rota.RunID]bool{}}
	workers := w.rng.IntN(3)
	for i := range 3 + workers {
		m := &machine{
			w: w, id: rota.NodeID(fmt.Sprintf("node-%d", i+1)), name: fmt.Sprintf("n%d", i+1), server: i < 3,
			drift: w.rng.Int64N(2*rota.DriftPermille+1) - rota.DriftPermille, records: map[attemptRef]taskRecord{},
		}
		w.machines = append(w.machines, m)
		if m.server {
			m.disk = &disk{}
			w.servers = append(w.servers, m)
		}
	}
	return w
}

// tightTimes leave nothing to spare: what ignores SIGTERM lives until a moment
// before the deadline, and the leader waits exactly as long as it must.
func tightTimes() rota.LeaseTimes {
	t := rota.FastLeaseTimes()
	t.Term, t.Slack = t.Kill-60*time.Millisecond, 20*time.Millisecond
	t.LeaderTTL = t.TTL*(1000+rota.DriftPermille)/(1000-rota.DriftPermille) + t.Slack*(1000+rota.DriftPermille)/1000 + 1
	return t
}

// begin switches everything on.
func (w *World) begin() {
	w.tell("seed %d: %d machines, %d of them servers, TTL %v", w.cfg.Seed, len(w.machines), len(w.servers), w.times.TTL)
	for _, m := range w.machines {
		w.after(w.between(0, 500*time.Millisecond), m.boot0)
	}
	w.people.begin()
	if !w.cfg.Calm {
		w.nemesis()
	}
}

func (m *machine) boot() string { return fmt.Sprintf("%s-boot-%d", m.name, m.boots) }

func (m *machine) info() rota.NodeInfo {
	roles := []rota.Role{rota.RoleWorker}
	if m.server {
		roles = append(roles, rota.RoleServer)
	}
	info := rota.NodeInfo{
		ID: m.id, Name: m.name, Roles: roles, MaxFormat: 1, Drivers: []rota.Driver{rota.DriverExec, rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: 4000, MemoryBytes: 8 << 30, DiskBytes: 1 << 40, Slots: 8},
	}
	if m.id > "node-2" {
		info.Capacity.GPUs = []rota.GPU{{ID: "g0", Model: "H100", MemoryBytes: 80 << 30}, {ID: "g1", Model: "H100", MemoryBytes: 80 << 30}}
	}
	return info
}

// boot0 switches the machine on.
func (m *machine) boot0() {
	m.bootAt, m.lost = m.w.now, false
	m.boots++
	m.startNode()
}

// startNode starts the node's process.
func (m *machine) startNode() {
	if m.lost || m.node != nil && !m.node.dead {
		return
	}
	m.node = &program{m: m}
	if m.server {
		m.node.replica = newReplica(m)
	}
	a := m.startAgent(m.node)
	a.ended = func() {
		m.w.tell("%s: the agent has left", m.name)
		m.killNode()
		m.w.after(m.w.between(100*time.Millisecond, 4*time.Second), m.startNode)
	}
}

// killNode is SIGKILL for the node's process: server and agent.
func (m *machine) killNode() {
	p := m.node
	if p == nil || p.dead {
		return
	}
	if r := p.replica; r != nil {
		if m.w.chance(50) {
			r.save()
		}
		if g := r.reign; g != nil {
			g.over = true
			for t := range g.token {
				if s := g.streams[t+1]; s != nil {
					s.breakOff(errUnknown)
				}
			}
		}
	}
	if c := m.agent.conn; c != nil {
		c.cut()
	}
	p.dead = true
}

// killKeeper is SIGKILL for the keeper, and so for everything it runs.
func (m *machine) killKeeper() {
	if m.keeper != nil {
		m.keeper.end()
	}
}

// crash is the machine's sudden end.
func (m *machine) crash() {
	m.killNode()
	if k := m.keeper; k != nil && !k.p.dead {
		k.p.dead = true
		for _, x := range k.order {
			x.vanish()
		}
	}
	m.lost = true
}

// restless says what has not come to its end yet; empty: nothing.
func (w *World) restless() string {
	for _, m := range w.machines {
		if m.node == nil || m.node.dead || m.node.stopped {
			return m.name + " is not up"
		}
	}
	for _, m := range w.servers { // a follower learns of a commit with the next message
		if r := m.node.replica; r.applied+uint64(2*maxInFlight) < w.check.newest {
			return fmt.Sprintf("%s has applied %d of %d entries", m.name, r.applied, w.check.newest)
		}
	}
	if !w.people.idle() {
		return "a submission was never acknowledged"
	}
	return w.check.unfinished()
}
