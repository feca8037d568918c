package jobspecs

import (
	"encoding/binary"

	"github.com/rota-sched/rota"
)

// fingerprint writes everything a spec says, so that equal specs, and only those,
// have equal fingerprints.
func fingerprint(s *rota.TaskSpec) string {
	b := make([]byte, 0, 256)
	b = texts(b, s.Type, string(s.Driver), s.Workdir, string(s.Input), string(s.Output), string(s.Rerun), s.Stop.Signal, string(s.Retry.Backoff))
	b = list(b, s.Command)
	b = binary.AppendUvarint(b, uint64(len(s.Env)))
	for _, p := range s.Env {
		b = texts(b, p.Key, p.Value)
	}
	b = list(b, s.Capabilities)
	b = binary.AppendUvarint(b, uint64(len(s.Constraints)))
	for _, c := range s.Constraints {
		b = texts(b, c.Attribute, string(c.Operator))
		b = list(b, c.Values)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Affinities)))
	for _, a := range s.Affinities {
		b = texts(b, a.Constraint.Attribute, string(a.Constraint.Operator))
		b = numbers(list(b, a.Constraint.Values), int64(a.Weight))
	}
	b = binary.AppendUvarint(b, uint64(len(s.Spreads)))
	for _, sp := range s.Spreads {
		b = numbers(texts(b, sp.Attribute), int64(sp.Weight))
	}
	b = list(b, s.Late)
	r, g, p, t := &s.Resources, &s.Resources.GPU, &s.Retry, &s.Timeouts
	b = texts(b, g.Model)
	b = numbers(b, int64(s.Priority), r.CPUMilli, r.MemoryBytes, r.DiskBytes, int64(g.Count), g.MemoryBytes, g.ShareMilli,
		int64(p.MaxAttempts), int64(p.Initial), int64(p.Max), p.MultiplierMilli, flag(p.Jitter), flag(p.On == nil), int64(len(p.On)),
		int64(t.ScheduleToStart), int64(t.StartToClose), int64(t.ScheduleToClose), int64(s.Stop.Grace), flag(s.AllowFailure), flag(s.Input == nil), flag(s.DistinctHosts))
	for _, c := range p.On {
		b = append(b, byte(c))
	}
	return string(b)
}

func texts(b []byte, list ...string) []byte {
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func list(b []byte, l []string) []byte {
	return texts(binary.AppendUvarint(b, uint64(len(l))), l...)
}

func numbers(b []byte, list ...int64) []byte {
	for _, n := range list {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func flag(v bool) int64 {
	if v {
		return 1
	}
	return 0
}
