package exec

import (
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rota-sched/rota/agent"
)

// unused reports whether a key's directory holds what a first attempt finds when it
// starts, and nothing else.
func unused(key string) bool {
	n := filepath.Join(key, firstAttempt)
	if !holds(key, firstAttempt) || !holds(n, dirArtifacts, agent.FileRecord, agent.DirWork) {
		return false
	}
	var record unix.Stat_t
	if unix.Lstat(filepath.Join(n, agent.FileRecord), &record) != nil || record.Mode != unix.S_IFREG|0o600 || record.Nlink != 1 {
		return false
	}
	return holds(filepath.Join(n, dirArtifacts)) && holds(filepath.Join(n, agent.DirWork))
}

// holds reports whether dir is a directory as a driver makes it, with exactly the
// named entries (sorted). It is called for every attempt: a file of the standard
// library would cost three times the system calls.
func holds(dir string, want ...string) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd) //nolint:errcheck // only read from
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode != unix.S_IFDIR|0o700 {
		return false
	}
	var buf [1024]byte
	var got []string
	for {
		n, err := unix.ReadDirent(fd, buf[:])
		if err != nil || len(got) > len(want) {
			return false
		}
		if n <= 0 {
			break
		}
		_, _, got = unix.ParseDirent(buf[:n], -1, got)
	}
	slices.Sort(got)
	return slices.Equal(got, want)
}
