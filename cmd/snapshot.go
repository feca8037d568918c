package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
)

func (a *app) snapshotCommand() *cobra.Command {
	var stale bool
	save := &cobra.Command{
		Use: "save FILE", Short: "Write the cluster's state to a file, while it runs",
		Long: `Write the cluster's state to a file, from any node, while it runs. It holds everything
that was acknowledged before: runs, tasks, outputs, job versions, idempotency keys. Artifacts,
logs and events are not in it. The file appears whole and checked, or not at all.`,
		Args: exactly("a file"),
		RunE: func(c *cobra.Command, args []string) error { return a.snapshotSave(c.Context(), args[0], stale) },
	}
	save.Flags().BoolVar(&stale, "stale", false, "as the node that answers has it: works without a leader, and may lack the newest")
	var data string
	var incarnation uint16
	restore := &cobra.Command{
		Use: "restore FILE --data DIR", Short: "Put a snapshot into a new data directory, to found a cluster from",
		Long: `Put a snapshot into a new data directory. The node that starts there founds a new cluster
from it, with as many others as --bootstrap-expect says; the others start with empty ones:

  rota snapshot restore backup.snap --data n1
  rota start --data n1 --bootstrap-expect 3 ...

Stop what is left of the old cluster first. What ran counts as lost and runs again; no node is
taken in for about ten seconds, until whatever the old cluster had started has ended. The
fences of the new cluster are higher than all those of the old one. If the same snapshot was
restored before, give --incarnation a number higher than that cluster's ('rota snapshot inspect').`,
		Args: exactly("a file"),
		RunE: func(_ *cobra.Command, args []string) error { return a.snapshotRestore(args[0], data, incarnation) },
	}
	restore.Flags().StringVar(&data, "data", "", "the new data directory (required)")
	restore.Flags().Uint16Var(&incarnation, "incarnation", 0, "the least incarnation of the new cluster (default: the snapshot's, plus 1)")
	return family("snapshot", "Save, look at and restore the cluster's state",
		save, restore,
		&cobra.Command{
			Use: "inspect FILE", Short: "Check a snapshot and say what is in it", Args: exactly("a file"),
			RunE: func(_ *cobra.Command, args []string) error { return a.snapshotInspect(args[0]) },
		},
	)
}

// snapshotSave writes next to the file first: nothing half-written ever has its name.
func (a *app) snapshotSave(ctx context.Context, name string, stale bool) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	body, err := client.Snapshot(ctx, stale)
	if err != nil {
		f := a.faultOf(err)
		if f.kind == api.TypeNoLeader && !stale {
			f.next = "`rota snapshot save --stale` takes what the node that answers has"
		}
		return f
	}
	defer func() { _ = body.Close() }() // nothing was written
	tmp, err := os.CreateTemp(filepath.Dir(name), ".rota-snapshot-*")
	if err != nil {
		return notWritten(name, err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // it has its name by then, or is of no use
	_, err = io.Copy(tmp, body)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return notWritten(name, err)
	}
	b, err := cluster.ReadBackup(tmp.Name())
	if err != nil {
		return &fault{code: exitTryAgain, what: "the snapshot did not arrive whole", why: err.Error(), next: "nothing was written; try again, or ask another node", cause: err}
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return notWritten(name, err)
	}
	if dir, err := os.Open(filepath.Dir(name)); err == nil {
		_ = dir.Sync() // the file is whole; only its name could be lost with the power
		_ = dir.Close()
	}
	if a.structured() {
		return a.showBackup(name, b)
	}
	a.note("wrote %s: index %d, %s, %s, %s", name, b.Index, count(b.Sizes.Runs, "run"), count(b.Sizes.Tasks, "task"), humanBytes(b.Bytes))
	return nil
}

func notWritten(name string, err error) error {
	return &fault{code: exitFailed, what: "the snapshot could not be written to " + name, why: plainPathError(err), next: "nothing is left of it", cause: err}
}

