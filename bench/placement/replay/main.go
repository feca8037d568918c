// Command replay measures the placement policies: see docs/PLACEMENT.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/rota-sched/rota/bench/placement"
)

func main() {
	var o placement.Options
	flag.StringVar(&o.Trace, "trace", "", "directory with the trace; empty: made workloads alone")
	flag.StringVar(&o.Workload, "workload", "", "one workload of the trace (default: all that are there)")
	flag.IntVar(&o.Seeds, "seeds", 10, "how many of the published seeds, from 42 on")
	flag.Float64Var(&o.Lives, "lives", 4, "mean lives to measure with departures; 0: none")
	flag.BoolVar(&o.Made, "made", false, "workloads with other shares, drawn, too")
	flag.StringVar(&o.Picture, "picture", "", "file for a picture of the first workload's curves (SVG)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := placement.Run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}
