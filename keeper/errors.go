package keeper

import "errors"

// Errors of a keeper's client, besides those that wrap a kind of rota.
var (
	// ErrRefused: the task itself cannot be started: its command or working
	// directory is missing or not usable. The text says which and what to do.
	ErrRefused = errors.New("refused")
	// ErrGone: the connection to the keeper is lost.
	ErrGone = errors.New("the keeper is gone")
	// ErrProtocol: the keeper speaks no version of the protocol that we do.
	ErrProtocol = errors.New("the keeper speaks another protocol")
)

// refused is a start refused for the task's own fault.
type refused struct{ detail string }

func (r *refused) Error() string { return r.detail }
func (r *refused) Unwrap() error { return ErrRefused }
