package hostinfo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rota-sched/rota"
)

func TestThisMachineHasSomething(t *testing.T) {
	f, err := Detect(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if f.CPUMilli < 1 || f.MemoryBytes < 1<<20 || f.Kernel == "" || len(f.BootID) < 32 || f.OS == "" || f.Slots() < SlotsPerCore {
		t.Fatalf("found %+v", f)
	}
	if _, err := Detect("/no/such/directory"); err == nil {
		t.Fatal("the free space of a directory that is not there was found")
	}
}

func TestContainerLimitsCountWhereTheyAreLower(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	for _, c := range []struct {
		name string
		fs   fstest.MapFS
		want Limits
	}{
		{"no control groups", fstest.MapFS{}, Limits{}},
		{"version 2, own group", fstest.MapFS{
			"proc/self/cgroup":                     file("0::/app.slice/x"),
			"sys/fs/cgroup/app.slice/x/cpu.max":    file("150000 100000"),
			"sys/fs/cgroup/app.slice/x/memory.max": file("1073741824"),
		}, Limits{MemoryBytes: 1 << 30, CPUMilli: 1500}},
		{"version 2, the group above is lower", fstest.MapFS{
			"proc/self/cgroup":                     file("0::/app.slice/x"),
			"sys/fs/cgroup/app.slice/memory.max":   file("536870912"),
			"sys/fs/cgroup/app.slice/x/memory.max": file("1073741824"),
			"sys/fs/cgroup/app.slice/x/cpu.max":    file("max 100000"),
		}, Limits{MemoryBytes: 512 << 20}},
		{"version 2 in a container", fstest.MapFS{
			"proc/self/cgroup":         file("0::/docker/abc"),
			"sys/fs/cgroup/memory.max": file("2147483648"),
			"sys/fs/cgroup/cpu.max":    file("50000 100000"),
		}, Limits{MemoryBytes: 2 << 30, CPUMilli: 500}},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/a\n1:cpu,cpuacct:/b\n0::/"),
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("1048576"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712"),
			"sys/fs/cgroup/cpu/b/cpu.cfs_quota_us":         file("-1"),
			"sys/fs/cgroup/cpu/b/cpu.cfs_period_us":        file("100000"),
		}, Limits{MemoryBytes: 1 << 20}},
		{"nonsense", fstest.MapFS{
			"proc/self/cgroup":         file("0::/../../..\nx\n:::\n"),
			"sys/fs/cgroup/memory.max": file("many"),
			"sys/fs/cgroup/cpu.max":    file("1 0"),
		}, Limits{}},
	} {
		if got := limits(c.fs); got != c.want {
			t.Errorf("%s: limits %+v, want %+v", c.name, got, c.want)
		}
	}
	f := Facts{CPUMilli: 8000, MemoryBytes: 16 << 30}
	f.limit(Limits{MemoryBytes: 4 << 30, CPUMilli: 16000})
	if f.MemoryBytes != 4<<30 || f.CPUMilli != 8000 || len(f.Notes) != 1 {
		t.Errorf("limited to %+v", f)
	}
}

// recorded answers as nvidia-smi does: with the file of the testdata folder that
// its arguments name.
func recorded(t *testing.T, dir string) Tool {
	t.Helper()
	return func(_ context.Context, args ...string) ([]byte, error) {
		name := "list"
		if strings.HasPrefix(args[0], "--query-gpu=") {
			name = "query"
			if !strings.Contains(args[0], "mig") {
				name = "query-old"
			}
		}
		if b, err := os.ReadFile(filepath.Join("testdata", dir, name+".error")); err == nil {
			return nil, fmt.Errorf("nvidia-smi: exit status 2: %s", b)
		}
		b, err := os.ReadFile(filepath.Join("testdata", dir, name))
		if err != nil {
			t.Fatalf("nvidia-smi %v was not expected", args)
		}
		return b, nil
	}
}

