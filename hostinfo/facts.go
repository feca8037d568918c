package hostinfo

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts are what a machine is and has, without its GPUs.
type Facts struct {
	OS          string // linux
	Arch        string // amd64, arm64
	Kernel      string // release of the running kernel
	BootID      string // changes with every boot
	CPUMilli    int64  // thousandths of a core
	MemoryBytes int64
	DiskBytes   int64 // free where the data directory is
	// Notes say which limits were found, and what could not be found out.
	Notes []string
}

// SlotsPerCore is how many attempts a node takes at the same time for each of its
// cores, unless its configuration says otherwise. What asks for CPU or memory is
// bound by those long before; slots bound what asks for neither, such as a call to
// a model that is waited for, of which a core carries hundreds. With 16, no-op
// tasks were finished at a quarter of the rate (docs/PERFORMANCE.md).
const SlotsPerCore = 512

// Slots is the default number of attempts at the same time.
func (f *Facts) Slots() int64 { return max(SlotsPerCore*f.CPUMilli/1000, SlotsPerCore) }

// Detect looks at the machine. data is the node's data directory, or the nearest
// one that exists.
func Detect(data string) (Facts, error) {
	f := Facts{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUMilli: int64(runtime.NumCPU()) * 1000}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return f, fmt.Errorf("read the kernel's release: %w", err)
	}
	f.Kernel = unix.ByteSliceToString(u.Release[:])
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return f, fmt.Errorf("read the machine's memory: %w", err)
	}
	f.MemoryBytes = int64(si.Totalram) * int64(si.Unit) //nolint:gosec,unconvert // its types differ between machines
	var st unix.Statfs_t
	if err := unix.Statfs(data, &st); err != nil {
		return f, fmt.Errorf("read the free space at %s: %w", data, err)
	}
	f.DiskBytes = int64(st.Bavail) * st.Bsize //nolint:gosec,unconvert // as above
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return f, fmt.Errorf("read the boot id: %w", err)
	}
	f.BootID = strings.TrimSpace(string(boot))
	f.limit(limits(os.DirFS("/")))
	return f, nil
}

// limit lowers the facts to what a container allows.
func (f *Facts) limit(l Limits) {
	if l.MemoryBytes > 0 && l.MemoryBytes < f.MemoryBytes {
		f.Notes = append(f.Notes, fmt.Sprintf("memory: the control group allows %d of the machine's %d bytes", l.MemoryBytes, f.MemoryBytes))
		f.MemoryBytes = l.MemoryBytes
	}
	if l.CPUMilli > 0 && l.CPUMilli < f.CPUMilli {
		f.Notes = append(f.Notes, fmt.Sprintf("cpu: the control group allows %d of the machine's %d milli", l.CPUMilli, f.CPUMilli))
		f.CPUMilli = l.CPUMilli
	}
}

// Limits are what the process's control groups allow; zero means no limit.
type Limits struct {
	MemoryBytes int64
	CPUMilli    int64
}

// limits reads both versions of control groups, from the process's own up to the
// root, below the root directory root. What is unreadable limits nothing.
func limits(root fs.FS) Limits {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return Limits{}
	}
	var l Limits
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "" {
			for _, base := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
				l.lower(upwards(root, base, parts[2], unifiedLimits))
			}
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			switch controller {
			case "memory":
				l.lower(upwards(root, "sys/fs/cgroup/memory", parts[2], memoryLimit))
			case "cpu":
				l.lower(upwards(root, "sys/fs/cgroup/cpu", parts[2], cpuLimit))
			}
		}
	}
	return l
}

func (l *Limits) lower(o Limits) {
	if o.MemoryBytes > 0 && (l.MemoryBytes == 0 || o.MemoryBytes < l.MemoryBytes) {
		l.MemoryBytes = o.MemoryBytes
	}
	if o.CPUMilli > 0 && (l.CPUMilli == 0 || o.CPUMilli < l.CPUMilli) {
		l.CPUMilli = o.CPUMilli
	}
}
