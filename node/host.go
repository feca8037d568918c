package node

import (
	"context"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

type facts struct {
	OS, Arch, Kernel, BootID         string
	CPUMilli, MemoryBytes, DiskBytes int64
}

func hostFacts(_ context.Context, cfg Config) (facts, error) {
	f := facts{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUMilli: int64(runtime.NumCPU()) * 1000}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return f, err
	}
	f.Kernel = unix.ByteSliceToString(u.Release[:])
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return f, err
	}
	f.MemoryBytes = int64(si.Totalram) * int64(si.Unit)
	var st unix.Statfs_t
	if err := unix.Statfs(cfg.Data, &st); err == nil {
		f.DiskBytes = int64(st.Bavail) * st.Bsize
	}
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	f.BootID = strings.TrimSpace(string(b))
	return f, err
}
