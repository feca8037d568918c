package keeper

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalName is the name of a signal, SIGTERM; a number for one without.
func SignalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// ParseSignal finds a signal by its name, with or without SIG. Empty is SIGTERM.
// A name that does not exist is an error.
func ParseSignal(name string) (syscall.Signal, error) {
	if name == "" {
		return syscall.SIGTERM, nil
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	if n := unix.SignalNum(full); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("there is no signal %q", name)
}

// lastSignal is the highest signal number of Linux.
const lastSignal = 64

// ignoreSignals makes a process survive every signal that can be survived: as the
// init of a PID namespace a Go program would die of any that its tasks care to
// send, since the runtime installs handlers for them. What arrives is dropped.
// The handlers, unlike ignored signals, are not inherited by tasks.
func ignoreSignals() {
	var all []os.Signal
	for n := syscall.Signal(1); n <= lastSignal; n++ {
		switch n { //nolint:exhaustive // the rest is what is caught
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGURG, syscall.SIGCHLD:
			continue
		}
		all = append(all, n)
	}
	signal.Notify(make(chan os.Signal, 1), all...)
}
