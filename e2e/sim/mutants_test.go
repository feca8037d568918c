package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mutant is one classic bug, as a change of the source that is never made: the
// compiler is shown another file in its place.
type mutant struct {
	name, about, breaks string
	seeds               uint64
	edits               []edit
}

type edit struct{ file, anchor, instead string }

const moduleRoot = "../.."

// readMutants reads the files of the folder mutants: three headers, then edits.
func readMutants(t *testing.T) []mutant {
	t.Helper()
	paths, err := filepath.Glob("mutants/*.mut")
	if err != nil {
		t.Fatal(err)
	}
	mutants := make([]mutant, 0, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMutant(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		m.name = strings.TrimSuffix(filepath.Base(path), ".mut")
		mutants = append(mutants, m)
	}
	return mutants
}

var errMutant = errors.New("not a mutant")

func parseMutant(text string) (mutant, error) {
	var m mutant
	head, rest, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "about":
			m.about = value
		case "breaks":
			m.breaks = value
		case "seeds":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return m, fmt.Errorf("seeds: %w", err)
			}
			m.seeds = n
		default:
			return m, fmt.Errorf("%w: header %q", errMutant, key)
		}
	}
	for rest != "" {
		var e edit
		var ok bool
		if e.file, rest, ok = strings.Cut(rest, "\n<<<<\n"); ok {
			if e.anchor, rest, ok = strings.Cut(rest, "\n====\n"); ok {
				e.instead, rest, ok = strings.Cut(rest, ">>>>\n")
			}
		}
		if !ok || !strings.HasPrefix(e.file, "file: ") {
			return m, fmt.Errorf("%w: an edit is not file, <<<<, anchor, ====, replacement, >>>>", errMutant)
		}
		e.file = strings.TrimPrefix(e.file, "file: ")
		e.instead = strings.TrimSuffix(e.instead, "\n")
		rest = strings.TrimLeft(rest, "\n")
		m.edits = append(m.edits, e)
	}
	if m.about == "" || m.breaks == "" || m.seeds == 0 || len(m.edits) == 0 {
		return m, fmt.Errorf("%w: about, breaks, seeds and an edit are needed", errMutant)
	}
	return m, nil
}

// changed gives the source files with the bug in them, by path below the module.
func (m *mutant) changed() (map[string]string, error) {
	files := map[string]string{}
	for _, e := range m.edits {
		text, ok := files[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(moduleRoot, e.file))
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.anchor); n != 1 {
			return nil, fmt.Errorf("%w: its anchor is there %d times in %s: follow the source\n%s", errMutant, n, e.file, e.anchor)
		}
		files[e.file] = strings.Replace(text, e.anchor, e.instead, 1)
	}
	return files, nil
}

// TestMutantsFitTheSource: every mutant's anchor stands in today's source once.
func TestMutantsFitTheSource(t *testing.T) {
	mutants := readMutants(t)
	if len(mutants) < 15 {
		t.Errorf("%d mutants, at least 15 are promised", len(mutants))
	}
	for _, m := range mutants {
		if _, err := m.changed(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// TestMutants: the simulation finds every planted bug within its number of seeds,
// by the promise that it breaks, and nothing in the source as it is within the
// same seeds. MUTANTS=all asks for it, or the name of one.
func TestMutants(t *testing.T) {
	asked := os.Getenv("MUTANTS")
	if asked == "" {
		t.Skip("MUTANTS=all, or the name of one, builds and runs them: make mutants")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("mutants are built with the go command, which is not here")
	}
	var most uint64
	for _, m := range readMutants(t) {
		if asked != "all" && asked != m.name {
			continue
		}
		most = max(most, m.seeds)
		t.Run(m.name, func(t *testing.T) { m.find(t) })
	}
	if most == 0 {
		t.Fatalf("no mutant has the name %q", asked)
	}
	t.Run("none", func(t *testing.T) {
		if out := runSeeds(t, build(t, nil), most, false); !bytes.Contains(out, []byte("PASS")) {
			t.Errorf("without a mutant %d seeds do not pass:\n%s", most, out)
		}
	})
}

var found = regexp.MustCompile(`seed (\d+) breaks "(\w+)": (.*)`)

func (m *mutant) find(t *testing.T) {
	t.Helper()
	files, err := m.changed()
	if err != nil {
		t.Fatal(err)
	}
	out := runSeeds(t, build(t, files), m.seeds, m.breaks == "replays")
	hit := found.FindSubmatch(out)
	switch {
	case hit == nil:
		t.Errorf("not found within %d seeds: %s\n%s", m.seeds, m.about, out)
	case !slices.Contains(strings.Fields(m.breaks), string(hit[2])):
		t.Errorf("seed %s finds that it breaks %q, want %q: %s", hit[1], hit[2], m.breaks, hit[3])
	default:
		t.Logf("seed %s, %s: %s", hit[1], hit[2], hit[3])
	}
}

// build makes the test binary of this package with other files in the place of some.
func build(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range files {
		path := filepath.Join(dir, strconv.Itoa(len(overlay.Replace))+".go")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, file)] = path
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "sim.test")
	run(t, exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "hashicorpmetrics", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, "."), true)
	return bin
}

// runSeeds runs TestSeeds of a test binary; its failure is what is hoped for.
func runSeeds(t *testing.T, bin string, seeds uint64, twice bool) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.run", "^TestSeeds$")
	cmd.Env = append(os.Environ(), "SEEDS="+strconv.FormatUint(seeds, 10), "SEED=")
	if twice {
		cmd.Env = append(cmd.Env, "TWICE=1")
	}
	return run(t, cmd, false)
}

func run(t *testing.T, cmd *exec.Cmd, well bool) []byte {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (well || !errors.As(err, &exit)) {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return out
}
