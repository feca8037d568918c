package jobspecs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// What bounds the attempts of a task: retries, timeouts, how it is stopped.

func (b *specBuilder) retry() {
	p := &b.spec.Retry
	*p = rota.Retry{MaxAttempts: 1, Backoff: rota.BackoffExponential, Initial: defaultInitial, Max: defaultMaxDelay, MultiplierMilli: defaultMultiplier, Jitter: true}
	if b.task.hasBlock["retry"] != nil || b.job.defaultBlocks["retry"] {
		p.MaxAttempts = defaultAttempts
	}
	if n, g := b.integer(b.either("retry.max_attempts"), 1, mostAttempts); g == gotValue {
		p.MaxAttempts = int(n)
	}
	if word, g := b.word(b.either("retry.backoff"), backoffs, nil); g == gotValue {
		p.Backoff = rota.Backoff(word)
	}
	initial, g := b.duration(b.either("retry.initial"))
	if g == gotValue {
		p.Initial, p.Max = initial, max(p.Max, initial)
	}
	if a := b.either("retry.max"); a != nil {
		if d, g := b.duration(a); g == gotValue {
			p.Max = d
			if d < p.Initial {
				b.bad(a.expr.Range(), "The longest delay is shorter than the first", fmt.Sprintf("max is %s, initial is %s.", d, p.Initial))
			}
		}
	}
	if a := b.either("retry.multiplier"); a != nil {
		if n, g := b.milli(a); g == gotValue {
			p.MultiplierMilli = n
			if n < 1000 || n > mostMultiplier {
				b.bad(a.expr.Range(), `"retry.multiplier" is out of range`, "Want a number from 1 to 1000.")
			}
		}
	}
	if jitter, g := b.bool(b.either("retry.jitter")); g == gotValue {
		p.Jitter = jitter
	}
	b.causes(p)
}

func (b *specBuilder) causes(p *rota.Retry) {
	a := b.either("retry.on")
	words, g := b.texts(a)
	if g != gotValue {
		return
	}
	p.On = make([]rota.Cause, 0, len(words))
	for i, word := range words {
		c, err := rota.ParseCause(word)
		if err != nil || c == rota.CauseNone {
			b.bad(elementRange(a.expr, i), fmt.Sprintf("%q is no cause of failures", word), sentences(didYouMean(word, causeWords()), "Causes are "+oneOf(causeWords())+"."))
			continue
		}
		if !slices.Contains(p.On, c) {
			p.On = append(p.On, c)
		}
	}
}

func (b *specBuilder) times() {
	for _, x := range []struct {
		name string
		to   *time.Duration
	}{
		{"timeouts.schedule_to_start", &b.spec.Timeouts.ScheduleToStart},
		{"timeouts.start_to_close", &b.spec.Timeouts.StartToClose},
		{"timeouts.schedule_to_close", &b.spec.Timeouts.ScheduleToClose},
	} {
		a := b.either(x.name)
		if d, g := b.duration(a); g == gotValue {
			*x.to = d
			if d == 0 {
				b.bad(a.expr.Range(), fmt.Sprintf("%q is zero", x.name), "A timeout of nothing fails every attempt. Leave it out for no bound.")
			}
		}
	}
	b.spec.Stop = rota.Stop{Signal: defaultSignal, Grace: defaultGrace}
	if d, g := b.duration(b.attr("stop.grace")); g == gotValue {
		b.spec.Stop.Grace = d
	}
	if name, g := b.text(b.attr("stop.signal")); g == gotValue {
		if !strings.HasPrefix(name, "SIG") {
			name = "SIG" + name
		}
		b.spec.Stop.Signal = name
		if !slices.Contains(stopSignals, name) {
			b.bad(b.attr("stop.signal").expr.Range(), fmt.Sprintf("%q is no signal to stop a task with", name), sentences(didYouMean(name, stopSignals), "Choose "+oneOf(stopSignals)+"."))
		}
	}
}
