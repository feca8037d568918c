package cmd

// version is set by the build: -ldflags "-X github.com/rota-sched/rota/cmd.version=v1.2.3".
var version = "dev"

// Version is the version that the build gave this package.
func Version() string { return version }

func (a *app) version() string {
	if a.doors.Version != "" {
		return a.doors.Version
	}
	return version
}
