package hostinfo

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
)

// GPUSpec is what a node's --gpu says.
type GPUSpec struct {
	Detect bool       // auto: ask the machine
	Fake   []rota.GPU // announced instead; fake-0 ...
}

// maxFakeGPUs bounds the devices of a node.
const maxFakeGPUs = 64

const specWanted = "want none, auto or fake:MODEL,MEMORY,COUNT, such as fake:H100,80GiB,8"

// ParseGPUSpec reads none, auto (also an empty text) or fake:MODEL,MEMORY,COUNT.
func ParseGPUSpec(s string) (GPUSpec, error) {
	switch s {
	case "none":
		return GPUSpec{}, nil
	case "auto", "":
		return GPUSpec{Detect: true}, nil
	}
	rest, ok := strings.CutPrefix(s, "fake:")
	if !ok {
		return GPUSpec{}, fmt.Errorf("--gpu %q: %s", s, specWanted)
	}
	parts := strings.Split(rest, ",")
	if len(parts) != 3 || strings.TrimSpace(parts[0]) == "" {
		return GPUSpec{}, fmt.Errorf("--gpu %q: %s", s, specWanted)
	}
	memory, err := parseSize(strings.TrimSpace(parts[1]))
	if err != nil {
		return GPUSpec{}, fmt.Errorf("--gpu %q: %w", s, err)
	}
	count, err := strconv.Atoi(strings.TrimSpace(parts[2]))
	if err != nil || count < 1 || count > maxFakeGPUs {
		return GPUSpec{}, fmt.Errorf("--gpu %q: the count %q is not a number from 1 to %d", s, parts[2], maxFakeGPUs)
	}
	var spec GPUSpec
	for i := range count {
		spec.Fake = append(spec.Fake, rota.GPU{ID: fmt.Sprintf("fake-%d", i), Model: strings.TrimSpace(parts[0]), MemoryBytes: memory})
	}
	return spec, nil
}

var sizeUnits = []struct {
	name  string
	bytes uint64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
}

// parseSize reads a size as job files write it: an integer or decimal with a unit.
func parseSize(s string) (int64, error) {
	wanted := fmt.Errorf("%q is not a size: want a number with KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 80GiB", s)
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		whole, fraction, _ := strings.Cut(strings.TrimSpace(digits), ".")
		if len(fraction) > 6 {
			return 0, wanted
		}
		n, err := strconv.ParseUint(whole+fraction, 10, 63)
		if err != nil {
			return 0, wanted
		}
		scale := uint64(1)
		for range fraction {
			scale *= 10
		}
		hi, lo := bits.Mul64(n, u.bytes)
		if hi >= scale {
			return 0, wanted
		}
		q, _ := bits.Div64(hi, lo, scale)
		if q == 0 || q > 1<<62 {
			return 0, wanted
		}
		return int64(q), nil
	}
	return 0, wanted
}
