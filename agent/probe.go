package agent

import (
	"context"
	"fmt"
	"os"
)

// probeBytes is what a probe writes: an attempt needs a few directories and small
// files, and a disk with less room than this is full.
const probeBytes = 1 << 20

// Probe does on the disk what a start does: it makes a directory among the
// attempts and writes a file in it, down to the disk, and removes both.
func (l Layout) Probe() (err error) {
	if err := os.MkdirAll(l.Root(), 0o700); err != nil {
		return fmt.Errorf("try the disk of the attempts: %w", err)
	}
	dir, err := os.MkdirTemp(l.Root(), ".probe-")
	if err != nil {
		return fmt.Errorf("try the disk of the attempts: %w", err)
	}
	defer func() {
		if rmErr := os.RemoveAll(dir); rmErr != nil && err == nil {
			err = fmt.Errorf("try the disk of the attempts: %w", rmErr)
		}
	}()
	f, err := os.CreateTemp(dir, "file-")
	if err != nil {
		return fmt.Errorf("try the disk of the attempts: %w", err)
	}
	_, err = f.Write(make([]byte, probeBytes))
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("try the disk of the attempts: %w", err)
	}
	return nil
}

// probe runs the probe once at a time: on a disk that hangs it stays under way, and
// every further one fails at once.
func (a *Agent) probe(ctx context.Context) error {
	if a.cfg.Probe == nil {
		return nil
	}
	a.mu.Lock()
	busy := a.probing
	a.probing = true
	a.mu.Unlock()
	if busy {
		return errHangs
	}
	done := make(chan error, 1)
	go func() { // nobody can end what hangs in the kernel
		err := a.cfg.Probe()
		a.mu.Lock()
		a.probing = false
		a.mu.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errHangs
	}
}
