package placement

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Options say what Run measures.
type Options struct {
	Trace    string  // directory of the trace; empty: made workloads alone
	Workload string  // empty: all whose tasks are there
	Seeds    int     // of the filling, from 42 on; 1..10
	Lives    float64 // mean lives measured with departures; 0: none
	Made     bool    // workloads that are drawn, too
	Picture  string  // file for the curves of the first workload; empty: none
}

// firstSeed is the first of the published seeds.
const firstSeed = 42

// madeNodes is the size of the clusters of made workloads.
const madeNodes = 1200

// Run measures and writes tables as text. It stops between two runs when ctx ends.
func Run(ctx context.Context, o Options, w io.Writer) error {
	if o.Seeds < 1 || o.Seeds > 10 {
		return fmt.Errorf("there are seeds for 1 to 10 runs, not %d", o.Seeds)
	}
	traces, err := o.traces()
	if err != nil {
		return err
	}
	p := &printer{w: w}
	for i, t := range traces {
		recorded := i < len(traces)-o.made()
		p.line("\n## %s: %d tasks, %d nodes, %d GPUs\n", t.Workload, len(t.Tasks), len(t.Nodes), t.CapacityMilli()/1000)
		curves, err := o.filling(ctx, t, recorded, p)
		if err != nil {
			return err
		}
		if i == 0 && o.Picture != "" {
			if err := os.WriteFile(o.Picture, picture(t, curves), 0o600); err != nil {
				return fmt.Errorf("write the picture: %w", err)
			}
		}
		if err := o.departures(ctx, t, p); err != nil {
			return err
		}
	}
	return p.err
}

// traces are the recorded ones, then those drawn from the first of them, then those
// made from nothing.
func (o *Options) traces() ([]*Trace, error) {
	var traces []*Trace
	if o.Trace != "" {
		names := []string{o.Workload}
		if o.Workload == "" {
			var err error
			if names, err = Workloads(o.Trace); err != nil {
				return nil, err
			}
		}
		for _, name := range names {
			t, err := ReadTrace(o.Trace, name)
			if err != nil {
				return nil, err
			}
			traces = append(traces, t)
		}
	}
	if o.Made && len(traces) > 0 {
		for _, m := range reshapedWorkloads() {
			traces = append(traces, m.reshaped(traces[0], 1))
		}
	}
	if o.Made {
		for _, m := range madeWorkloads() {
			traces = append(traces, m.trace(madeNodes, 1))
		}
	}
	if len(traces) == 0 {
		return nil, errors.New("there is nothing to measure: name the directory of a trace, or ask for made workloads")
	}
	return traces, nil
}

// made is how many of traces are not recorded.
func (o *Options) made() int {
	switch {
	case !o.Made:
		return 0
	case o.Trace == "":
		return len(madeWorkloads())
	}
	return len(madeWorkloads()) + len(reshapedWorkloads())
}

// filling runs the published experiment with every policy and seed.
func (o *Options) filling(ctx context.Context, t *Trace, recorded bool, p *printer) ([]curve, error) {
	known, err := readPublished(o.Trace, t.Workload)
	if err != nil {
		return nil, err
	}
	seeds := o.Seeds
	if !recorded {
		seeds = min(seeds, 3)
	}
	p.line("Filling, mean of %d seeds: allocated GPU in percent at a load of\n", seeds)
	p.line("| policy | 100 | 120 | 130 | smallest at 120 | equal to the published curves |")
	p.line("|---|---|---|---|---|---|")
	var means []curve
	for _, c := range policies(t) {
		var curves []curve
		exact, compared := 0, 0
		for seed := int64(firstSeed); seed < int64(firstSeed+seeds); seed++ {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("measure %s: %w", t.Workload, err)
			}
			got := fill(t, planOf(t, seed), c.make())
			curves = append(curves, got)
			if want, ok := known[publishedKey(c.name, seed)]; ok {
				compared++
				if got.differing(&want) == 0 {
					exact++
				}
			}
		}
		m := mean(curves)
		means = append(means, m)
		least := curves[0][120]
		for i := range curves {
			least = min(least, curves[i][120])
		}
		verdict := "-"
		if compared > 0 {
			verdict = fmt.Sprintf("in every column: %d of %d seeds", exact, compared)
		}
		p.line("| %s | %.2f | %.2f | %.2f | %.2f | %s |", c.name, m[100], m[120], m[130], least, verdict)
	}
	return means, nil
}

// departures lets the same tasks come and go.
func (o *Options) departures(ctx context.Context, t *Trace, p *printer) error {
	if o.Lives <= 0 {
		return nil
	}
	p.line("\nComing and going, %g mean lives: allocated; of the GPU asked for: granted, granted to tasks with several; in percent\n", o.Lives)
	p.line("| policy | load 0.95: allocated | granted | several | load 1.05: allocated | granted | several |")
	p.line("|---|---|---|---|---|---|---|")
	for _, c := range policies(t) {
		var out [2]churned
		for i, load := range [...]float64{.95, 1.05} {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("measure %s: %w", t.Workload, err)
			}
			out[i] = churn{load: load, lives: o.Lives, seed: 1}.run(t, c.make())
		}
		p.line("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |", c.name,
			out[0].used, out[0].granted, out[0].grantedMulti, out[1].used, out[1].granted, out[1].grantedMulti)
	}
	return nil
}

// printer writes lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
