package bench

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// call runs `rota bench` with arguments and returns what it wrote to stdout.
func call(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	root := &cobra.Command{Use: "bench", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().StringP("output", "o", "table", "")
	root.AddCommand(Commands("v0")...)
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(t.Output())
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestMachineKnowsItsLimits(t *testing.T) {
	dir := t.TempDir()
	out, err := call(t, "machine", "--repeats", "1", "--dir", dir, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if len(r.Figures) != 5 || r.Version != "v0" {
		t.Fatalf("the report is\n%s", out)
	}
	for _, f := range r.Figures {
		if len(f.Repeats) != 1 || f.Median <= 0 {
			t.Errorf("%s is %v %s", f.Name, f.Repeats, f.Unit)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("%d files were left behind", len(left))
	}
}

func TestNonsenseIsRefusedBeforeAnythingIsMeasured(t *testing.T) {
	for _, args := range [][]string{
		{"machine", "--repeats", "0"},
		{"machine", "--for", "1ns"},
		{"ops", "--log-store", "paper"},
		{"drain", "--slots", "-1"},
		{"all", "-o", "yaml"},
		{"machine", "now"},
	} {
		if out, err := call(t, args...); err == nil || out != "" {
			t.Errorf("%v: error %v, output %q", args, err, out)
		}
	}
}
