package keeper

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is what /proc says of one, in two PID namespaces: as /proc numbers it,
// and as this process may signal it.
type process struct {
	outer, parent int // by /proc
	pid           int // ours
	pgid, sid     int // ours
	zombie        bool
	kernel        bool // no program at all
}

// processes lists what this process could signal, by its number in /proc, and its
// own number there.
func processes() (all map[int]*process, self int) {
	self = 0
	if link, err := os.Readlink("/proc/self"); err == nil {
		self, _ = strconv.Atoi(link) // zero then: nothing is found below it
	}
	all = map[int]*process{}
	depth := 0
	if me, ok := readStatus(self, 0); ok {
		depth = me.depth - 1
	}
	d, err := os.Open("/proc")
	if err != nil {
		return all, self
	}
	defer d.Close() //nolint:errcheck // only read from
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if st, ok := readStatus(n, depth); ok {
			all[n] = &st.process
		}
	}
	return all, self
}

type status struct {
	process
	depth int // of its PID namespace below /proc's, from 1
}

// readStatus reads /proc/N/status; depth chooses among the numbers that the
// process has in the namespaces from /proc's down to its own.
func readStatus(n, depth int) (status, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(n) + "/status")
	if err != nil {
		return status{}, false
	}
	st := status{process: process{outer: n, kernel: true}}
	for line := range bytes.Lines(b) {
		key, value, _ := strings.Cut(string(line), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		at := func() int {
			if depth >= len(fields) {
				return 0 // it is not in our namespace
			}
			v, _ := strconv.Atoi(fields[depth]) // zero then: nobody
			return v
		}
		switch key {
		case "State":
			st.zombie = fields[0] == "Z" || fields[0] == "X"
		case "VmSize":
			st.kernel = false
		case "PPid":
			st.parent, _ = strconv.Atoi(fields[0]) // zero then: nobody's child
		case "NSpid":
			st.pid, st.depth = at(), len(fields)
		case "NSpgid":
			st.pgid = at()
		case "NSsid":
			st.sid = at()
		}
	}
	return st, st.pid > 0
}

// scan is the result of one walk.
type scan struct {
	began   time.Time
	live    int // groups
	members map[*markGroup][]*process
	unknown []*process // below the keeper, without a mark
	silent  bool       // somebody shows no environment
}

// members finds what is alive of a group. doubt: there are processes that do not
// say whose they are.
func (t *tree) members(g *markGroup) (out []*process, doubt bool) {
	s := t.look(time.Now())
	out = s.members[g]
	if s.live == 1 && len(s.unknown) > 0 { // whose else
		return append(slices.Clone(out), s.unknown...), s.silent
	}
	return out, s.silent || len(s.unknown) > 0
}

// look gives a walk that began after the moment: those who ask while one is under
// way share the next.
func (t *tree) look(asked time.Time) *scan {
	t.scanning.Lock()
	defer t.scanning.Unlock()
	if t.scan == nil || t.scan.began.Before(asked) {
		t.scan = t.walkAll()
	}
	return t.scan
}

// walkAll looks at all processes. What bears the mark of a group that is gone is
// killed on the way.
func (t *tree) walkAll() *scan {
	s := &scan{began: time.Now(), members: map[*markGroup][]*process{}}
	w := walk{tree: t, roots: map[int]*markGroup{}, marks: map[string]*markGroup{}, known: map[int]*markGroup{}}
	w.all, w.self = processes()
	// The groups after the processes: whatever was forked, its group is there.
	t.mu.Lock()
	for o := range t.groups {
		w.marks[o.name] = o
		if pid := o.main(); pid != 0 {
			w.roots[pid] = o
		}
	}
	s.live = len(t.groups)
	t.mu.Unlock()
	for _, p := range w.all {
		if p.zombie || p.outer == w.self || p.kernel {
			continue
		}
		switch owner, of := w.owner(p); of {
		case ofGroup:
			s.members[owner] = append(s.members[owner], p)
		case ofUnknown:
			s.unknown = append(s.unknown, p)
		case ofSilent:
			s.silent = true
		case ofStray:
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended
		case ofNobody:
		}
	}
	return s
}

// walk is one look at all processes.
type walk struct {
	tree  *tree
	all   map[int]*process
	self  int
	roots map[int]*markGroup // by our number of the main process
	marks map[string]*markGroup
	known map[int]*markGroup // by /proc's number
}

// of says what a process without an owner is.
type of int

const (
	ofNobody  of = iota // no business of ours
	ofGroup             // it has an owner
	ofUnknown           // it descends from the keeper and has dropped its mark, or is about to show one
	ofSilent            // it shows no environment, and could be anybody's
	ofStray             // it bears the mark of a group that is gone
)

// owner finds whose a process is: that of the process group, session or parents,
// else that of its mark.
func (w *walk) owner(p *process) (*markGroup, of) {
	below, orphan := false, false
	for at, hops := p, 0; hops < 1000; hops++ {
		for _, o := range []*markGroup{w.known[at.outer], w.roots[at.pid], w.roots[at.pgid], w.roots[at.sid]} {
			if o != nil {
				w.known[p.outer] = o
				return o, ofGroup
			}
		}
		parent := w.all[at.parent]
		if at.parent == w.self || parent == nil {
			below = at.parent == w.self
			orphan = parent == nil && at.parent != 0 // it died during the walk
			break
		}
		at = parent
	}
	if !below && !orphan && w.tree.walk {
		return nil, ofNobody
	}
	mark, shown := markOf(p.outer)
	switch o := w.marks[mark]; {
	case o != nil:
		w.known[p.outer] = o
		return o, ofGroup
	case strings.HasPrefix(mark, w.tree.id+"."):
		return nil, ofStray
	case below:
		return nil, ofUnknown
	case !shown, orphan:
		return nil, ofSilent
	}
	return nil, ofNobody
}

// markOf reads the keeper's mark from a process's environment. shown: it has an
// environment, or one that is not for us to read.
func markOf(outer int) (mark string, shown bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(outer) + "/environ")
	if err != nil {
		return "", true
	}
	for kv := range bytes.SplitSeq(b, []byte{0}) {
		if v, ok := bytes.CutPrefix(kv, []byte(markKey+"=")); ok {
			return string(v), true
		}
	}
	return "", len(b) > 0
}

// startTime is when a process started, in ticks since the boot: with the PID it
// names a process for good.
func startTime(pid int) (int64, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return 0, false
	}
	start, err := strconv.ParseInt(fields[19], 10, 64)
	return start, err == nil
}
