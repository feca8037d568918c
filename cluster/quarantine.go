package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

const (
	asidePrefix = "quarantine-"
	maxAside    = 3           // logs put aside that are kept; a disk that needs more is to be replaced
	noteWithin  = time.Second // for the last word of a node that ends
)

// mustNotVote reports whether an error says that the log is not what this node had
// acknowledged.
func mustNotVote(err error) bool { return errors.Is(err, ErrLostEntries) || errors.Is(err, ErrDamaged) }

// quarantine puts a log that cannot be trusted aside, with the identity under which it
// voted, and gives the node another: it takes part as a new server of the same cluster,
// gets a snapshot from the leader, and votes again once the leader lets it. Where it
// never met another node nobody could send it anything, and the reason is returned.
// (Source: RELIABILITY.md, section 3.)
func (c *Cluster) quarantine(why error) error {
	mem := c.ident.membership()
	switch {
	case c.cfg.DataDir == "" || c.cfg.Seams.Stores != nil || c.cfg.ID != "" || mem == nil || len(mem.Founders) > 0:
		return fmt.Errorf("%w; move the data directory away and let the node join as a new server", why)
	case len(mem.Gossip) == 0:
		return fmt.Errorf("%w; this node knows no other server that could send it the state: "+
			"`rota server recover --data %s --force` founds a cluster from what is left here, and says what is lost", why, c.cfg.DataDir)
	}
	old := c.id
	aside, err := putAside(c.cfg.DataDir)
	if err != nil {
		return errors.Join(why, err)
	}
	id := rota.NodeID(c.cfg.Seams.NewID())
	if err := writeFile(filepath.Join(c.cfg.DataDir, nodeIDFile), []byte(id+"\n")); err != nil {
		return errors.Join(why, unusable(c.cfg.DataDir, err))
	}
	// Only now: a crash before leaves a node without log that knows it had one, and comes here again.
	if err := c.ident.change(func(m *membership) {
		m.HadLog, m.Member, m.Suspect, m.Replaces, m.Quarantine = false, false, "", old, why.Error()
	}); err != nil {
		return errors.Join(why, err)
	}
	c.id, c.ident.id = id, id
	c.member.Store(false)
	c.log.Error("this node's log is not what it had acknowledged: it is put aside, and the node joins again as a new server",
		"reason", why, "was", old, "is", id, "kept_in", aside)
	return nil
}

// putAside moves log and identity into a folder of their own.
func putAside(dir string) (string, error) {
	have, err := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
	if err != nil || len(have) >= maxAside {
		return "", errors.Join(err, fmt.Errorf("%d logs were put aside in %s already: look at the disk, and remove what is not needed any more", len(have), dir))
	}
	aside := filepath.Join(dir, asidePrefix+time.Now().UTC().Format("20060102-150405"))
	for n := 2; ; n++ {
		err := os.Mkdir(aside, 0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return "", unusable(dir, err)
		}
		aside = fmt.Sprintf("%s-%d", strings.TrimSuffix(aside, fmt.Sprintf("-%d", n-1)), n)
	}
	id, err := os.ReadFile(filepath.Join(dir, nodeIDFile))
	if err == nil {
		err = writeFile(filepath.Join(aside, nodeIDFile), id)
	}
	if err != nil {
		return "", unusable(dir, err)
	}
	if err := os.Rename(filepath.Join(dir, raftDir), filepath.Join(aside, raftDir)); err != nil {
		return "", unusable(dir, err)
	}
	return aside, errors.Join(syncDir(aside), syncDir(dir))
}

// suspect remembers that the log was found damaged while the node ran, so that its
// next start puts it aside.
func (c *Cluster) suspect(err error) {
	if !mustNotVote(err) || c.ident == nil || c.ident.membership() == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.ident.change(func(m *membership) { m.Suspect = err.Error() }); err != nil {
			c.log.Warn("could not remember why this node ends", "error", err)
		}
	}()
	select {
	case <-done:
	case <-time.After(noteWithin): // the disk may hang
	}
}

// checkVote reads what Raft is going to read of term and vote.
func checkVote(b *ballot) error {
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		if _, err := b.Get([]byte(key)); err != nil && err.Error() != errKeyNotFound.Error() {
			return err
		}
	}
	return nil
}

// quarantined says why the node waits to be taken in again; empty: it does not.
func (c *Cluster) quarantined() string {
	mem := c.ident.membership()
	if mem == nil || mem.Quarantine == "" || c.holdsReplica() {
		return ""
	}
	return fmt.Sprintf("this node's log was not what it had acknowledged; it is put aside, and the node waits for the leader to take it in as a new server "+
		"(if a majority of the servers waits like this: `rota server recover`): %s", mem.Quarantine)
}

// unreadable words Raft's failure to read any snapshot as the damage it is.
func unreadable(err error) error {
	if err != nil && strings.Contains(err.Error(), "failed to load any existing snapshots") {
		return fmt.Errorf("%w: no snapshot in the data directory is readable; start the node again: it puts its log aside and joins as a new server: %w", ErrDamaged, err)
	}
	return err
}

// holds reports whether a configuration names a node.
func holds(config raft.Configuration, id rota.NodeID) bool {
	for _, s := range config.Servers {
		if s.ID == raft.ServerID(id) {
			return true
		}
	}
	return false
}
