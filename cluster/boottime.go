package cluster

import "time"

// wallTime stands in where the system has no boot-time clock.
func wallTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
