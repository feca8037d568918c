package fsm

import "github.com/rota-sched/rota"

// FormatOf is the format version from which on an operation is known. An older build
// cannot even decode it and halts, so a leader keeps it out of the log until that format is
// active. Operations whose content needs a newer format, such as the spec of a
// submission, are encoded so that an older build reads and refuses them.
func FormatOf(op rota.Op) int {
	switch op.(type) {
	case rota.StoreJob, rota.MarkJob:
		return rota.FormatJobs
	case rota.MarkUnfit:
		return rota.FormatUnfit
	default:
		return 1
	}
}

// Known refuses an operation, with KindFormat, that the active format does not know.
func Known(op rota.Op, active uint16) error {
	if need := FormatOf(op); need > int(active) {
		r := tooOld(need)
		return r.Err()
	}
	return nil
}
