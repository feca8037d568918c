package cmd

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
)

func (a *app) serverCommand() *cobra.Command {
	return family("server", "Servers that hold the cluster's log",
		&cobra.Command{
			Use: "list", Aliases: []string{"ls"}, Short: "List the servers, and what each is in the log", Args: noArguments,
			RunE: func(c *cobra.Command, _ []string) error { return a.serverList(c.Context()) },
		},
		&cobra.Command{
			Use: "remove SERVER", Aliases: []string{"rm"}, Short: "Take a server out of the log for good",
			Long: `Take a server out of the log for good, by name, ID or prefix. It ends, and says why; it does
not come back under this ID: with an empty data directory and --join it is a new server. Drain
its node first, so that nothing that runs there is lost. Refused is what would leave no
majority of voters that answer.`,
			Args: exactly("a server"),
			RunE: func(c *cobra.Command, args []string) error { return a.serverRemove(c.Context(), args[0]) },
		},
		&cobra.Command{
			Use: "transfer [SERVER]", Short: "Hand the lead to a server, or to whichever is furthest", Args: cobra.MaximumNArgs(1),
			RunE: func(c *cobra.Command, args []string) error { return a.serverTransfer(c.Context(), args) },
		},
		a.recoverCommand(),
	)
}

func (a *app) serverList(ctx context.Context) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	servers, err := client.Servers(ctx)
	if err != nil {
		return err
	}
	return a.show(view{
		data: servers,
		names: func() []string {
			names := make([]string, len(servers))
			for i, s := range servers {
				names[i] = s.Name
			}
			return names
		},
		table: func() *table { return serverTable(servers) },
		empty: "no servers",
	})
}

func serverTable(servers []api.ServerDetail) *table {
	t := &table{columns: []column{
		{title: "SERVER"}, {title: "STATE"}, {title: "VOTER"}, {title: "CONTACT", right: true}, {title: "ADDRESS"}, {title: "RAFT", wide: true}, {title: "ID"}, {title: "NOTE"},
	}}
	for _, s := range servers {
		seen, note := "-", "-"
		if s.LastContactMs != nil && s.State != "leader" {
			seen = humanDuration(ms(*s.LastContactMs))
		}
		if s.Replaces != "" {
			note = "put its log aside; was " + string(s.Replaces)
		}
		state := cell{text: s.State}
		switch s.State {
		case "leader":
			state.ink = inkGreen
		case "unreachable", "quarantined":
			state.ink = inkRed
		}
		voter := "no"
		if s.Voter {
			voter = "yes"
		}
		t.rows = append(t.rows, []cell{{text: dash(s.Name)}, state, {text: voter}, {text: seen}, {text: dash(s.Address)}, {text: dash(s.Raft)}, {text: string(s.ID)}, {text: note}})
	}
	return t
}

func (a *app) serverRemove(ctx context.Context, server string) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	s, err := client.RemoveServer(ctx, server)
	if err != nil {
		return err
	}
	if a.structured() {
		return a.show(view{data: s, names: func() []string { return []string{s.Name} }})
	}
	a.note("%s (%s) is no server of the log any more", s.Name, s.ID)
	a.hint("it ends by itself if it runs; to have it back, start it with an empty data directory and --join")
	return nil
}

