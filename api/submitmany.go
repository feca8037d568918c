package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-sched/rota"
)

// Bounds of an array of submissions.
const (
	maxItems      = 1000
	maxManyBytes  = 4 << 20 // of operations that are proposed together, about
	itemsPerHelp  = 32      // so many items are worth another goroutine
	operationHead = 256     // about what an operation has beside its specs and tasks
)

// postMany answers each item of an array by itself. Their operations are proposed
// together.
func (s *Server) postMany(ctx context.Context, w http.ResponseWriter, r *http.Request, b []byte, key string) error {
	var items []json.RawMessage
	if err := decodeStrict(b, &items); err != nil {
		return err
	}
	if len(items) > maxItems {
		p := newProblem(TypeTooLarge, fmt.Sprintf("%d submissions in one array, the limit is %d: send several", len(items), maxItems))
		p.Limit = "submissions"
		return p
	}
	m := &manySubmissions{server: s, ctx: ctx, key: key, items: items, subs: make([]*submission, len(items)), errs: make([]error, len(items)), results: make([]rota.Result, len(items))}
	m.prepareAll()
	m.startAll()
	answers := make([]SubmitAnswer, len(items))
	last := uint64(0)
	for i := range items {
		answers[i] = m.answer(r, i)
		last = max(last, m.results[i].Index)
	}
	w.Header().Set(headerIndex, strconv.FormatUint(last, 10))
	return answer(w, http.StatusOK, answers)
}

// manySubmissions is an array of submissions on its way; the lists are by item.
type manySubmissions struct {
	server  *Server
	ctx     context.Context //nolint:containedctx // of the one request that this is
	key     string
	items   []json.RawMessage
	subs    []*submission
	results []rota.Result
	errs    []error
}

// prepareAll reads and checks the items, with some help where they are many.
func (m *manySubmissions) prepareAll() {
	var next atomic.Int64
	work := func() {
		var last []byte // equal items, one after another, are read once
		var req *request
		var sum digest
		for {
			i := int(next.Add(1)) - 1
			if i >= len(m.items) {
				return
			}
			if req == nil || !bytes.Equal(last, m.items[i]) {
				var err error
				if req, sum, err = m.server.requestOf(m.items[i]); err != nil {
					m.errs[i], req = err, nil
					continue
				}
				last = m.items[i]
			}
			m.subs[i], m.errs[i] = m.prepare(req, sum, i)
		}
	}
	var helpers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(m.items)/itemsPerHelp+1) - 1 {
		helpers.Go(work)
	}
	work()
	helpers.Wait()
}

func (m *manySubmissions) prepare(req *request, sum digest, i int) (*submission, error) {
	if req.version != nil {
		return nil, newProblem(TypeInvalid, "an array starts runs of stored jobs; send job files one at a time")
	}
	key := m.key
	if key != "" {
		key += "/" + strconv.Itoa(i)
	}
	if req.Key != "" {
		if err := checkKey(req.Key); err != nil {
			return nil, err
		}
		key = req.Key
	}
	return m.server.prepare(m.ctx, req, sum, key)
}

// startAll proposes what was prepared, in as few rounds as the bound of bytes
// allows. What does not fit into one operation goes by itself.
func (m *manySubmissions) startAll() {
	var round []int
	var cmds []rota.Command
	size := 0
	flush := func() {
		m.propose(round, cmds)
		round, cmds, size = round[:0], cmds[:0], 0
	}
	for i, sub := range m.subs {
		switch {
		case m.errs[i] != nil:
		case len(sub.pieces) > 1:
			m.results[i], m.errs[i] = m.server.start(m.ctx, sub)
		default:
			cmd, _ := sub.command(m.server.ids.next(time.Now()), false)
			round, cmds = append(round, i), append(cmds, cmd)
			if size += operationHead + sub.pieces[0].size; size > maxManyBytes {
				flush()
			}
		}
	}
	flush()
}

func (m *manySubmissions) propose(items []int, cmds []rota.Command) {
	if len(cmds) == 0 {
		return
	}
	results, errs := m.server.deps.State.ProposeMany(m.ctx, cmds)
	for k, i := range items {
		res, err := outcome(results[k], errs[k])
		if rota.KindOf(err) == rota.KindNotFound { // its version has just gone
			res, err = m.server.start(m.ctx, m.subs[i])
		}
		m.results[i], m.errs[i] = res, err
	}
}

func (m *manySubmissions) answer(r *http.Request, i int) SubmitAnswer {
	if m.errs[i] == nil {
		return SubmitAnswer{ID: m.results[i].Run, Existed: m.results[i].Existed}
	}
	p := m.server.problemOf(r, m.errs[i])
	if p == nil {
		p = newProblem(TypeUnknown, "the request was given up")
	}
	return SubmitAnswer{Problem: p}
}
