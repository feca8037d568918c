package placement

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
)

// Trace is a cluster and the tasks that come to it.
type Trace struct {
	Workload string
	Nodes    []Machine // by name
	Tasks    []Job     // by name
}

// Machine is one node of a trace.
type Machine struct {
	Name      string
	CPUMilli  int64
	MemoryMiB int64
	GPUs      int
	Model     string
}

// Job is one task of a trace.
type Job struct {
	Name string
	Spec *rota.TaskSpec // equal demands share one
	// Models are the GPU types it may use; empty: any.
	Models []string
}

// GPUMilli is what the task asks for, in thousandths of a device.
func (j *Job) GPUMilli() int64 {
	d := j.Spec.Resources.GPU
	return int64(d.Count) * d.MilliEach()
}

// CapacityMilli is all GPU of the cluster, in thousandths of a device.
func (t *Trace) CapacityMilli() int64 {
	n := int64(0)
	for i := range t.Nodes {
		n += int64(t.Nodes[i].GPUs) * rota.WholeGPU
	}
	return n
}

const (
	nodeFile   = "openb_node_list_gpu_node.csv"
	taskPrefix = "openb_pod_list_"
)

// Workloads lists the workloads whose tasks lie in the directory, or in its
// sub-directory openb.
func Workloads(dir string) ([]string, error) {
	var names []string
	for _, d := range []string{dir, filepath.Join(dir, "openb")} {
		entries, err := os.ReadDir(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list the trace: %w", err)
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".gz"), taskPrefix)
			if name, csv := strings.CutSuffix(name, ".csv"); ok && csv && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no %sNAME.csv or .csv.gz in %s or its folder openb: see docs/PLACEMENT.md for where the public trace is", taskPrefix, dir)
	}
	slices.Sort(names)
	return names, nil
}

// ReadTrace reads the cluster and one workload.
func ReadTrace(dir, workload string) (*Trace, error) {
	t := &Trace{Workload: workload}
	rows, err := readTable(dir, "openb", nodeFile)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		m := Machine{Name: r.text("sn"), CPUMilli: r.number("cpu_milli"), MemoryMiB: r.number("memory_mib"), GPUs: int(r.number("gpu")), Model: r.text("model")}
		if r.err != nil {
			return nil, r.err
		}
		t.Nodes = append(t.Nodes, m)
	}
	if rows, err = readTable(dir, "openb", taskPrefix+workload+".csv"); err != nil {
		return nil, err
	}
	specs := specs{}
	for _, r := range rows {
		d := demand{cpu: r.number("cpu_milli"), mib: r.number("memory_mib"), count: int(r.number("num_gpu")), milli: r.number("gpu_milli"), models: r.text("gpu_spec")}
		if r.err != nil {
			return nil, r.err
		}
		t.Tasks = append(t.Tasks, specs.job(r.text("name"), d))
	}
	if len(t.Nodes) == 0 || len(t.Tasks) == 0 {
		return nil, fmt.Errorf("the trace %s has %d nodes and %d tasks: both are needed", workload, len(t.Nodes), len(t.Tasks))
	}
	t.sort()
	return t, nil
}

func (t *Trace) sort() {
	slices.SortStableFunc(t.Nodes, func(a, b Machine) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(t.Tasks, func(a, b Job) int { return strings.Compare(a.Name, b.Name) })
}

// demand is a line of a task list.
type demand struct {
	cpu, mib int64
	count    int
	milli    int64 // of each device
	models   string
}

// specs makes one spec for equal demands.
type specs map[demand]*rota.TaskSpec

func (s specs) job(name string, d demand) Job {
	if d.count == 0 {
		d.milli = 0
	}
	spec := s[d]
	if spec == nil {
		spec = &rota.TaskSpec{Driver: rota.DriverNoop, Resources: rota.Resources{
			CPUMilli: d.cpu, MemoryBytes: d.mib << 20, GPU: rota.GPUDemand{Count: d.count},
		}}
		if d.count > 0 && d.milli < rota.WholeGPU {
			spec.Resources.GPU.ShareMilli = d.milli
		}
		if d.models != "" {
			spec.Constraints = []rota.Constraint{{Attribute: "gpu.model", Operator: rota.OpIn, Values: strings.Split(d.models, "|")}}
		}
		s[d] = spec
	}
	j := Job{Name: name, Spec: spec}
	if len(spec.Constraints) > 0 {
		j.Models = spec.Constraints[0].Values
	}
	return j
}

// row is a line of a table with the names of its columns.
type row struct {
	file    string
	line    int
	columns map[string]int
	fields  []string
	err     error
}

func (r *row) text(column string) string {
	i, ok := r.columns[column]
	if !ok && r.err == nil {
		r.err = fmt.Errorf("%s has no column %q", r.file, column)
	}
	if !ok {
		return ""
	}
	return r.fields[i]
}

func (r *row) number(column string) int64 {
	text := r.text(column)
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		r.err = fmt.Errorf("%s:%d: %s is %q: it must be a whole number from 0", r.file, r.line, column, text)
	}
	return n
}

// readTable reads NAME or NAME.gz from the directory or the sub-directory.
func readTable(dir, sub, name string) ([]*row, error) {
	var tried []string
	for _, path := range []string{filepath.Join(dir, name), filepath.Join(dir, sub, name)} {
		for _, path := range []string{path, path + ".gz"} {
			f, err := os.Open(path)
			if errors.Is(err, fs.ErrNotExist) {
				tried = append(tried, path)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read the trace: %w", err)
			}
			defer f.Close() //nolint:errcheck // only read
			return parseTable(path, f)
		}
	}
	return nil, fmt.Errorf("read the trace: none of %s exists: %w", strings.Join(tried, ", "), fs.ErrNotExist)
}

func parseTable(path string, f io.Reader) ([]*row, error) {
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", path, err)
		}
		f = z
	}
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("%s is empty: a line with the names of the columns is needed", path)
	}
	columns := map[string]int{}
	for i, c := range records[0] {
		columns[c] = i
	}
	rows := make([]*row, 0, len(records)-1)
	for i, r := range records[1:] {
		rows = append(rows, &row{file: path, line: i + 2, columns: columns, fields: r})
	}
	return rows, nil
}