func TestGPUsAreWhatTheToolReports(t *testing.T) {
	for _, c := range []struct {
		dir   string
		want  []rota.GPU
		notes int
	}{
		{dir: "h100", want: []rota.GPU{
			{ID: "GPU-4f1b0c62-8e0d-3c5a-9b7e-0d6a51c2f3e4", Model: "NVIDIA H100 80GB HBM3", MemoryBytes: 81559 << 20},
			{ID: "GPU-a2c90d17-55e1-7b1f-2f4d-93b8e6071c5d", Model: "NVIDIA H100 80GB HBM3", MemoryBytes: 81559 << 20},
		}},
		{dir: "mig", notes: 1, want: []rota.GPU{
			{ID: "GPU-00000000-1111-2222-3333-444444444444", Model: "NVIDIA A100-SXM4-40GB", MemoryBytes: 40960 << 20},
			{ID: "MIG-c7384736-a75d-5afc-978f-d2f1294409fd", Model: "NVIDIA A100-SXM4-40GB MIG 3g.20gb", MemoryBytes: 20 << 30 / 100 * 95},
			{ID: "MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d", Model: "NVIDIA A100-SXM4-40GB MIG 1g.5gb+me", MemoryBytes: 5 << 30 / 100 * 95},
		}},
		{dir: "old-driver", want: []rota.GPU{
			{ID: "GPU-99999999-1111-2222-3333-444444444444", Model: "Tesla V100-SXM2-16GB", MemoryBytes: 16160 << 20},
		}},
		{dir: "shared-memory", notes: 1, want: []rota.GPU{
			{ID: "GPU-77777777-1111-2222-3333-444444444444", Model: "NVIDIA GB10"},
		}},
		{dir: "none"},
	} {
		got, notes, err := GPUs(t.Context(), recorded(t, c.dir))
		if err != nil || len(got) != len(c.want) || len(notes) != c.notes {
			t.Errorf("%s: %+v, %q, %v", c.dir, got, notes, err)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: device %d is %+v, want %+v", c.dir, i, got[i], c.want[i])
			}
		}
	}
}

// The floor of a demand is met from 95 % (JOBSPEC.md, section 3).
func TestMIGInstanceMeetsTheMemoryOfItsName(t *testing.T) {
	g := instance{profile: "1g.10gb", uuid: "MIG-x"}.gpu("NVIDIA H100 80GB HBM3")
	if want := int64(10<<30) / 100 * 95; g.MemoryBytes < want {
		t.Fatalf("a 10gb instance has %d bytes, a floor of 10GiB is met from %d", g.MemoryBytes, want)
	}
}

func TestMachineWithoutToolHasNoGPUs(t *testing.T) {
	gpus, notes, err := GPUs(t.Context(), func(context.Context, ...string) ([]byte, error) { return nil, ErrNoTool })
	if gpus != nil || notes != nil || err != nil {
		t.Fatalf("found %v, %v, %v", gpus, notes, err)
	}
}

func TestBrokenDriverIsAnErrorWithItsWords(t *testing.T) {
	_, _, err := GPUs(t.Context(), recorded(t, "broken-driver"))
	if err == nil || !strings.Contains(err.Error(), "couldn't communicate with the NVIDIA driver") {
		t.Fatalf("got %v", err)
	}
	for _, out := range []string{"0, a, b\n", "0, NVIDIA, 10, not-a-uuid\n", "0, X, 1, GPU-1\n1, X, 1, GPU-1\n", "\"\n"} {
		if d, err := parseQuery([]byte(out)); err == nil && len(d) > 0 {
			t.Errorf("%q was understood as %+v", out, d)
		}
	}
}

func TestToolThatHangsIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil { //nolint:gosec // a script runs
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err := GPUs(ctx, NvidiaSMI)
	if err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Fatalf("got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := NvidiaSMI(t.Context(), "-L"); !errors.Is(err, ErrNoTool) {
		t.Fatalf("without a tool: %v", err)
	}
}