// backupView is a snapshot in the form of -o json.
type backupView struct {
	File        string         `json:"file"`
	ClusterID   string         `json:"cluster_id"`
	Node        string         `json:"node"`
	At          time.Time      `json:"at"`
	Index       uint64         `json:"index"`
	Term        uint64         `json:"term"`
	Incarnation uint16         `json:"incarnation"`
	Format      uint16         `json:"format"`
	Digest      string         `json:"digest"`
	Bytes       int64          `json:"bytes"`
	SHA256      string         `json:"sha256"`
	Runs        int            `json:"runs"`
	Tasks       map[string]int `json:"tasks"` // by status
	Nodes       int            `json:"nodes"`
	JobVersions int            `json:"job_versions"`
	Keys        int            `json:"idempotency_keys"`
	Submitting  int            `json:"submitting"`
}

func (a *app) snapshotInspect(name string) error {
	b, err := readBackup(name)
	if err != nil {
		return err
	}
	return a.showBackup(name, b)
}

func readBackup(name string) (*cluster.Backup, error) {
	b, err := cluster.ReadBackup(name)
	return b, backupFault(name, err)
}

func backupFault(name string, err error) error {
	if errors.Is(err, cluster.ErrNotBackup) {
		return &fault{
			code: exitUsage, what: name + " is not a whole snapshot", why: err.Error(), kind: "damaged",
			next: "take another one; `rota snapshot save` writes only whole ones", cause: err,
		}
	}
	return err
}

func (a *app) showBackup(name string, b *cluster.Backup) error {
	v := backupView{
		File: name, ClusterID: b.ClusterID, Node: b.Node, At: b.At, Index: b.Index, Term: b.Term, Incarnation: b.Incarnation, Format: b.Format,
		Digest: b.Digest, Bytes: b.Bytes, SHA256: b.SHA256, Runs: b.Sizes.Runs, Tasks: map[string]int{}, Nodes: b.Sizes.Nodes,
		JobVersions: b.Sizes.JobVersions, Keys: b.Sizes.Keys, Submitting: b.Sizes.Submitting,
	}
	for _, s := range rota.Statuses {
		if n := b.Counts[s]; n > 0 {
			v.Tasks[s.String()] = n
		}
	}
	return a.show(view{
		data:  v,
		names: func() []string { return []string{v.File} },
		text: func(bool) error {
			f := newFields(a.out)
			f.add("snapshot", "%s", v.File)
			f.add("cluster", "%s", v.ClusterID)
			f.add("written", "%s by %s", v.At.Format(time.RFC3339), v.Node)
			f.add("index", "%d, term %d", v.Index, v.Term)
			f.add("incarnation", "%d, format %d", v.Incarnation, v.Format)
			f.add("runs", "%d, %s", v.Runs, count(v.JobVersions, "job version"))
			f.add("tasks", "%s", plainCounts(v.Tasks))
			f.add("nodes", "%d", v.Nodes)
			f.add("keys", "%s", count(v.Keys, "idempotency key"))
			f.add("digest", "%s", v.Digest)
			f.add("size", "%s", humanBytes(v.Bytes))
			f.add("sha256", "%s", v.SHA256)
			f.add("checked", "every checksum is right")
			return f.write()
		},
	})
}

// plainCounts lists the statuses that have tasks, in life-cycle order.
func plainCounts(counts map[string]int) string {
	var parts []string
	for _, s := range rota.Statuses {
		if n := counts[s.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (a *app) snapshotRestore(name, data string, incarnation uint16) error {
	if data == "" {
		return usage("name a directory that no node has used: --data DIR", "--data is missing")
	}
	dir, err := filepath.Abs(data)
	if err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	b, err := cluster.PrepareRestore(dir, name, incarnation)
	if err != nil {
		return backupFault(name, err)
	}
	a.note("%s holds the state of index %d: %s, %s", data, b.Index, count(b.Sizes.Runs, "run"), count(b.Sizes.Tasks, "task"))
	a.hint("stop what is left of the old cluster, then found the new one:\nrota start --data %s --bootstrap-expect 1   (or 3 or 5, the others with empty directories)", data)
	return nil
}
