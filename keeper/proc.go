package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
	"golang.org/x/sys/unix"
)

// proc is what the shell holds of an attempt: its processes and pipes.
type proc struct {
	ref   Ref
	argv0 string
	argv  []string
	env   []string
	dir   string
	group group
	out   *pump
	err   *pump

	// Guarded by the table's lock.
	open  int  // pumps that have not seen the end
	empty bool // nothing of the group is alive
	done  bool // Emptied was said
}

// spawnRequest prepares what needs no lock, lets the core decide, and starts.
func (s *shell) spawnRequest(c *serverConn, f *frame) error {
	var r SpawnRequest
	if err := json.Unmarshal(f.Body, &r); err != nil {
		return err
	}
	p, err := s.prepare(&r)
	if err != nil {
		w := &wireReply{Kind: rota.KindOverloaded.String(), Detail: err.Error(), Refused: errors.Is(err, ErrRefused)}
		c.send(&frame{ID: f.ID, Reply: w})
		return nil
	}
	s.mu.Lock()
	s.next = p
	s.step(SpawnAsked{Token: s.token(c, f), Ref: r.Ref, Session: r.Session, Meta: r.Meta})
	started := s.next == nil
	s.next = nil
	s.mu.Unlock()
	if !started {
		p.discard()
	}
	return nil
}

func (s *shell) prepare(r *SpawnRequest) (*proc, error) {
	if len(r.Argv) == 0 || r.Argv[0] == "" {
		return nil, &refused{"the command is empty"}
	}
	if err := checkDir(r.Dir); err != nil {
		return nil, err
	}
	p := &proc{ref: r.Ref, argv: r.Argv, dir: r.Dir}
	var err error
	if p.argv0, err = lookUp(r.Argv[0], r.Dir, r.Env); err != nil {
		return nil, err
	}
	g, err := s.tree.group(false)
	if err != nil {
		return nil, fmt.Errorf("contain %s: %w", r.Ref, err)
	}
	p.env = append(append(make([]string, 0, len(r.Env)+1), r.Env...), "")
	p.contain(g)
	limit := r.LogBytes
	if limit <= 0 {
		limit = DefaultLogBytes
	}
	limit = max(limit, MinLogBytes)
	if p.out, err = newPump(r.StdoutPath, limit/2); err == nil {
		p.err, err = newPump(r.StderrPath, limit/2)
	}
	if err != nil {
		p.discard()
		return nil, fmt.Errorf("make the pipes of %s: %w", r.Ref, err)
	}
	return p, nil
}

// contain sets the group that is to hold it.
func (p *proc) contain(g group) {
	p.group = g
	p.env[len(p.env)-1] = markKey + "=" + g.mark()
}

// discard gives back what was prepared for a start that did not happen.
func (p *proc) discard() {
	p.group.discard()
	for _, u := range []*pump{p.out, p.err} {
		if u != nil {
			u.discard()
		}
	}
}

func checkDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return &refused{fmt.Sprintf("the working directory %q is not absolute", dir)}
	}
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &refused{fmt.Sprintf("the working directory %s does not exist on this node: create it there, or leave workdir out for a fresh one", dir)}
	case err != nil:
		return &refused{fmt.Sprintf("the working directory %s cannot be used: %v", dir, err)}
	case !st.IsDir():
		return &refused{fmt.Sprintf("the working directory %s is not a directory", dir)}
	}
	return nil
}

// lookUp finds the program: by PATH of the task's environment, unless its name
// holds a slash.
func lookUp(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path, runnable(name, path)
	}
	search := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = v
		}
	}
	var denied error
	for _, d := range filepath.SplitList(search) {
		if d == "" {
			d = "."
		}
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		path := filepath.Join(d, name)
		err := runnable(name, path)
		if err == nil {
			return path, nil
		}
		if _, statErr := os.Stat(path); statErr == nil && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", &refused{fmt.Sprintf("the command %q was not found on this node in PATH %s: install it there, give its whole path, or ask for nodes that have it with a constraint", name, search)}
}

func runnable(name, path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &refused{fmt.Sprintf("the command %s does not exist on this node", name)}
	case err != nil:
		return &refused{fmt.Sprintf("the command %s cannot be used: %v", name, err)}
	case st.IsDir():
		return &refused{fmt.Sprintf("the command %s is a directory", name)}
	case st.Mode()&0o111 == 0:
		return &refused{fmt.Sprintf("the command %s is not executable: chmod +x it", name)}
	}
	return nil
}

