package cluster

import "github.com/hashicorp/go-hclog"

// calm is the logger Raft is given: Raft cries Error when a peer has died and Warn
// at every election, which heal by themselves, and this package says in its own
// words what an operator needs. So each of Raft's levels counts one less.
type calm struct{ hclog.Logger }

// Error implements hclog.Logger.
func (c calm) Error(msg string, args ...any) { c.Logger.Warn(msg, args...) }

// Warn implements hclog.Logger.
func (c calm) Warn(msg string, args ...any) { c.Debug(msg, args...) }

// Info implements hclog.Logger.
func (c calm) Info(msg string, args ...any) { c.Debug(msg, args...) }

// With implements hclog.Logger.
func (c calm) With(args ...any) hclog.Logger { return calm{c.Logger.With(args...)} }

// Named implements hclog.Logger.
func (c calm) Named(name string) hclog.Logger { return calm{c.Logger.Named(name)} }
