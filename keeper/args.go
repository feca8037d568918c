package keeper

import (
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
)

// Command is the word by which a binary runs as the keeper: `rota keeper ...`.
const Command = "keeper"

// args writes the command line that ParseArgs reads. It holds no secrets: every
// user of the machine can read it.
func (cfg *MainConfig) args() []string {
	if cfg.Probe {
		return []string{Command, "--probe"}
	}
	out := []string{Command, "--data", cfg.Data}
	if cfg.Level != "" {
		out = append(out, "--level", string(cfg.Level))
	}
	if cfg.InNS {
		out = append(out, "--in-ns")
	}
	for _, w := range cfg.Why {
		out = append(out, "--why", w)
	}
	if cfg.Ready > 0 {
		out = append(out, "--ready", strconv.Itoa(cfg.Ready))
	}
	t := cfg.Times
	return append(out, "--ttl", t.TTL.String(), "--renew", t.Renew.String(), "--kill", t.Kill.String(), "--term", t.Term.String(), "--adopt", t.Adopt.String())
}

// ParseArgs reads the arguments after the word Command.
func ParseArgs(args []string) (MainConfig, error) {
	cfg := MainConfig{Times: rota.DefaultLeaseTimes()}
	fs := flag.NewFlagSet(Command, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&cfg.Data, "data", "", "the node's data directory")
	fs.Func("level", "strongest level of containment to use", func(s string) error { cfg.Level = Level(s); return nil })
	fs.BoolVar(&cfg.Probe, "probe", false, "end at once")
	fs.BoolVar(&cfg.InNS, "in-ns", false, "init of a PID namespace")
	fs.Func("why", "why no PID namespace", func(s string) error { cfg.Why = append(cfg.Why, s); return nil })
	fs.IntVar(&cfg.Ready, "ready", 0, "descriptor to say ready on")
	for name, to := range map[string]*time.Duration{"ttl": &cfg.Times.TTL, "renew": &cfg.Times.Renew, "kill": &cfg.Times.Kill, "term": &cfg.Times.Term, "adopt": &cfg.Times.Adopt} {
		fs.DurationVar(to, name, *to, "lease time")
	}
	if err := fs.Parse(args); err != nil {
		return MainConfig{}, fmt.Errorf("%s: %w", Command, err)
	}
	if cfg.Data == "" && !cfg.Probe {
		return MainConfig{}, fmt.Errorf("%s: --data is missing; this command is for the agent's own use", Command)
	}
	return cfg, nil
}

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
