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
	clients  *clients
	trap     func(*machine) // hears of every poll

	noElections bool
	extreme     bool          // every clock is as wrong as it may be
	slack       time.Duration // the longest pause of a keeper that the lease times allow for
	saveEvery   uint64        // entries between two snapshots of a server
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
	Installs int      // snapshots that a follower took from its leader
	Unsynced int      // entries of the log that a disk lost
	Voters   int      // changes of the voters that were committed
	Raised   int      // formats above the first that took effect
	Calls    int      // of clients
	Story    []string // the newest lines
	Breaks   string   // which promise was broken; empty: all were kept
	Err      error    // how
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
		w.clients.undrainAll()
		w.run(w.now.add(500 * time.Millisecond))
	}
	if w.failed == nil {
		w.check.atTheEnd()
	}
	c := w.check
	return Result{
		Digest: w.digest, Ended: time.Duration(w.now), Steps: w.steps, Entries: c.newest, Attempts: c.starts,
		Tasks: c.tasks(), Faults: c.faults, Installs: c.installs, Unsynced: c.unsynced, Voters: c.voters, Raised: c.raised(), Calls: c.calls,
		Story: w.story, Breaks: string(w.breaks), Err: w.failed,
	}
}

func newWorld(cfg Config) *World {
	w := &World{engine: newEngine(cfg.Seed), cfg: cfg, epoch: rota.InstantOf(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))}
	w.whole = cfg.Whole
	w.times, w.extreme = w.pickTimes(), w.chance(60)
	w.slack = w.times.Slack / 2
	w.leaderConfig = leader.DefaultConfig(w.times)
	w.net = &network{w: w, cut: map[[2]*machine]int{}, lag: map[[2]*machine]time.Duration{}, held: map[*machine]moment{}}
	w.check = newChecker(w)
	w.people = &people{w: w, open: map[rota.RunID]bool{}}
	w.clients = &clients{w: w}
	w.saveEvery = 50 + uint64(w.rng.IntN(300)) //nolint:gosec // small
	voting, following, workers := 3, 0, w.rng.IntN(3)
	if !cfg.Calm {
		following = max(0, w.rng.IntN(4)-1)
	}
	for i := range voting + following + workers {
		w.addMachine(i, i < voting+following)
	}
	for _, m := range w.servers {
		m.disk = &disk{w: w, voters: []voters{{are: w.servers[:voting:voting]}}}
	}
	return w
}

func (w *World) addMachine(i int, server bool) {
	m := &machine{
		w: w, id: rota.NodeID(fmt.Sprintf("node-%d", i+1)), name: fmt.Sprintf("n%d", i+1), server: server,
		drift: w.rng.Int64N(2*rota.DriftPermille+1) - rota.DriftPermille, records: map[attemptRef]taskRecord{},
	}
	if w.extreme { // as wrong as it may be
		m.drift = rota.DriftPermille
		if w.chance(50) {
			m.drift = -m.drift
		}
	}
	w.machines = append(w.machines, m)
	if server {
		w.servers = append(w.servers, m)
	}
}

// pickTimes draws the lease times of a history.
func (w *World) pickTimes() rota.LeaseTimes {
	switch w.rng.IntN(5) {
	case 0:
		return rota.DefaultLeaseTimes()
	case 1:
		return rota.FastLeaseTimes()
	case 2:
		return tight(rota.DefaultLeaseTimes())
	}
	return tight(rota.FastLeaseTimes())
}

// tight leaves nothing to spare: what ignores SIGTERM lives until a moment before
// the deadline, and the leader waits exactly as long as it must.
func tight(t rota.LeaseTimes) rota.LeaseTimes {
	t.Term, t.Slack = t.Kill-50*time.Millisecond, 20*time.Millisecond
	t.LeaderTTL = t.TTL*(1000+rota.DriftPermille)/(1000-rota.DriftPermille) + t.Slack*(1000+rota.DriftPermille)/1000 + 1
	return t
}

// begin switches everything on.
func (w *World) begin() {
	w.tell("seed %d: %d machines, %d of them servers, TTL %v", w.cfg.Seed, len(w.machines), len(w.servers), w.times.TTL)
	for i, m := range w.machines {
		at := w.between(0, 500*time.Millisecond)
		if i >= 3 && !w.cfg.Calm && w.chance(40) { // it joins later
			at = w.between(3*time.Second, w.cfg.Faults*3/4)
		}
		w.after(at, m.boot0)
	}
	w.people.begin()
	if !w.cfg.Calm {
		w.clients.begin()
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
		ID: m.id, Name: m.name, Roles: roles, MaxFormat: m.reads, Drivers: []rota.Driver{rota.DriverExec, rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: 4000, MemoryBytes: 8 << 30, DiskBytes: 1 << 40, Slots: 8},
	}
	if m.id > "node-2" {
		info.Capacity.GPUs = []rota.GPU{{ID: "g0", Model: "H100", MemoryBytes: 80 << 30}, {ID: "g1", Model: "H100", MemoryBytes: 80 << 30}}
	}
	return info
}

// boot0 switches the machine on.
func (m *machine) boot0() {
	if m.left || m.boots > 0 && !m.lost {
		return
	}
	m.bootAt, m.lost = m.w.now, false
	m.boots++
	m.startNode()
}

// startNode starts the node's process.
func (m *machine) startNode() {
	if m.lost || m.left || m.boots == 0 || m.node != nil && !m.node.dead {
		return
	}
	m.upgrade()
	m.node = &program{m: m}
	if m.server {
		m.node.replica = newReplica(m)
	}
	a := m.startAgent(&program{m: m, of: m.node})
	a.ended = func() {
		m.w.tell("%s: the agent has left", m.name)
		m.killNode()
		if m.leaves {
			m.left = true
			return
		}
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
	if m.disk != nil && m.w.chance(60) {
		m.disk.lose(m.w)
	}
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
		if !m.left && !m.up() {
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
	if !w.clients.idle() {
		return "a client waits for an answer"
	}
	return w.check.unfinished()
}
