package agent

import (
	"context"

	"github.com/rota-sched/rota"
)

// Peers is how an agent talks to the cluster: through any server, which passes it
// to the leader. A refusal wraps the error of its kind (rota.KindOf); every other
// error means that nothing is known. Each call ends with its context.
type Peers interface {
	// Register begins a session. ErrStale: another counter was due; the session
	// that is returned with it has the newest.
	Register(ctx context.Context, r rota.RegisterNode) (rota.Session, error)
	Renew(ctx context.Context, s rota.Session) (rota.Renewal, error)
	// MarkUnfit says why the node can start nothing for now, or with an empty why
	// that it can. ErrStale: the session is over.
	MarkUnfit(ctx context.Context, s rota.Session, why string) error
	// Stream opens the leader's stream of views; index and incarnation are of the
	// newest view seen. The first view is Full. It lives until ctx ends.
	Stream(ctx context.Context, s rota.Session, incarnation uint16, index uint64) (ViewStream, error)
	// Report returns one answer per item, in order. ErrStale as a whole: the
	// session is over, which for the outcomes is an answer too.
	Report(ctx context.Context, r rota.Report) ([]rota.Kind, error)
	// Release vouches that nothing of the session is alive and ends it; with left
	// the node goes by itself. The items are reported first.
	Release(ctx context.Context, s rota.Session, left bool, items []rota.ReportItem) error
	// Contacts asks every server it can reach, at once, and returns what they
	// answered before ctx ended.
	Contacts(ctx context.Context) ([]rota.Contact, error)
}

// ViewStream is one open stream of views.
type ViewStream interface {
	// Recv blocks until the next view, the end of the stream (any error) or of the
	// context it was opened with. ErrStale: the session is over.
	Recv() (*rota.View, error)
	Close() error
}
