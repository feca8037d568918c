package localcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rota-sched/rota/api"
)

// Node is one node of a cluster: a process of its own, and its keeper.
type Node struct {
	name, http, data string
	executable       string
	args             []string
	client           *api.Client
	cmd              *exec.Cmd
	ended            chan struct{} // closed when the process has ended
}

// Name is the node's name in its cluster.
func (n *Node) Name() string { return n.name }

// Address is where the node's HTTP door is.
func (n *Node) Address() string { return n.http }

// PID is the process of the node, as it was started last.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Ended is closed when the node's process, as it was started last, has ended.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Start starts the node's process, also again after Kill.
func (n *Node) Start(ctx context.Context) error {
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start node %s: %w", n.name, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	cmd := exec.CommandContext(context.WithoutCancel(ctx), n.executable, n.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the caller, who ends its nodes
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start node %s: %w", n.name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	n.cmd, n.ended = cmd, ended
	return nil
}

// Kill sends SIGKILL to the node's process and returns when it has ended. Its keeper
// and its tasks live on.
func (n *Node) Kill() error {
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill node %s: %w", n.name, err)
	}
	<-n.ended
	return nil
}

// KillHost sends SIGKILL to the node's process and its keeper's, as if the host were
// gone, and returns when the node has ended. Tasks whose keeper contains them in a
// PID namespace die with it.
func (n *Node) KillHost() error {
	keepers, err := n.keepers()
	if err != nil {
		return err
	}
	if len(keepers) == 0 {
		return fmt.Errorf("kill the host of node %s: it has no keeper", n.name)
	}
	for _, p := range append([]*os.Process{n.cmd.Process}, keepers...) {
		if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("kill the host of node %s: %w", n.name, err)
		}
	}
	<-n.ended
	return nil
}

// agree asks the node whether so many are ready under one leader, and which.
func (n *Node) agree(ctx context.Context, nodes int) (leader string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := n.client.Ready(ctx)
	if err != nil {
		return "", err
	}
	for _, check := range r.Checks {
		if !check.OK {
			return "", fmt.Errorf("%s: %s", check.Name, check.Detail)
		}
	}
	s, err := n.client.Status(ctx)
	switch {
	case err != nil:
		return "", err
	case s.Leader == nil:
		return "", errors.New("knows no leader")
	case s.Nodes.Ready != nodes:
		return "", fmt.Errorf("%d of %d nodes are ready", s.Nodes.Ready, nodes)
	}
	return *s.Leader, nil
}

func (n *Node) logPath() string { return n.data + ".log" }

// said is the end of what the node wrote.
func (n *Node) said() string {
	const most = 4 << 10
	f, err := os.Open(n.logPath())
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // it was only read
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-most), io.SeekStart) // from the beginning says enough, too
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// close ends the node, its tasks and its keeper.
func (n *Node) close() error {
	defer n.client.Close()
	if n.ended == nil {
		return nil
	}
	n.stop()
	return n.endKeeper()
}

// stop asks the process to end until it does: from the second signal on it ends its
// tasks, too. When its time is over it is killed.
func (n *Node) stop() {
	until := time.After(stopPatience)
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // gone already is fine
		select {
		case <-n.ended:
			return
		case <-again.C:
		case <-until:
			_ = n.cmd.Process.Kill() // it had its time
			<-n.ended
			return
		}
	}
}
