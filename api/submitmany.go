package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
)

// Bounds of an array of submissions.
const (
	maxItems      = 1000
	maxManyBytes  = 4 << 20 // of operations that are proposed together, about
	operationHead = 256     // about what an operation has beside its specs and tasks
)

// postMany answers each item of an array by itself. Their operations are proposed
// together. Only so many items are under way at once, and a few arrays are read: the
// others wait for their turn, so that whatever comes in neither fills the way into
// the log nor keeps the node from its duties. (Without it 160 clients that sent
// arrays of 1,000 cost two cores their leader.)
func (s *Server) postMany(ctx context.Context, w http.ResponseWriter, r *http.Request, b []byte, key string) error {
	m, err := s.readMany(ctx, b, key)
	if err != nil {
		return err
	}
	release, err := s.items.take(ctx, int64(len(m.items)))
	if err != nil {
		return err
	}
	defer release()
	m.startAll()
	answers := make([]SubmitAnswer, len(m.items))
	last := uint64(0)
	for i := range m.items {
		answers[i] = m.answer(r, i)
		last = max(last, m.results[i].Index)
	}
	w.Header().Set(headerIndex, strconv.FormatUint(last, 10))
	return answer(w, http.StatusOK, answers)
}

// readMany reads and checks an array, when there is a turn for it.
func (s *Server) readMany(ctx context.Context, b []byte, key string) (*manySubmissions, error) {
	release, err := s.reading.take(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer release()
	var items []json.RawMessage
	if err := decodeStrict(b, &items); err != nil {
		return nil, err
	}
	if len(items) > maxItems {
		p := newProblem(TypeTooLarge, fmt.Sprintf("%d submissions in one array, the limit is %d: send several", len(items), maxItems))
		p.Limit = "submissions"
		return nil, p
	}
	m := &manySubmissions{
		server: s, ctx: ctx, key: key, items: items,
		subs: make([]*submission, len(items)), errs: make([]error, len(items)), results: make([]rota.Result, len(items)),
	}
	m.prepareAll()
	return m, nil
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

// prepareAll reads and checks the items. Equal ones, one after another, are read once.
func (m *manySubmissions) prepareAll() {
	var last []byte
	var req *request
	var sum digest
	for i, item := range m.items {
		if req == nil || !bytes.Equal(last, item) {
			var err error
			if req, sum, err = m.server.requestOf(item); err != nil {
				m.errs[i], req = err, nil
				continue
			}
			last = item
		}
		m.subs[i], m.errs[i] = m.prepare(req, sum, i)
	}
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
