package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func sampleReport() *Report {
	return &Report{
		Version: "v0", Go: "go1", OS: "linux", Arch: "amd64", Cores: 2, LogStore: "bolt", Data: "/d", Disk: "ext4",
		Figures: []Figure{
			line{name: "rate", unit: "1/s", more: true, limit: limitSync}.figure("counted", []float64{300, 100, 200}, []float64{50, 40, 60}),
			line{name: "time", unit: "ms"}.figure("clocked", []float64{1.234, 12.34}, nil),
		},
	}
}

func TestTableShowsAllRepeatsAndTheLimitBesideThem(t *testing.T) {
	var b strings.Builder
	if err := sampleReport().writeTable(&b); err != nil {
		t.Fatal(err)
	}
	want := `rota v0, go1, linux/amd64, 2 cores, log store bolt, data in /d (ext4)

MEASURE  UNIT  REPEATS      MEDIAN  WORST  MACHINE'S LIMIT       RATIO
rate     1/s   300 100 200  200     100    50.0 1/s (fdatasync)  4.00
time     ms    1.23 12.3    6.79    12.3   -                     -

How it was measured:
  rate: counted
  time: clocked
`
	if b.String() != want {
		t.Errorf("the table is\n%s\nwant\n%s", b.String(), want)
	}
}

func TestJSONHasWhatTheTableHas(t *testing.T) {
	var b strings.Builder
	if err := sampleReport().writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	f := back.Figures[0]
	if len(f.Repeats) != 3 || f.Median != 200 || f.Worst != 100 || f.Limit.Median != 50 || f.Ratio != 4 {
		t.Errorf("the first figure came back as %+v", f)
	}
	if back.Figures[1].Limit != nil {
		t.Error("a limit appeared from nowhere")
	}
}

func TestWhatWasMeasuredBeforeAnErrorIsShown(t *testing.T) {
	wrong := errors.New("the disk burns")
	n := 0
	m := &measure{
		name: "m", within: time.Minute, lines: []line{{name: "a", unit: "s"}, {name: "never", unit: "s"}},
		once: func(context.Context, *settings) (map[string][]float64, error) {
			n++
			if n == 3 {
				return nil, wrong
			}
			return map[string][]float64{"a": {float64(n)}}, nil
		},
	}
	s := &settings{repeats: 5, logStore: "bolt", note: func(string, ...any) {}}
	var b strings.Builder
	if err := perform(t.Context(), "v0", s, []*measure{m, m}, "table", &b); !errors.Is(err, wrong) {
		t.Fatalf("the error is %v", err)
	}
	if n != 3 || !strings.Contains(b.String(), "a        s     1.00 2.00") || strings.Contains(b.String(), "never") {
		t.Errorf("after %d repeats the table is\n%s", n, b.String())
	}
}
