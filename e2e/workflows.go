package e2e

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxWorkflowBytes bounds one recorded workflow, unpacked.
const maxWorkflowBytes = 64 << 20

// Workflow is a recorded directed graph of tasks: which ran after which, and for
// how long.
type Workflow struct {
	Name  string         `json:"name"`
	Tasks []WorkflowTask `json:"tasks"` // in no particular order
}

// WorkflowTask is one node of a workflow.
type WorkflowTask struct {
	ID      string   `json:"id"`
	Seconds float64  `json:"runtime_s"` // as measured
	Parents []string `json:"parents"`   // IDs of the tasks that ended before it began
}

// ReadWorkflows reads every *.json and *.json.gz of a directory, by name.
func ReadWorkflows(dir string) ([]*Workflow, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, fmt.Errorf("read recorded workflows: %w", err)
	}
	var all []*Workflow
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") && !strings.HasSuffix(e.Name(), ".json.gz") {
			continue
		}
		w, err := readWorkflow(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no *.json and no *.json.gz in %s", dir)
	}
	return all, nil
}

func readWorkflow(path string) (*Workflow, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a recorded workflow: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", path, err)
		}
	}
	text, err := io.ReadAll(io.LimitReader(r, maxWorkflowBytes+1))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", path, err)
	}
	if len(text) > maxWorkflowBytes {
		return nil, fmt.Errorf("%s: more than %d bytes unpacked", path, maxWorkflowBytes)
	}
	var w Workflow
	if err := json.Unmarshal(text, &w); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if w.Name == "" {
		w.Name, _, _ = strings.Cut(filepath.Base(path), ".")
	}
	if _, err := w.order(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &w, nil
}

// order lists the tasks so that parents come first. It fails on a graph that is
// none: a task twice, an unknown parent, a cycle, a run time below zero.
func (w *Workflow) order() ([]WorkflowTask, error) {
	byID := make(map[string]WorkflowTask, len(w.Tasks))
	children := make(map[string][]string)
	open := make(map[string]int, len(w.Tasks))
	for _, t := range w.Tasks {
		if _, twice := byID[t.ID]; twice || t.ID == "" {
			return nil, fmt.Errorf("the task %q is there twice, or has no ID", t.ID)
		}
		if !(t.Seconds >= 0) {
			return nil, fmt.Errorf("the task %q ran for %v s", t.ID, t.Seconds)
		}
		byID[t.ID] = t
	}
	var ready []string
	for _, t := range w.Tasks {
		for _, p := range t.Parents {
			if _, ok := byID[p]; !ok {
				return nil, fmt.Errorf("the task %q has the parent %q, which is not there", t.ID, p)
			}
			children[p] = append(children[p], t.ID)
		}
		if open[t.ID] = len(t.Parents); open[t.ID] == 0 {
			ready = append(ready, t.ID)
		}
	}
	var order []WorkflowTask
	for len(ready) > 0 {
		t := byID[ready[0]]
		ready = ready[1:]
		order = append(order, t)
		for _, c := range children[t.ID] {
			if open[c]--; open[c] == 0 {
				ready = append(ready, c)
			}
		}
	}
	if len(order) < len(w.Tasks) {
		return nil, errors.New("the tasks form a cycle")
	}
	return order, nil
}

// Scale is the factor by which run times are cut so that the workflow takes about
// the target on so many slots: the longer of its critical path and its work
// spread over the slots. It never stretches them.
func (w *Workflow) Scale(slots int, target time.Duration) (float64, error) {
	order, err := w.order()
	if err != nil {
		return 0, err
	}
	var work, critical float64
	ends := make(map[string]float64, len(order))
	for _, t := range order {
		begin := 0.0
		for _, p := range t.Parents {
			begin = max(begin, ends[p])
		}
		ends[t.ID] = begin + t.Seconds
		work += t.Seconds
		critical = max(critical, ends[t.ID])
	}
	whole := max(critical, work/float64(max(slots, 1)))
	if whole <= target.Seconds() {
		return 1, nil
	}
	return target.Seconds() / whole, nil
}

// Keys gives every task the label that its task has in the job file: its ID with
// what a label may not hold made an underscore.
func (w *Workflow) Keys() map[string]string {
	const longest = 100 // bytes; a task key has 128
	keys := make(map[string]string, len(w.Tasks))
	taken := make(map[string]bool, len(w.Tasks))
	ids := make([]string, 0, len(w.Tasks))
	for _, t := range w.Tasks {
		ids = append(ids, t.ID)
	}
	slices.SortFunc(ids, cmp.Compare[string])
	for _, id := range ids {
		key := label(id)
		key = key[:min(len(key), longest)]
		for n, base := 2, key; taken[key]; n++ {
			key = fmt.Sprintf("%s_%d", base, n)
		}
		taken[key], keys[id] = true, key
	}
	return keys
}

func label(id string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, id)
	if c := clean[0]; c == '-' || c >= '0' && c <= '9' {
		clean = "t_" + clean
	}
	return clean
}

// Job writes the workflow as a job file. Each task sleeps its scaled run time and
// appends a line to the evidence file before and after:
// "start KEY ATTEMPT" and "end KEY ATTEMPT".
func (w *Workflow) Job(scale float64, evidence string) (string, error) {
	order, err := w.order()
	if err != nil {
		return "", err
	}
	keys := w.Keys()
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %d tasks, run times x %g\nlocals {\n  evidence = %s\n}\n\njob %s {\n", label(w.Name), len(order), scale, quote(evidence), quote(label(w.Name)))
	for _, t := range order {
		script := fmt.Sprintf(`echo start $ROTA_TASK $ROTA_ATTEMPT >>"$EVIDENCE" && sleep %.3f && echo end $ROTA_TASK $ROTA_ATTEMPT >>"$EVIDENCE"`, t.Seconds*scale)
		fmt.Fprintf(&b, "  task %s {\n    driver  = \"exec\"\n    command = [\"sh\", \"-c\", %s]\n    env     = { EVIDENCE = local.evidence }\n", quote(keys[t.ID]), quote(script))
		if len(t.Parents) > 0 {
			parents := make([]string, len(t.Parents))
			for i, p := range t.Parents {
				parents[i] = "task." + keys[p]
			}
			slices.Sort(parents)
			fmt.Fprintf(&b, "    depends_on = [%s]\n", strings.Join(slices.Compact(parents), ", "))
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return b.String(), nil
}

// quote writes a string as a literal of the job language.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{").Replace(s) + `"`
}
