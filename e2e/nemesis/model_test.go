package nemesis

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model of one idempotency key: no run, or one run with what it may be. A run
// moves by itself from active to succeeded or failed; only a cancel cancels it.

// may is the set of states that a run can be in, as far as the history tells.
type may uint8

const (
	mayActive may = 1 << iota
	maySucceeded
	mayFailed
	mayCancelled
)

// settle adds what an active run becomes by itself.
func (m may) settle() may {
	if m&mayActive != 0 {
		m |= maySucceeded | mayFailed
	}
	return m
}

type keyState struct {
	exists bool
	id     string // empty: it exists, and nobody has been told its ID yet
	may    may
}

// call is what a client asked about a key.
type call struct {
	kind string // submit, read, cancel
	key  string
	id   string // of read and cancel
}

// answer is what it heard.
type answer struct {
	unknown bool // whether it took effect is not known
	missing bool // there is no such run
	ended   bool // refused: the run has ended
	existed bool // the run was there before
	id      string
	status  may // of a read
}

// runModel checks the history of each key for itself: keys do not meet.
func runModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[string][]porcupine.Operation{}
			var order []string
			for _, op := range history {
				key := op.Input.(call).key
				if byKey[key] == nil {
					order = append(order, key)
				}
				byKey[key] = append(byKey[key], op)
			}
			var parts [][]porcupine.Operation
			for _, key := range order {
				parts = append(parts, byKey[key])
			}
			return parts
		},
		Init: func() any { return keyState{} },
		Step: func(state, input, output any) (bool, any) {
			return step(state.(keyState), input.(call), output.(answer))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func step(s keyState, in call, out answer) (bool, keyState) {
	switch in.kind {
	case "submit":
		return stepSubmit(s, out)
	case "read":
		if out.missing || !s.exists {
			return out.missing && !s.exists, s
		}
		now := s.may & out.status
		return now != 0, keyState{true, bind(s, in.id), now.settle()}
	case "cancel":
		return stepCancel(s, in, out)
	}
	return false, s
}

// bind tells the state an ID that it did not know.
func bind(s keyState, id string) string {
	if s.id == "" {
		return id
	}
	return s.id
}

func stepSubmit(s keyState, out answer) (bool, keyState) {
	if !s.exists {
		return true, keyState{true, out.id, mayActive.settle()}
	}
	if out.unknown {
		return true, s
	}
	return out.existed && (s.id == "" || s.id == out.id), keyState{true, bind(s, out.id), s.may}
}

func stepCancel(s keyState, in call, out answer) (bool, keyState) {
	ended := s.may & (maySucceeded | mayFailed | mayCancelled)
	switch {
	case out.missing:
		return !s.exists, s
	case !s.exists:
		return out.unknown, s
	case out.unknown && s.may&mayActive != 0:
		return true, keyState{true, bind(s, in.id), ended | mayCancelled}
	case out.unknown:
		return true, s
	case out.ended:
		return ended != 0, keyState{true, bind(s, in.id), ended}
	}
	return s.may&mayActive != 0, keyState{true, bind(s, in.id), mayCancelled}
}

// TestModelKnowsRightFromWrong holds the model against histories whose verdict is
// plain.
func TestModelKnowsRightFromWrong(t *testing.T) {
	op := func(from, to int64, in call, out answer) porcupine.Operation {
		in.key = "k"
		return porcupine.Operation{Call: from, Return: to, Input: in, Output: out}
	}
	submit, read, cancel := call{kind: "submit"}, call{kind: "read", id: "a"}, call{kind: "cancel", id: "a"}
	for _, c := range []struct {
		moral   string
		want    bool
		history []porcupine.Operation
	}{
		{"one run for one key", true, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 3, submit, answer{id: "a", existed: true})}},
		{"two runs for one key", false, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 3, submit, answer{id: "b"})}},
		{"another run for the key", false, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 3, submit, answer{id: "b", existed: true})}},
		{"acknowledged and not there", false, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 3, read, answer{missing: true})}},
		{"read while it is submitted", true, []porcupine.Operation{op(0, 9, submit, answer{id: "a"}), op(2, 3, read, answer{missing: true})}},
		{"it ends and is active again", false, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 3, read, answer{status: maySucceeded}), op(4, 5, read, answer{status: mayActive})}},
		{"cancelled and active again", false, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 3, cancel, answer{}), op(4, 5, read, answer{status: mayActive})}},
		{"cancelled after it had ended", false, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 3, cancel, answer{ended: true}), op(4, 5, read, answer{status: mayCancelled})}},
		{"cancelled by an unknown cancel, late", true, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(2, 99, cancel, answer{unknown: true}), op(4, 5, read, answer{status: mayActive}), op(6, 7, read, answer{status: mayCancelled})}},
		{"cancelled by nobody", false, []porcupine.Operation{op(0, 1, submit, answer{id: "a"}), op(4, 5, read, answer{status: mayCancelled})}},
		{"an unknown submit, then its run", true, []porcupine.Operation{op(0, 99, submit, answer{unknown: true}), op(2, 3, submit, answer{id: "a", existed: true})}},
	} {
		if got := porcupine.CheckOperations(runModel(), c.history); got != c.want {
			t.Errorf("%s: linearizable is %v, want %v", c.moral, got, c.want)
		}
	}
}

// linearizable checks a history; unknown if it took too long.
func linearizable(history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(runModel(), history, 30*time.Second)
}
