package hostinfo

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// Tool runs nvidia-smi with arguments and returns what it printed. The error
// wraps ErrNoTool where there is none.
type Tool func(ctx context.Context, args ...string) ([]byte, error)

// ErrNoTool says that the machine has no nvidia-smi.
var ErrNoTool = errors.New("nvidia-smi is not installed")

// toolPatience is how long one call of nvidia-smi may take: without its
// persistence daemon the driver is loaded first, which takes seconds.
const toolPatience = 15 * time.Second

// NvidiaSMI is the Tool of the machine. One that hangs in the driver cannot be
// killed; after its time it is left alone.
func NvidiaSMI(ctx context.Context, args ...string) ([]byte, error) {
	path, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return nil, ErrNoTool
	}
	ctx, cancel := context.WithTimeout(ctx, toolPatience)
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	done := make(chan error, 1)
	go func() { // nobody waits for it if the kernel does not let go of the tool
		defer cancel()
		done <- cmd.Run()
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(2 * time.Second):
			return nil, fmt.Errorf("nvidia-smi hangs and cannot be killed: %w", ctx.Err())
		}
	}
	if ctx.Err() != nil && err != nil {
		return nil, fmt.Errorf("nvidia-smi did not answer within %v: %w", toolPatience, err)
	}
	if err != nil {
		said := strings.TrimSpace(stderr.String() + stdout.String()) // it complains on stdout
		return nil, fmt.Errorf("nvidia-smi %s: %w: %.300s", strings.Join(args, " "), err, said)
	}
	return stdout.Bytes(), nil
}

// GPUs asks the tool for the machine's devices, in its order; a device in MIG mode
// is replaced by its instances. notes say what was left out and why. A machine
// without the tool has no GPUs, which is no error.
func GPUs(ctx context.Context, tool Tool) (gpus []rota.GPU, notes []string, err error) {
	devices, err := query(ctx, tool)
	if errors.Is(err, ErrNoTool) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var listed map[string][]instance
	for _, d := range devices {
		if !d.mig {
			if d.gpu.MemoryBytes == 0 {
				notes = append(notes, fmt.Sprintf("GPU %s (%s) does not say how much memory it has: demands with a memory floor pass it over", d.gpu.ID, d.gpu.Model))
			}
			gpus = append(gpus, d.gpu)
			continue
		}
		if listed == nil {
			if listed, err = list(ctx, tool); err != nil {
				return nil, nil, err
			}
		}
		instances := listed[d.gpu.ID]
		if len(instances) == 0 {
			notes = append(notes, fmt.Sprintf("GPU %s (%s) is in MIG mode without an instance: nothing can be placed on it; make some with nvidia-smi mig -cgi ... -C", d.gpu.ID, d.gpu.Model))
		}
		for _, i := range instances {
			gpus = append(gpus, i.gpu(d.gpu.Model))
		}
	}
	return gpus, notes, nil
}

// device is one line of the query.
type device struct {
	gpu rota.GPU
	mig bool
}

const (
	queryFields = "index,name,memory.total,uuid"
	queryMIG    = ",mig.mode.current"
	queryFormat = "--format=csv,noheader,nounits"
)

// query asks for the devices; a tool too old to know of MIG is asked without it.
func query(ctx context.Context, tool Tool) ([]device, error) {
	out, err := tool(ctx, "--query-gpu="+queryFields+queryMIG, queryFormat)
	if err != nil && strings.Contains(err.Error(), "not a valid field") {
		out, err = tool(ctx, "--query-gpu="+queryFields, queryFormat)
	}
	if err != nil {
		if strings.Contains(err.Error(), "No devices were found") {
			return nil, nil
		}
		return nil, err
	}
	return parseQuery(out)
}

func parseQuery(out []byte) ([]device, error) {
	if bytes.Contains(out, []byte("No devices were found")) {
		return nil, nil
	}
	r := csv.NewReader(bytes.NewReader(out))
	r.TrimLeadingSpace, r.FieldsPerRecord, r.LazyQuotes = true, -1, true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("understand nvidia-smi's list of devices: %w", err)
	}
	var devices []device
	seen := map[string]bool{}
	for i, f := range lines {
		if len(f) < 4 || !strings.HasPrefix(f[3], "GPU-") || seen[f[3]] {
			return nil, fmt.Errorf("understand nvidia-smi's list of devices: line %d is %.200q", i+1, strings.Join(f, ", "))
		}
		seen[f[3]] = true
		d := device{gpu: rota.GPU{ID: f[3], Model: f[1]}, mig: len(f) > 4 && f[4] == "Enabled"}
		// [N/A] where memory is shared with the machine.
		if mib, err := strconv.ParseInt(f[2], 10, 64); err == nil && mib > 0 && mib < 1<<40 {
			d.gpu.MemoryBytes = mib << 20
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// instance is a MIG device.
type instance struct {
	profile string // 1g.10gb, 1c.3g.20gb, 1g.10gb+me
	uuid    string
}

var (
	listDevice   = regexp.MustCompile(`^GPU \d+: .*\(UUID: (GPU-[^)]+)\)`)
	listInstance = regexp.MustCompile(`^\s+MIG (\S+)\s+Device\s+\d+:\s+\(UUID: (MIG-[^)]+)\)`)
	profileSize  = regexp.MustCompile(`\.(\d+)gb`)
)

// list asks for the instances of all devices, by the device's UUID.
func list(ctx context.Context, tool Tool) (map[string][]instance, error) {
	out, err := tool(ctx, "-L")
	if err != nil {
		return nil, err
	}
	return parseList(out), nil
}

func parseList(out []byte) map[string][]instance {
	listed := map[string][]instance{}
	of := ""
	for line := range strings.Lines(string(out)) {
		if m := listDevice.FindStringSubmatch(line); m != nil {
			of = m[1]
		} else if m := listInstance.FindStringSubmatch(line); m != nil && of != "" {
			listed[of] = append(listed[of], instance{profile: m[1], uuid: m[2]})
		}
	}
	return listed
}

// gpu is the instance as a device. Its profile names the memory in rounded GB;
// what is there is about 95 % of as many GiB (a 1g.5gb has 4,864 MiB).
func (i instance) gpu(model string) rota.GPU {
	g := rota.GPU{ID: i.uuid, Model: model + " MIG " + i.profile}
	if m := profileSize.FindStringSubmatch(i.profile); m != nil {
		if gb, err := strconv.ParseInt(m[1], 10, 32); err == nil {
			g.MemoryBytes = gb << 30 / 100 * 95
		}
	}
	return g
}
