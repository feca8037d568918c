package keeper

// Level is how task processes are contained.
type Level string

// The levels, strongest first.
const (
	// LevelPIDNS: the keeper is the init of their PID namespace: its death is
	// theirs.
	LevelPIDNS Level = "pidns"
	// LevelCgroup: a v2 cgroup for each attempt. A keeper's death leaves them, a
	// starting one finds and ends all of them.
	LevelCgroup Level = "cgroup"
	// LevelUID: a uid for each attempt. Known, never chosen: a task would own
	// nothing of what its node owns.
	LevelUID Level = "uid"
	// LevelSubreaper: orphans come to the keeper and are told apart by a mark in
	// their environment.
	LevelSubreaper Level = "subreaper"
	// LevelNone: process groups and that mark.
	LevelNone Level = "none"
)

// Levels lists the levels, strongest first.
func Levels() []Level {
	return []Level{LevelPIDNS, LevelCgroup, LevelUID, LevelSubreaper, LevelNone}
}

// Containment is the level a keeper found, and why it is not a better one.
type Containment struct {
	Level Level `json:"level"`
	// PerTask says what tells the attempts apart: cgroup or mark.
	PerTask string `json:"per_task"`
	// Proc says that tasks see a /proc of their own PID namespace.
	Proc bool `json:"proc"`
	// Why has a line for everything stronger that could not be had.
	Why []string `json:"why"`
}
