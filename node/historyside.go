package node

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/history"
)

// historySide is the node's event history as the HTTP door wants it.
type historySide struct{ *history.History }

var _ api.History = historySide{}

// openHistory opens the history and has the replica feed it.
func (n *Node) openHistory() error {
	cfg := history.DefaultConfig(filepath.Join(n.cfg.Data, "history"))
	cfg.Logger = n.cfg.Logger.Named("history")
	h, err := history.Open(cfg)
	if err != nil {
		return fmt.Errorf("open the event history: %w", err)
	}
	n.history = h
	n.cluster.OnRestore(h.Restored)
	n.cluster.OnApply(func(a rota.Applied) { h.Append(a.Incarnation, a) })
	return nil
}

// Read implements api.History.
func (h historySide) Read(after string, limit int) ([]rota.Event, error) {
	var id history.ID
	if after != "" {
		var err error
		if id, err = history.ParseID(after); err != nil {
			return nil, &rota.Refusal{Kind: rota.KindInvalid, Detail: err.Error()}
		}
	} else {
		id = h.Floor()
	}
	events, err := h.History.Read(id, limit)
	if errors.Is(err, history.ErrGone) {
		return nil, errors.Join(api.ErrGone, err)
	}
	return events, err
}

// Last implements api.History.
func (h historySide) Last() string { return h.History.Last().String() }
