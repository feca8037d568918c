package nemesis

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A clock is spoilt by building the program with changed sources: the wall clock
// that package time tells, the monotonic clock that the runtime's timers go by, and
// the boot-time clock that leases go by, where our own code reads it. They read how wrong they are
// from a file, which the test changes while the nodes run. The machine's own clock
// is never touched.

// patch is one change of a source; the build fails loudly where the anchor is not
// found any more.
type patch struct{ dir, file, anchor, instead string }

const timeSource = `
//go:linkname rotaSkew
func rotaSkew(ppm int64)

// rotaClock holds how wrong the clocks are: wall clock in ns, rate in millionths,
// boot time that the rate counts from.
var rotaClock = rotaOpen()

func rotaOpen() *[3]int64 {
	path, ok := syscall.Getenv("ROTA_WRONG_CLOCK")
	if !ok {
		return new([3]int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("ROTA_WRONG_CLOCK: " + err.Error())
	}
	b, err := syscall.Mmap(fd, 0, 24, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("ROTA_WRONG_CLOCK: " + err.Error())
	}
	c := (*[3]int64)(unsafe.Pointer(&b[0]))
	rotaSkew(c[1])
	return c
}

// RotaBoot is an instant of the boot-time clock at the wrong rate.
func RotaBoot(n int64) int64 { return n + (n-rotaClock[2])*rotaClock[1]/1000000 }

func rotaNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	if mono != 0 && rotaClock[1] != 0 {
		mono = runtimeNano()
	}
	if off := rotaClock[0]; off != 0 {
		n := int64(nsec) + off%1e9
		sec += off / 1e9
		if n < 0 {
			n, sec = n+1e9, sec-1
		}
		if n >= 1e9 {
			n, sec = n-1e9, sec+1
		}
		nsec = int32(n)
	}
	return sec, nsec, mono
}

// Monotonic times are reported as offsets from startNano.`

const runtimeSource = `	n := nanotime1()
	if rotaPPM != 0 {
		n += (n - rotaBase) * rotaPPM / 1000000
	}
	return n
}

var rotaPPM, rotaBase int64

//go:linkname rotaSkew time.rotaSkew
func rotaSkew(ppm int64) { rotaBase, rotaPPM = nanotime1(), ppm }`

// wrongClocks builds the program whose clocks can be wrong, once: with a changed
// runtime all of the standard library is compiled again, which takes minutes.
func wrongClocks(t *testing.T) string {
	t.Helper()
	possible(t, "go")
	dir := filepath.Join(os.TempDir(), "rota-nemesis-clocks")
	program := filepath.Join(dir, "rota")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // its own to the namespaces' temporary directory
		t.Fatal(err)
	}
	root, own := goSays(t, "env", "GOROOT"), goSays(t, "list", "-m", "-f", "{{.Dir}}")
	replace := map[string]string{}
	patches := []patch{
		{root, "src/time/time.go", "sec, nsec, mono := runtimeNow()", "sec, nsec, mono := rotaNow()"},
		{root, "src/time/time.go", "\n// Monotonic times are reported as offsets from startNano.", timeSource},
		{root, "src/time/time.go", "\t_ \"unsafe\" // for go:linkname", "\t\"syscall\"\n\t\"unsafe\""},
		{root, "src/runtime/time_nofake.go", "\treturn nanotime1()\n}", runtimeSource},
	}
	for _, file := range []string{"agent/boottime.go", "keeper/clock.go", "cluster/boottime_linux.go", "leader/shell.go"} {
		patches = append(patches, patch{own, file, "ts.Nano()", "time.RotaBoot(ts.Nano())"})
	}
	for _, p := range patches {
		from := filepath.Join(p.dir, p.file)
		to, again := replace[from]
		if !again {
			to = filepath.Join(dir, strings.ReplaceAll(p.file, "/", "_"))
			replace[from] = to
		} else {
			from = to
		}
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(b), p.anchor) != 1 {
			t.Fatalf("%s: the anchor %q is not there once: this version of Go looks different", p.file, p.anchor)
		}
		if err := os.WriteFile(to, []byte(strings.Replace(string(b), p.anchor, p.instead, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := build(program, overlay); err != nil {
		t.Fatal(err)
	}
	return program
}

func goSays(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// clocks are the files that say how wrong each node's clocks are.
type clocks struct {
	dir  string
	from int64 // boot time that rates count from
}

func newClocks(t *testing.T) *clocks {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return &clocks{t.TempDir(), ts.Nano()}
}

func (c *clocks) path(i int) string { return filepath.Join(c.dir, fmt.Sprintf("clock%d", i)) }

// set writes one node's file in place: its processes have it mapped.
func (c *clocks) set(t *testing.T, i int, wall time.Duration, ppm int64) {
	t.Helper()
	b := binary.NativeEndian.AppendUint64(nil, uint64(wall)) //nolint:gosec // the bits count
	b = binary.NativeEndian.AppendUint64(b, uint64(ppm))     //nolint:gosec // the bits count
	b = binary.NativeEndian.AppendUint64(b, uint64(c.from))  //nolint:gosec // the bits count
	f, err := os.OpenFile(c.path(i), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

func (c *clocks) env(i int) []string { return []string{"ROTA_WRONG_CLOCK=" + c.path(i)} }

// TestWallClocksJump: no clock that people can set decides anything.
func TestWallClocksJump(t *testing.T) {
	long(t)
	program := wrongClocks(t)
	c := newClocks(t)
	for i := range 3 {
		c.set(t, i, 0, 0)
	}
	w := newWorld(t, plan{nodes: 3, binary: program, env: c.env})
	tl := w.follow(t)
	jump := func(who func(w *world) []*node, by time.Duration) func(w *world) func() {
		return func(w *world) func() {
			victims := who(w)
			for _, n := range victims {
				c.set(w.t, n.i, by, 0)
			}
			return func() {
				for _, n := range victims {
					c.set(w.t, n.i, 0, 0)
					if strings.Contains(n.said(), "clock differs") {
						w.note("%s noticed it", n.name)
					}
				}
			}
		}
	}
	for _, f := range []fault{
		{name: "leader's wall clock 1 h ahead", hold: 14 * time.Second, do: jump(theLeader, time.Hour)},
		{name: "leader's wall clock 1 h behind", hold: 14 * time.Second, do: jump(theLeader, -time.Hour)},
		{name: "followers' wall clocks 1 h behind", hold: 8 * time.Second, do: jump(theFollowers, -time.Hour)},
	} {
		w.suffer(t, tl, f)
	}
}

// TestClocksRunAtOtherRates: within the bound nothing happens at all, far outside
// of it only the fence protects, and it does.
func TestClocksRunAtOtherRates(t *testing.T) {
	long(t)
	program := wrongClocks(t)
	for _, c := range []struct {
		name    string
		ppm     int64
		overlap bool
	}{{"0.5 %", 5_000, false}, {"20 %", 200_000, true}} {
		cl := newClocks(t)
		cl.set(t, 0, 0, c.ppm)
		cl.set(t, 1, 0, -c.ppm)
		cl.set(t, 2, 0, 0)
		w := newWorld(t, plan{nodes: 3, binary: program, env: cl.env})
		tl := w.follow(t)
		w.suffer(t, tl, fault{
			name: "rates +-" + c.name + ", leader stopped 4 s", hold: 4 * time.Second, overlap: c.overlap, do: hangs(theLeader, agentOf),
		})
		w.suffer(t, tl, fault{
			name: "rates +-" + c.name + ", a host gone", hold: 14 * time.Second, overlap: c.overlap, do: dies(aFollower, (*node).killHost),
		})
	}
}
