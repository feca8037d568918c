package api

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// getSnapshot streams the state. What is cut short lacks its checksum, and whoever reads
// it sees that.
func (s *Server) getSnapshot(w http.ResponseWriter, r *http.Request) error {
	snap := s.deps.State.Snapshot()
	if snap == nil {
		return s.passToServer(w, r)
	}
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	stale, err := flagOf(query, "stale")
	if err != nil {
		return err
	}
	release, err := s.takeStream()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadWait)
	defer cancel()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set(headerIndex, strconv.FormatUint(snap.Index(), 10))
	out := &pieces{w: w, c: http.NewResponseController(w), wait: s.cfg.SendWait}
	err = s.deps.Admin.Backup(ctx, out, stale)
	switch {
	case err == nil:
		return nil
	case !out.begun:
		h.Del("Content-Type")
		return asNoLeader(err)
	}
	panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to tell the reader that the answer is cut short
}

// pieces writes an answer of any size: only a reader that takes nothing for long is cut
// off.
type pieces struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	wait  time.Duration
	begun bool
}

// Write implements io.Writer.
func (p *pieces) Write(b []byte) (int, error) {
	p.begun = true
	_ = p.c.SetWriteDeadline(time.Now().Add(p.wait)) // recorders have none
	return p.w.Write(b)
}
