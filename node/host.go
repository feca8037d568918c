package node

import (
	"context"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/hostinfo"
)

// look finds out what this machine has, and puts the devices to announce into the
// configuration.
func look(ctx context.Context, cfg *Config, log hclog.Logger) (hostinfo.Facts, error) {
	facts, err := hostinfo.Detect(cfg.Data)
	if err != nil {
		return facts, err
	}
	for _, note := range facts.Notes {
		log.Info("about this machine", "note", note)
	}
	if cfg.Slots == 0 {
		cfg.Slots = facts.Slots()
	}
	if !cfg.DetectGPUs || len(cfg.GPUs) > 0 {
		return facts, nil
	}
	gpus, notes, err := hostinfo.GPUs(ctx, hostinfo.NvidiaSMI)
	for _, note := range notes {
		log.Warn("about this machine's GPUs", "note", note)
	}
	switch {
	case err != nil && cfg.NeedGPUs:
		return facts, fmt.Errorf("--gpu auto: %w", err)
	case err != nil:
		log.Warn("this machine's GPUs are not announced", "error", err)
	case len(gpus) == 0 && cfg.NeedGPUs:
		return facts, &rota.Refusal{Kind: rota.KindInvalid, Detail: "--gpu auto: nvidia-smi found no GPU here: leave the flag out, or name devices with --gpu fake:MODEL,MEMORY,COUNT"}
	}
	cfg.GPUs = gpus
	return facts, nil
}