// start forks; mu is held and stays held, so that no exit is reaped before the
// process is in the table.
func (s *shell) start(a Fork) {
	p := s.next
	if p == nil || p.ref != a.Ref {
		s.step(StartFailed{Token: a.Token, Ref: a.Ref, Kind: rota.KindUnavailable, Detail: "nothing was prepared"})
		return
	}
	attr := &syscall.ProcAttr{
		Dir: p.dir, Env: p.env, Files: []uintptr{s.null.Fd(), p.out.child(), p.err.child()},
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	p.group.prepare(attr.Sys)
	pid, err := syscall.ForkExec(p.argv0, p.argv, attr)
	if err != nil && p.group.again() {
		// Perhaps the group has been removed or changed since it was used.
		if g, groupErr := s.tree.group(true); groupErr == nil {
			p.group.discard()
			p.contain(g)
			g.prepare(attr.Sys)
			pid, err = syscall.ForkExec(p.argv0, p.argv, attr)
		}
	}
	if err != nil {
		text, fault := explainExec(p.argv0, err)
		s.step(StartFailed{Token: a.Token, Ref: a.Ref, Kind: rota.KindOverloaded, Detail: text, Refused: fault})
		return // next stays: the asker discards it
	}
	s.next = nil
	s.spawned++
	p.group.started(pid)
	s.procs[p.ref], s.pids[pid] = p, p
	s.children.Broadcast()
	p.open = 2
	for _, u := range []*pump{p.out, p.err} {
		s.work.Go(func() {
			u.run()
			s.pumped(p)
		})
	}
	s.step(Started{Token: a.Token, Ref: a.Ref, PID: pid})
}

// explainExec says why a program could not be executed, and whether that is the
// task's fault.
func explainExec(path string, err error) (text string, fault bool) {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return fmt.Sprintf("start %s: %v", path, err), false
	}
	switch errno { //nolint:exhaustive // the rest is the machine's
	case syscall.ENOENT:
		return fmt.Sprintf("the command %s cannot be run: the interpreter or loader it names is missing on this node", path), true
	case syscall.EACCES, syscall.EPERM:
		return fmt.Sprintf("the command %s cannot be run: permission denied", path), true
	case syscall.ENOEXEC:
		return fmt.Sprintf("the command %s is no program that this node can run: a script needs a first line like #!/bin/sh, a binary the right architecture", path), true
	case syscall.E2BIG:
		return fmt.Sprintf("the arguments and environment of %s are longer than the kernel takes: pass large values in files", path), true
	case syscall.EINVAL, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ETXTBSY:
		return fmt.Sprintf("the command %s cannot be run: %v", path, errno), true
	}
	return fmt.Sprintf("start %s: %v", path, errno), false
}

// reap waits for children, all of them: those of the table and the orphans that
// came to the keeper. It peeks without the lock and reaps under it. It is not
// waited for: it ends with the process.
func (s *shell) reap() {
	for {
		s.mu.Lock()
		seen := s.spawned
		s.mu.Unlock()
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		s.mu.Lock()
		switch {
		case errors.Is(err, unix.ECHILD):
			for s.spawned == seen && !s.ended {
				s.children.Wait()
			}
		case err == nil:
			s.reapAll()
		}
		ended := s.ended
		s.mu.Unlock()
		if ended {
			return
		}
	}
}

// reapAll reaps what has exited; mu is held.
func (s *shell) reapAll() {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		p := s.pids[pid]
		if p == nil {
			continue // an orphan
		}
		delete(s.pids, pid)
		p.group.reaped()
		s.step(Exited{Ref: p.ref, Exit: s.exitOf(p.ref, ws)})
	}
}

func (s *shell) exitOf(r Ref, ws syscall.WaitStatus) Exit {
	if !ws.Signaled() {
		return Exit{Code: ws.ExitStatus()}
	}
	e := Exit{Code: 128 + int(ws.Signal()), Signal: ws.Signal()}
	if a, _ := s.core.Attempt(r); e.Signal == syscall.SIGKILL && !a.Killed {
		e.OOM = s.oom.recent(time.Now())
	}
	return e
}

// The waits between two looks at a group that is not empty.
const (
	firstLook   = 500 * time.Microsecond
	longestLook = 100 * time.Millisecond
)

// watch looks until nothing of the attempt is alive; mu is held.
func (s *shell) watch(p *proc) {
	if p == nil {
		return
	}
	if p.group.quick() {
		if p.group.empty() {
			s.groupEmpty(p)
			return
		}
		s.step(Lingers{Ref: p.ref})
	}
	s.work.Go(func() { s.look(p) })
}

// look asks until the group is empty.
func (s *shell) look(p *proc) {
	told := p.group.quick()
	for wait := firstLook; !p.group.empty(); wait = min(2*wait, longestLook) {
		if !told {
			told = true
			s.mu.Lock()
			s.step(Lingers{Ref: p.ref})
			s.mu.Unlock()
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groupEmpty(p)
}

// pipeGrace is how long a pipe may stay open after the last process of its
// attempt: only something that escaped can hold it.
const pipeGrace = time.Second

func (s *shell) groupEmpty(p *proc) {
	p.empty = true
	if p.open == 0 {
		s.emptied(p)
		return
	}
	time.AfterFunc(pipeGrace, func() {
		p.out.stop()
		p.err.stop()
	})
}

func (s *shell) pumped(p *proc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.open--
	if p.open == 0 && p.empty {
		s.emptied(p)
	}
}

func (s *shell) emptied(p *proc) {
	if p.done || s.ended {
		return
	}
	p.done = true
	s.step(Emptied{Ref: p.ref, Output: Output{StdoutBytes: p.out.total, StderrBytes: p.err.total, DroppedBytes: p.out.dropped + p.err.dropped}})
}
