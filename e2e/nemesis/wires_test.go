package nemesis

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// link is what happens to frames in one direction between two hosts. The zero link
// is a good one. ARP always passes: what is lost is lost silently, as far away.
type link struct {
	block  bool
	loss   float64       // share of frames, 0 to 1
	twice  float64       // share of frames that arrive twice
	delay  time.Duration // of every frame
	jitter time.Duration // up to so much more, so that frames overtake each other
	rate   int64         // bytes a second; 0: no bound
	only   []uint16      // TCP and UDP ports it is about; nil: everything
}

// wires is a switch in user space over TAP devices: the kernel's own cannot delay,
// reorder or duplicate everywhere.
type wires struct {
	mu    sync.RWMutex
	ports map[int]*os.File        // by host; -1: the test
	rule  func(from, to int) link // nil: all links are good
	busy  map[[2]int]time.Time    // when a link with a rate has sent what it was given
	thin  sync.Mutex              // guards busy
}

// maxBacklog bounds what waits for a thin line; more is lost.
const maxBacklog = 2 * time.Second

func newWires(t *testing.T) *wires {
	t.Helper()
	ws := &wires{ports: map[int]*os.File{}, busy: map[[2]int]time.Time{}}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("skipped: it takes TAP devices: %v", err)
	}
	t.Cleanup(func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		for _, f := range ws.ports {
			_ = f.Close() // the device goes with it
		}
	})
	return ws
}

// macOf is the address of a host; the switch reads it from the frames.
func macOf(i int) string { return fmt.Sprintf("02:00:00:00:00:%02x", i+2) }

// attach makes the TAP device of a host and carries what it sends.
func (ws *wires) attach(t *testing.T, i int, name string) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open /dev/net/tun: %v", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatalf("make the TAP device %s: %v", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	ws.mu.Lock()
	ws.ports[i] = f
	ws.mu.Unlock()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := f.Read(buf)
			if err != nil {
				return // closed
			}
			ws.carry(i, buf[:n])
		}
	}()
}

// carry brings a frame where its destination says.
func (ws *wires) carry(from int, frame []byte) {
	if len(frame) < 14 {
		return
	}
	to := int(frame[5]) - 2
	group := frame[0]&1 != 0
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	for port, f := range ws.ports {
		if port != from && (group || port == to) {
			ws.send(f, [2]int{from, port}, frame)
		}
	}
}

// send does to a frame what the rule says; ws.mu is held for reading.
func (ws *wires) send(f *os.File, path [2]int, frame []byte) {
	var l link
	if ws.rule != nil && path[0] >= 0 && path[1] >= 0 && binary.BigEndian.Uint16(frame[12:]) != 0x0806 {
		l = ws.rule(path[0], path[1])
	}
	if l.only != nil && !concerns(frame, l.only) {
		l = link{}
	}
	if l.block || (l.loss > 0 && rand.Float64() < l.loss) {
		return
	}
	copies := 1
	if l.twice > 0 && rand.Float64() < l.twice {
		copies = 2
	}
	for range copies {
		wait := l.delay
		if l.jitter > 0 {
			wait += rand.N(l.jitter)
		}
		if l.rate > 0 {
			late, ok := ws.queue(path, int64(len(frame)), l.rate)
			if !ok {
				return
			}
			wait += late
		}
		if wait <= 0 {
			_, _ = f.Write(frame) // a full device loses frames, as networks do
			continue
		}
		later := append([]byte(nil), frame...)
		time.AfterFunc(wait, func() { _, _ = f.Write(later) })
	}
}

// queue says how long a frame waits behind those before it on a thin line.
func (ws *wires) queue(path [2]int, size, rate int64) (time.Duration, bool) {
	ws.thin.Lock()
	defer ws.thin.Unlock()
	now := time.Now()
	at := ws.busy[path]
	if at.Before(now) {
		at = now
	}
	at = at.Add(time.Duration(size * int64(time.Second) / rate))
	if at.Sub(now) > maxBacklog {
		return 0, false
	}
	ws.busy[path] = at
	return at.Sub(now), true
}

// concerns reports whether a frame is TCP or UDP over IPv4 from or to one of the
// ports.
func concerns(frame []byte, ports []uint16) bool {
	const ether = 14
	if len(frame) < ether+20 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return false
	}
	ip := frame[ether:]
	head := int(ip[0]&15) * 4
	if (ip[9] != 6 && ip[9] != 17) || len(ip) < head+4 {
		return false
	}
	for _, p := range ports {
		if binary.BigEndian.Uint16(ip[head:]) == p || binary.BigEndian.Uint16(ip[head+2:]) == p {
			return true
		}
	}
	return false
}

// set changes what happens on the links between nodes; nil heals them. The test's
// own connections stay good.
func (ws *wires) set(rule func(from, to int) link) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.rule = rule
}

// split is a network in which frames pass only within a group.
func split(groups ...[]int) func(from, to int) link {
	of := map[int]int{}
	for g, hosts := range groups {
		for _, h := range hosts {
			of[h] = g + 1
		}
	}
	return func(from, to int) link { return link{block: of[from] != of[to]} }
}
