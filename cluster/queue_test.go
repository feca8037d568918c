package cluster

import (
	"errors"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

func ofKind(op rota.Op, n, size int) []*proposal {
	ps := make([]*proposal, n)
	for i := range ps {
		ps[i] = newProposal(rota.Command{Op: op}, make([]byte, size))
	}
	return ps
}

func countOf(batch []*proposal) (work, admit int) {
	for _, p := range batch {
		if laneOf(p.cmd.Op) == laneAdmit {
			admit++
		} else {
			work++
		}
	}
	return work, admit
}

// TestProducersDoNotHoldUpTheWorkThatIsThere: with thousands of new runs waiting, a
// report still leaves with the next batch, and is not refused.
func TestProducersDoNotHoldUpTheWorkThatIsThere(t *testing.T) {
	q := newQueue(1000)
	if err := q.add(ofKind(rota.SubmitRun{}, 600, 100)...); err != nil {
		t.Fatal(err)
	}
	if err := q.add(ofKind(rota.SubmitRun{}, 1, 100)...); !errors.Is(err, rota.ErrOverloaded) {
		t.Errorf("admission beyond its half of the queue: %v", err)
	}
	if err := q.add(ofKind(rota.Report{}, 300, 100)...); err != nil {
		t.Fatalf("work beside a full lane of admission: %v", err)
	}
	for range 2 {
		work, admit := countOf(q.take(t.Context()))
		if work != MaxBatch/2 || admit != MaxBatch/2 {
			t.Errorf("a batch of %d of work and %d of admission; want half and half", work, admit)
		}
	}
	if work, admit := countOf(q.take(t.Context())); work != 300-MaxBatch || admit != MaxBatch-work {
		t.Errorf("what is left of one lane goes to the other: %d of work, %d of admission", work, admit)
	}
}

// TestALargeOperationGetsItsTurn though the other lane never runs dry.
func TestALargeOperationGetsItsTurn(t *testing.T) {
	for _, c := range []struct{ large, small rota.Op }{{rota.SubmitRun{}, rota.Report{}}, {rota.Report{}, rota.SubmitRun{}}} {
		q := newQueue(10_000)
		if err := errors.Join(q.add(ofKind(c.small, 2000, 100)...), q.add(ofKind(c.large, 1, 1<<20)...)); err != nil {
			t.Fatal(err)
		}
		left := false
		for range 3 {
			for _, p := range q.take(t.Context()) {
				left = left || len(p.raw) == 1<<20
			}
		}
		if !left {
			t.Errorf("%T of 1 MiB still waits after three batches of %T", c.large, c.small)
		}
	}
}

// TestOnlyWhatDoesNotFitIsRefused: of a forwarded batch the rest goes its way.
func TestOnlyWhatDoesNotFitIsRefused(t *testing.T) {
	q := newQueue(4)
	ps := append(ofKind(rota.SubmitRun{}, 3, 1), ofKind(rota.Report{}, 1, 1)...)
	if err := q.add(ps...); err != nil {
		t.Fatal(err)
	}
	if a := <-ps[2].done; !errors.Is(a.err, rota.ErrOverloaded) {
		t.Errorf("the third new run: %v", a.err)
	}
	if work, admit := countOf(q.take(t.Context())); work != 1 || admit != 2 {
		t.Errorf("%d of work and %d of admission went", work, admit)
	}
}

// TestWhatIsThereGoesOnWhenNothingNewMayComeIn: a leader without memory for new runs still
// places, takes reports and renews, and whoever brought a run hears why.
func TestWhatIsThereGoesOnWhenNothingNewMayComeIn(t *testing.T) {
	q := newQueue(100)
	full := &rota.Refusal{Kind: rota.KindOverloaded, Detail: "full"}
	q.admit = func() error { return full }
	runs, work := ofKind(rota.SubmitRun{}, 2, 1), ofKind(rota.Report{}, 3, 1)
	if err := q.add(append(runs, work...)...); err != nil {
		t.Fatal(err)
	}
	for _, p := range runs {
		if a := <-p.done; !errors.Is(a.err, full) {
			t.Errorf("a new run: %v", a.err)
		}
	}
	if n, admitted := countOf(q.take(t.Context())); n != 3 || admitted != 0 {
		t.Errorf("%d of work and %d of admission went", n, admitted)
	}
	if err := q.add(ofKind(rota.StoreJob{}, 1, 1)...); !errors.Is(err, full) {
		t.Errorf("a job to store: %v", err)
	}
	q.admit = nil
	if err := q.add(ofKind(rota.SubmitRun{}, 1, 1)...); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestWithdrawnProposalsTakeNoRoom, however many there were.
func TestWithdrawnProposalsTakeNoRoom(t *testing.T) {
	q := newQueue(100)
	for range 10_000 {
		p := ofKind(rota.Report{}, 1, 1000)[0]
		if err := q.add(p); err != nil {
			t.Fatal(err)
		}
		if !q.withdraw(p) {
			t.Fatal("it has left")
		}
	}
	if n := len(q.lanes[laneWork].waiting); n > 2048 {
		t.Errorf("%d withdrawn proposals are kept", n)
	}
	if q.waits() != 0 || q.lanes[laneWork].bytes != 0 {
		t.Errorf("%d wait, %d bytes", q.waits(), q.lanes[laneWork].bytes)
	}
}

// TestWhatOlderServersCannotReadStaysOutOfTheLog: they would halt at it.
func TestWhatOlderServersCannotReadStaysOutOfTheLog(t *testing.T) {
	q := newQueue(10)
	q.known = func(op rota.Op) error { return fsm.Known(op, 1) }
	if err := q.add(ofKind(rota.MarkUnfit{}, 1, 1)...); !errors.Is(err, rota.ErrFormat) {
		t.Errorf("MarkUnfit under format 1: %v", err)
	}
	if err := q.add(ofKind(rota.Report{}, 1, 1)...); err != nil {
		t.Errorf("a report: %v", err)
	}
	q.known = func(op rota.Op) error { return fsm.Known(op, rota.FormatUnfit) }
	if err := q.add(ofKind(rota.MarkUnfit{}, 1, 1)...); err != nil {
		t.Errorf("MarkUnfit under its format: %v", err)
	}
}
