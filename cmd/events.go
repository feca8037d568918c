package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// eventOptions are the flags of rota events.
type eventOptions struct {
	follow bool
	run    string
	types  []string
	after  string
}

func (a *app) eventsCommand() *cobra.Command {
	var o eventOptions
	c := &cobra.Command{
		Use: "events", Short: "What happened; with --follow, what happens", Args: noArguments,
		Long: `Show the events that the answering node keeps, oldest first. With --follow those from now
on (or after --after ID) until Ctrl-C; -o json then writes one object a line.`,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			if o.follow {
				return a.followEvents(c.Context(), client, o)
			}
			return a.pastEvents(c.Context(), client, o)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what happens")
	f.StringVar(&o.run, "run", "", "only events of this run")
	f.StringArrayVar(&o.types, "type", nil, "only this type, such as task.delivered or node.* (may be repeated)")
	f.StringVar(&o.after, "after", "", "only events after the one of this ID")
	return c
}

func (o *eventOptions) filter(namespace string) api.EventFilter {
	return api.EventFilter{Namespace: namespace, Run: o.run, Types: o.types}
}

// followEvents shows events as they come. Ctrl-C is a good end.
func (a *app) followEvents(parent context.Context, client *api.Client, o eventOptions) error {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	defer stop()
	filter := o.filter(a.flags.namespace)
	filter.End = o.run != ""
	for e, err := range client.Events(ctx, o.after, filter) {
		if err != nil {
			return err
		}
		if err := a.writeEvent(e); err != nil {
			return err
		}
	}
	return nil
}

// writeEvent writes one event on one line.
func (a *app) writeEvent(e *api.EventView) error {
	switch a.flags.output {
	case "json":
		b, err := marshal(e, "")
		if err != nil {
			return err
		}
		_, err = a.out.Write(b)
		return err
	case "yaml":
		if _, err := fmt.Fprintln(a.out, "---"); err != nil {
			return err
		}
		return writeYAML(a.out, e)
	case "name":
		_, err := fmt.Fprintln(a.out, e.ID)
		return err
	case "table", "wide":
		return a.writeEventText(e)
	}
	return a.showTemplate(e)
}

func (a *app) writeEventText(e *api.EventView) error {
	what := string(e.Run)
	if e.Task != "" {
		what += "/" + string(e.Task)
	}
	if what == "" {
		if node, ok := e.Data["name"].(string); ok {
			what = node
		} else if node, ok := e.Data["node"].(string); ok {
			what = node
		}
	}
	id := ""
	if a.flags.output == "wide" {
		id = fmt.Sprintf("%-14s ", e.ID)
	}
	line := fmt.Sprintf("%s  %s%-18s %s %s", e.At.Time().Local().Format("15:04:05.000"), id, e.Type, what, eventDetail(e))
	_, err := fmt.Fprintln(a.out, cut(visible(trimRight(line)), a.out.width))
	return err
}

func trimRight(s string) string {
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

// quietEnd is how long no further event means that all kept ones were seen.
const quietEnd = time.Second

// pastEvents shows what is kept. The stream of a node has no end, so it is left
// once it has passed the index at which it was opened, or went quiet.
func (a *app) pastEvents(parent context.Context, client *api.Client, o eventOptions) error {
	st, err := client.Status(parent)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	quiet := time.AfterFunc(5*quietEnd, cancel) // longer for the first
	defer quiet.Stop()
	after := o.after
	if after == "" {
		after = "0"
	}
	filter := o.filter(a.flags.namespace)
	filter.End = o.run != ""
	all := []*api.EventView{}
	for e, err := range client.Events(ctx, after, filter) {
		if errors.Is(err, rota.ErrNotFound) && isGone(err) && len(all) > 0 {
			a.warn("some events in between are not kept any more")
			continue
		}
		if err != nil {
			return err
		}
		if e.Index > st.Index {
			break
		}
		quiet.Reset(quietEnd)
		if a.flags.output == "json" || a.flags.output == "yaml" {
			all = append(all, e)
		} else if err := a.writeEvent(e); err != nil {
			return err
		}
		if e.Index >= st.Index {
			quiet.Reset(quietEnd / 5) // the rest of its entry
		}
	}
	if a.flags.output == "json" || a.flags.output == "yaml" {
		return a.show(view{data: all})
	}
	return nil
}

func isGone(err error) bool {
	var refused *api.Error
	return errors.As(err, &refused) && refused.Problem.Type == api.TypeGone
}
