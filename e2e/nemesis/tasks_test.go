package nemesis

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// TestTasksRunWild: what tasks do to their node stays with them.
func TestTasksRunWild(t *testing.T) {
	long(t)
	possible(t)
	w := newWorld(t, plan{nodes: 3})
	tl := w.follow(t)
	for _, f := range []fault{
		{name: "fork bomb of 600 processes that leave their session", hold: 6 * time.Second, do: wild(bombScript("86501"), "86501")},
		{name: "log flood from one task of each node", hold: 6 * time.Second, do: wild("exec yes 0123456789012345678901234567890123456789", "yes 0123456789012345678901234567890123456789")},
		{name: "setsid escape that ignores SIGTERM", hold: 4 * time.Second, do: wild(`(setsid sh -c 'trap "" TERM HUP; sleep 86502' </dev/null >/dev/null 2>&1 &); sleep 86502`, "86502")},
		{name: "300 watchers that never read", hold: 8 * time.Second, do: deafWatchers(300)},
	} {
		w.suffer(t, tl, f)
	}
}

// bombScript doubles processes until there are enough; without a bound it would be
// the machine that is tested.
func bombScript(mark string) string {
	return `i=0; while [ $i -lt 200 ]; do (setsid sh -c 'sleep ` + mark + ` & sleep ` + mark + ` & wait' </dev/null >/dev/null 2>&1 &); i=$((i+1)); done; sleep ` + mark
}

// wild runs a script on every node and cancels it; nothing of it may live on.
func wild(script, mark string) func(w *world) func() {
	return func(w *world) func() {
		var ids []rota.RunID
		for _, n := range w.nodes {
			source := fmt.Sprintf("job \"wild\" {\n task \"t\" {\n driver = \"exec\"\n command = [\"sh\", \"-c\", %q]\n"+
				"constraint {\n attribute = \"node.name\"\n operator = \"=\"\n value = %q\n}\n}\n}\n", script, n.name)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			run, _, err := n.client.Submit(ctx, &api.SubmitRequest{Source: &source, Filename: "wild.hcl"}, "")
			cancel()
			if err != nil {
				w.t.Fatal(err)
			}
			ids = append(ids, run.ID)
		}
		return func() {
			w.note("%d processes of it lived", len(alive(mark)))
			for _, id := range ids {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				_, err := w.nodes[0].client.CancelRun(ctx, string(id), "enough")
				cancel()
				if err != nil {
					w.t.Error(err)
				}
			}
			began := time.Now()
			eventually(w.t, 10*time.Second, "nothing of the wild task lives", func() (string, bool) {
				left := alive(mark)
				return fmt.Sprint(len(left), " live"), len(left) == 0
			})
			w.note("all gone %s after the cancel", seconds(time.Since(began)))
		}
	}
}

// alive are the command lines of processes that hold a mark.
func alive(mark string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if text := strings.ReplaceAll(string(b), "\x00", " "); strings.Contains(text, mark) && !strings.Contains(text, "nemesis.test") {
			found = append(found, text)
		}
	}
	return found
}

// deafWatchers open event streams at all nodes and read nothing of them.
func deafWatchers(count int) func(w *world) func() {
	return func(w *world) func() {
		var conns []net.Conn
		refused := 0
		for i := range count {
			n := w.nodes[i%len(w.nodes)]
			conn, err := net.DialTimeout("tcp", n.address(), time.Second)
			if err != nil {
				refused++
				continue
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(4 << 10) // the sender's buffers fill soon
			}
			_, _ = fmt.Fprintf(conn, "GET /v1/events?after=0 HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", n.address())
			conns = append(conns, conn)
		}
		if refused > 0 {
			w.note("%d connections were refused", refused)
		}
		return func() {
			for _, c := range conns {
				_ = c.Close()
			}
		}
	}
}