func (a *app) serverTransfer(ctx context.Context, args []string) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	to := ""
	if len(args) > 0 {
		to = args[0]
	}
	v, err := client.TransferLead(ctx, to)
	if err != nil {
		return err
	}
	if a.structured() {
		return a.show(view{data: v, names: func() []string { return []string{dash(deref(v.Leader))} }})
	}
	if v.Leader == nil {
		a.note("the lead was handed over; who leads now is not known yet")
		return nil
	}
	a.note("%s leads", *v.Leader)
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (a *app) recoverCommand() *cobra.Command {
	var data, from string
	var force bool
	c := &cobra.Command{
		Use: "recover --data DIR", Short: "Found a new cluster from what one stopped server still has",
		Long: `For when a majority of the servers is gone for good, or has put its log aside. It reads the
data directory of one stopped server and says what is there and what is lost; with --force it
makes it the beginning of a new cluster: the old log, identity and membership are put aside in
the directory, and the next start founds the new one:

  rota server recover --data n1           only looks
  rota server recover --data n1 --force
  rota start --data n1 --bootstrap-expect 1 ...

Choose the server with the highest index. All other nodes start with empty data directories and
--join. What the lost servers had acknowledged and this one never got is lost; what this
one has and was never acknowledged counts now.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.serverRecover(data, from, force) },
	}
	c.Flags().StringVar(&data, "data", "", "data directory of the stopped server (required)")
	c.Flags().StringVar(&from, "from", "", "directory with the log to read (default: DIR, or what was put aside in it last)")
	c.Flags().BoolVar(&force, "force", false, "do it: whatever is named as lost stays lost")
	return c
}

// recoveryView is a recovery in the form of -o json.
type recoveryView struct {
	ClusterID   string         `json:"cluster_id"`
	Node        rota.NodeID    `json:"node"`
	From        string         `json:"from"`
	Index       uint64         `json:"index"`
	Term        uint64         `json:"term"`
	Incarnation uint16         `json:"incarnation"`
	Newest      *time.Time     `json:"newest"`
	Runs        int            `json:"runs"`
	Tasks       map[string]int `json:"tasks"`
	Lost        []string       `json:"lost"`
	Aside       string         `json:"aside"`
	Done        bool           `json:"done"`
}

func (a *app) serverRecover(data, from string, force bool) error {
	if data == "" {
		return usage("name the data directory of a stopped server: --data DIR", "--data is missing")
	}
	dir, err := filepath.Abs(data)
	if err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	rec, err := cluster.Recover(dir, from, force)
	if err != nil {
		return err
	}
	v := recoveryView{
		ClusterID: rec.ClusterID, Node: rec.Node, From: rec.From, Index: rec.Index, Term: rec.Term, Incarnation: rec.Incarnation,
		Runs: rec.Sizes.Runs, Tasks: map[string]int{}, Lost: lostOf(rec), Aside: rec.Aside, Done: force,
	}
	for _, s := range rota.Statuses {
		if n := rec.Counts[s]; n > 0 {
			v.Tasks[s.String()] = n
		}
	}
	if rec.Now != 0 {
		newest := rec.Now.Time()
		v.Newest = &newest
	}
	return a.show(view{
		data:  v,
		names: func() []string { return []string{string(v.Node)} },
		text:  func(bool) error { return a.writeRecovery(data, &v, rec) },
	})
}

// lostOf names what is lost.
func lostOf(rec *cluster.Recovery) []string {
	lost := []string{fmt.Sprintf("whatever other servers acknowledged after entry %d", rec.Index)}
	if rec.Mark > rec.Index {
		lost = append(lost, fmt.Sprintf("entries %d to %d, which this server had stored and perhaps acknowledged", rec.Index+1, rec.Mark))
	}
	if rec.Damage != "" {
		lost = append(lost, "what follows the damage: "+rec.Damage)
	}
	return append(lost, "every running attempt: its task counts as lost with its node, and runs again as its policy says")
}

func (a *app) writeRecovery(data string, v *recoveryView, rec *cluster.Recovery) error {
	f := newFields(a.out)
	f.add("cluster", "%s", dash(v.ClusterID))
	f.add("log", "%s, of node %s", v.From, dash(string(v.Node)))
	f.add("index", "%d, term %d, incarnation %d", v.Index, v.Term, v.Incarnation)
	if v.Newest != nil {
		f.add("newest", "%s", v.Newest.Format(time.RFC3339))
	}
	f.add("runs", "%d", v.Runs)
	f.add("tasks", "%s", plainCounts(v.Tasks))
	for _, s := range rec.Servers {
		what := "follower"
		if s.Voter {
			what = "voter"
		}
		if s.Here {
			what += ", this one"
		}
		f.add("server", "%s at %s: %s", s.ID, s.Raft, what)
	}
	for _, l := range v.Lost {
		f.paint("lost", inkRed, l)
	}
	if err := f.write(); err != nil {
		return err
	}
	if !v.Done {
		a.note("nothing was changed")
		a.hint("look at the other servers' directories, too; with the highest index:\nrota server recover --data %s --force", data)
		return nil
	}
	a.note("the old log is in %s; %s is the beginning of a new cluster", v.Aside, data)
	a.hint("rota start --data %s --bootstrap-expect 1 ...   then the others, with empty data directories and --join", data)
	return nil
}
