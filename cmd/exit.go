package cmd

import (
	"context"
	"errors"

	"github.com/rota-sched/rota"
)

// The exit codes. (Source: docs/CLI.md; scripts rely on them.)
const (
	exitFine        = 0
	exitFailed      = 1   // the run or operation failed
	exitUsage       = 2   // wrong usage, or a job file with errors
	exitNotFound    = 3   // no such run, task, node, file
	exitPaused      = 4   // budget exhausted or paused
	exitDenied      = 5   // not allowed
	exitTimeout     = 6   // the wait ended before the run
	exitTryAgain    = 7   // no leader, overloaded, unknown outcome, unreachable
	exitConflict    = 8   // taken by something else, or already ended
	exitChanges     = 10  // plan --detailed-exitcode: something would change
	exitInterrupted = 130 // Ctrl-C while waiting; the run goes on
)

// exitOfKind maps a refusal's kind to the exit code.
func exitOfKind(k rota.Kind) int {
	switch k {
	case rota.KindNone, rota.KindNoFit, rota.KindFormat:
		return exitFailed
	case rota.KindInvalid, rota.KindTooLarge:
		return exitUsage
	case rota.KindNotFound:
		return exitNotFound
	case rota.KindConflict, rota.KindStale, rota.KindEnded:
		return exitConflict
	case rota.KindNoLeader, rota.KindUnknown, rota.KindOverloaded, rota.KindUnavailable:
		return exitTryAgain
	case rota.KindUnauthorized:
		return exitDenied
	}
	return exitFailed
}

// exitOfStatus maps an HTTP status to the exit code, for answers without a kind.
func exitOfStatus(status int) int {
	switch status {
	case 400, 405, 406, 411, 413, 415, 422, 501:
		return exitUsage
	case 401, 403:
		return exitDenied
	case 402:
		return exitPaused
	case 404, 410:
		return exitNotFound
	case 409, 412:
		return exitConflict
	case 408, 425, 429, 502, 503, 504:
		return exitTryAgain
	}
	return exitFailed
}

// exitOfRun is the exit code of a command that waited for a run.
func exitOfRun(s rota.RunStatus) int {
	switch s {
	case rota.RunSucceeded:
		return exitFine
	case rota.RunPaused:
		return exitPaused
	case rota.RunSubmitting, rota.RunRunning, rota.RunWaiting, rota.RunFailed, rota.RunCancelled:
		return exitFailed
	}
	return exitFailed
}

// quietExit ends the command with a code and without another word: what there
// was to say has been said.
type quietExit struct{ code int }

func (e *quietExit) Error() string { return "exit" }

// exitOf finds the exit code of any error that a command returned.
func exitOf(err error) int {
	var quiet *quietExit
	var fault *fault
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, &fault):
		return fault.code
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitOfKind(rota.KindOf(err))
}
