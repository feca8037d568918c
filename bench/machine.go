package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// limitSpan is how long each of the machine's limits is measured.
const limitSpan = 500 * time.Millisecond

// clients of the HTTP limit and of submit.
const clients = 64

// machine measures the limits alone.
func machine() *measure {
	names := []string{limitSync, limitSyncTime, limitFork, limitHTTP, limitHTTPTime}
	m := &measure{
		name: "machine", short: "This machine's own limits: disk, processes, HTTP", within: time.Minute,
		how: fmt.Sprintf("for %s each: fdatasync after every 4 KiB written over a file of 4 MiB in place, and its median time; "+
			"starting /bin/true and waiting for its end, one loop a core; an empty request to a net/http server on loopback from %d clients, "+
			"and its median time from one", limitSpan, clients),
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			for _, name := range names {
				v, err := limitOf(ctx, name, s)
				if err != nil {
					return nil, err
				}
				out[name] = []float64{v}
			}
			return out, nil
		},
	}
	for _, name := range names {
		m.lines = append(m.lines, line{name: name, unit: unitOfLimit(name), more: unitOfLimit(name) != "ms"})
	}
	return m
}

// limitOf measures one of the machine's limits.
func limitOf(ctx context.Context, name string, s *settings) (float64, error) {
	switch name {
	case limitSync:
		times, took, err := syncLoop(ctx, s.parent)
		return rate(len(times), took), err
	case limitSyncTime:
		times, _, err := syncLoop(ctx, s.parent)
		return median(times), err
	case limitFork:
		return forkLoop(ctx)
	case limitHTTP:
		times, took, err := httpLoop(ctx, clients)
		return rate(len(times), took), err
	case limitHTTPTime:
		times, _, err := httpLoop(ctx, 1)
		return median(times), err
	}
	return 0, fmt.Errorf("no limit is called %q", name)
}

// syncLoop writes and syncs 4 KiB again and again; the times are milliseconds.
func syncLoop(ctx context.Context, parent string) (times []float64, took time.Duration, err error) {
	const block, blocks = 4 << 10, 1 << 10
	f, err := os.CreateTemp(parent, "rota-bench-")
	if err != nil {
		return nil, 0, fmt.Errorf("make a file to sync: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, block*blocks)); err != nil {
		return nil, 0, fmt.Errorf("fill the file to sync: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, 0, fmt.Errorf("sync the file: %w", err)
	}
	data := make([]byte, block)
	began := time.Now()
	for at := int64(0); time.Since(began) < limitSpan && ctx.Err() == nil; at++ {
		data[0]++
		one := time.Now()
		if _, err := f.WriteAt(data, at%blocks*block); err != nil {
			return nil, 0, fmt.Errorf("write the file to sync: %w", err)
		}
		if err := fdatasync(f); err != nil {
			return nil, 0, fmt.Errorf("sync the file: %w", err)
		}
		times = append(times, millis(time.Since(one)))
	}
	return times, time.Since(began), ctx.Err()
}

// forkLoop starts /bin/true again and again, one loop a core.
func forkLoop(ctx context.Context) (float64, error) {
	path, err := exec.LookPath("true")
	if err != nil {
		return 0, fmt.Errorf("find a program that does nothing: %w", err)
	}
	var count atomic.Int64
	began := time.Now()
	err = together(runtime.NumCPU(), func(int) error {
		for time.Since(began) < limitSpan && ctx.Err() == nil {
			p, err := os.StartProcess(path, []string{path}, &os.ProcAttr{Files: []*os.File{nil, nil, nil}})
			if err != nil {
				return fmt.Errorf("start %s: %w", path, err)
			}
			if _, err := p.Wait(); err != nil {
				return fmt.Errorf("wait for %s: %w", path, err)
			}
			count.Add(1)
		}
		return ctx.Err()
	})
	return rate(int(count.Load()), time.Since(began)), err
}

// httpLoop sends empty requests to an empty server; the times are milliseconds.
func httpLoop(ctx context.Context, clients int) (times []float64, took time.Duration, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, fmt.Errorf("listen on loopback: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		err = errors.Join(err, server.Close())
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}()
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var all samples
	began := time.Now()
	err = together(clients, func(int) error {
		var mine []float64
		defer func() { all.add(mine...) }()
		for time.Since(began) < limitSpan && ctx.Err() == nil {
			one := time.Now()
			if err := emptyRequest(ctx, client, "http://"+l.Addr().String()); err != nil {
				return err
			}
			mine = append(mine, millis(time.Since(one)))
		}
		return ctx.Err()
	})
	return all.values, time.Since(began), err
}

func emptyRequest(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("send an empty request: %w", err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

// samples are values from several goroutines.
type samples struct {
	mu     sync.Mutex // guards values
	values []float64
}

func (s *samples) add(v ...float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, v...)
}

// forget gives the values and begins anew.
func (s *samples) forget() []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.values
	s.values = nil
	return v
}

// together runs f n times at once and waits for all.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the others most often say the same
		}
	}
	return nil
}
