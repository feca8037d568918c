package cmd

import (
	"context"
	"strings"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// listOptions are the filters of rota runs list.
type listOptions struct {
	status, job, since string
	labels             []string
	limit              int
	all                bool
}

// page is the number of runs asked for at once.
const page = 500

func (o *listOptions) query(a *app) (api.RunFilter, error) {
	f := api.RunFilter{Namespace: a.flags.namespace, Job: o.job, Labels: map[string]string{}}
	if o.limit < 1 {
		return f, usage("--all lists everything", "--limit %d: want 1 or more", o.limit)
	}
	for word := range strings.SplitSeq(o.status, ",") {
		if word == "" {
			continue
		}
		var s rota.RunStatus
		if err := s.UnmarshalText([]byte(word)); err != nil {
			return f, usage("want running, waiting, paused, succeeded, failed or cancelled", "--status: %q is no status of a run", word)
		}
		f.Status = append(f.Status, s)
	}
	if o.since != "" {
		d, err := parseDuration(o.since)
		if err != nil || d <= 0 {
			return f, usage("", "--since %q: want a duration such as 30m, 2h or 7d", o.since)
		}
		f.Since = a.now().Add(-d)
	}
	pairs, err := parsePairs("--label", o.labels)
	for _, p := range pairs {
		f.Labels[p.Key] = p.Value
	}
	return f, err
}

// collect reads as many pages as it takes; more says that runs were left.
func (o *listOptions) collect(ctx context.Context, client *api.Client, f api.RunFilter) (runs []api.RunView, more bool, err error) {
	runs = []api.RunView{}
	for {
		f.Limit = page
		if !o.all {
			f.Limit = min(page, o.limit-len(runs))
		}
		l, err := client.Runs(ctx, f)
		if err != nil {
			return nil, false, err
		}
		runs = append(runs, l.Items...)
		switch {
		case l.NextCursor == nil:
			return runs, false, nil
		case !o.all && len(runs) >= o.limit:
			return runs, true, nil
		}
		f.Cursor = *l.NextCursor
	}
}
