package keeper

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// process is what /proc says of one, in two PID namespaces: as /proc numbers it,
// and as this process may signal it.
type process struct {
	outer, parent int // by /proc
	pid           int // ours
	pgid, sid     int // ours
	zombie        bool
}

// processes lists what this process could signal, by its number in /proc, and its
// own number there.
func processes() (all map[int]*process, self int) {
	self = 0
	if link, err := os.Readlink("/proc/self"); err == nil {
		self, _ = strconv.Atoi(link) //nolint:errcheck // zero then: nothing is found below it
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
	st := status{process: process{outer: n}}
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
			v, _ := strconv.Atoi(fields[depth]) //nolint:errcheck // zero then: nobody
			return v
		}
		switch key {
		case "State":
			st.zombie = fields[0] == "Z" || fields[0] == "X"
		case "PPid":
			st.parent, _ = strconv.Atoi(fields[0]) //nolint:errcheck // zero then: nobody's child
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

// members finds what is alive of a group.
func (t *tree) members(g *markGroup) []*process {
	all, self := processes()
	t.mu.Lock()
	roots := map[int]*markGroup{} // by our number of the main process
	marks := map[string]*markGroup{}
	for o := range t.groups {
		if pid, _ := o.main(); pid != 0 {
			roots[pid] = o
			marks[o.name] = o
		}
	}
	t.mu.Unlock()
	owners := map[int]*markGroup{}
	var out []*process
	for _, p := range all {
		if p.zombie || p.outer == self {
			continue
		}
		owner, ours := t.owner(p, all, self, roots, marks, owners)
		if owner == g || owner == nil && ours && len(roots) == 1 && roots[mainOf(g)] == g {
			out = append(out, p)
		}
	}
	return out
}

func mainOf(g *markGroup) int {
	pid, _ := g.main()
	return pid
}

// owner finds whose a process is: that of the process group, session or mark, else
// its parent's. ours: it descends from the keeper, or bears its mark.
func (t *tree) owner(p *process, all map[int]*process, self int, roots map[int]*markGroup, marks map[string]*markGroup, known map[int]*markGroup) (owner *markGroup, ours bool) {
	for at, hops := p, 0; hops < 1000; hops++ {
		if o := known[at.outer]; o != nil {
			owner = o
		} else if o := roots[at.pid]; o != nil {
			owner = o
		} else if o := roots[at.pgid]; o != nil {
			owner = o
		} else if o := roots[at.sid]; o != nil {
			owner = o
		}
		if owner != nil {
			known[p.outer] = owner
			return owner, true
		}
		parent := all[at.parent]
		if at.parent == self || parent == nil {
			ours = at.parent == self
			break
		}
		at = parent
	}
	if !ours && t.walk {
		return nil, false
	}
	if mark, ok := markOf(p.outer); ok {
		if o := marks[mark]; o != nil {
			known[p.outer] = o
			return o, true
		}
	}
	return nil, ours
}

// markOf reads the keeper's mark from a process's environment.
func markOf(outer int) (string, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(outer) + "/environ")
	if err != nil {
		return "", false
	}
	for kv := range bytes.SplitSeq(b, []byte{0}) {
		if v, ok := bytes.CutPrefix(kv, []byte(markKey+"=")); ok {
			return string(v), true
		}
	}
	return "", false
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
