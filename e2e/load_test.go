package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// submitter is a client that submits runs one after the other.
type submitter struct {
	quit    chan struct{}
	end     sync.Once
	wg      sync.WaitGroup
	ids     []string      // acknowledged; the client's until wg is done
	longest time.Duration // from one acknowledgement to the next; the same
}

// submitOn starts a client that asks the nodes in turn.
func submitOn(t *testing.T, nodes ...*process) *submitter {
	t.Helper()
	s := &submitter{quit: make(chan struct{})}
	s.wg.Go(func() {
		last := time.Now()
		for n := 0; ; n++ {
			select {
			case <-s.quit:
				return
			default:
			}
			p := nodes[n%len(nodes)]
			out, _, code := rotaIn(p, "", 10*time.Second, "run", "--idempotency-key", fmt.Sprintf("%s-%d", p.name, n), "--", "true")
			if code != 0 {
				continue
			}
			s.ids = append(s.ids, strings.TrimSpace(out))
			s.longest = max(s.longest, time.Since(last))
			last = time.Now()
		}
	})
	t.Cleanup(func() { s.stop() })
	return s
}

// stop ends the client and gives the runs that were acknowledged.
func (s *submitter) stop() []string {
	s.end.Do(func() { close(s.quit) })
	s.wg.Wait()
	return s.ids
}

// allSucceed waits until a node says of all runs that they succeeded.
func allSucceed(t *testing.T, p *process, ids []string) {
	t.Helper()
	left := ids
	eventually(t, 30*time.Second, "all runs succeed", func() (string, bool) {
		for ; len(left) > 0; left = left[1:] {
			if status := runStatus(t, p, left[0]); status != "succeeded" {
				return fmt.Sprintf("run %s: %s", left[0], status), false
			}
		}
		return "", true
	})
}

// runStatus asks a node for the status of a run over HTTP, which is much cheaper than a
// process for each; what stands in the way of an answer is one as well.
func runStatus(t *testing.T, p *process, id string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+"/v1/runs/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	var run runView
	if err := json.NewDecoder(res.Body).Decode(&run); err != nil {
		return err.Error()
	}
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return run.Status
}
