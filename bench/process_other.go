//go:build !linux

package bench

import (
	"errors"
	"time"
)

var errNoProc = errors.New("this system does not tell what a process uses: run rota bench on Linux")

func cpuTime(int) (time.Duration, error) { return 0, errNoProc }

func resident(int) (int64, error) { return 0, errNoProc }

func anonymous(int) (int64, error) { return 0, errNoProc }
