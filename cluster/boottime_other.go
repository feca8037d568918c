//go:build !linux

package cluster

import "time"

func bootTime() time.Duration { return wallTime() }
