// Rota runs work around the clock on machines you own.
package main

import (
	"context"
	"os"

	"github.com/rota-sched/rota/cmd"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(cmd.Main(context.Background(), cmd.Process{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
	}, doors()))
}
