package hostinfo

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// upwards takes the lowest limits of a control group and all above it. In a
// container the path may be one of the host, which is not there: then the mount's
// own root counts.
func upwards(root fs.FS, base, group string, read func(fs.FS, string) Limits) Limits {
	var l Limits
	for dir := path.Join(base, group); ; dir = path.Dir(dir) {
		l.lower(read(root, dir))
		if dir == base || !strings.HasPrefix(dir, base) {
			return l
		}
	}
}

// unifiedLimits reads version 2: memory.max, and cpu.max as "quota period" in
// microseconds. "max" is no limit.
func unifiedLimits(root fs.FS, dir string) Limits {
	l := Limits{MemoryBytes: number(root, path.Join(dir, "memory.max"))}
	b, err := fs.ReadFile(root, path.Join(dir, "cpu.max"))
	if err != nil {
		return l
	}
	if f := strings.Fields(string(b)); len(f) == 2 {
		l.CPUMilli = quota(parse(f[0]), parse(f[1]))
	}
	return l
}

// memoryLimit reads version 1, where no limit is a number near 2^63.
func memoryLimit(root fs.FS, dir string) Limits {
	n := number(root, path.Join(dir, "memory.limit_in_bytes"))
	if n >= 1<<62 {
		n = 0
	}
	return Limits{MemoryBytes: n}
}

// cpuLimit reads version 1, where no limit is -1.
func cpuLimit(root fs.FS, dir string) Limits {
	return Limits{CPUMilli: quota(number(root, path.Join(dir, "cpu.cfs_quota_us")), number(root, path.Join(dir, "cpu.cfs_period_us")))}
}

func quota(quota, period int64) int64 {
	if quota <= 0 || period <= 0 {
		return 0
	}
	return max(quota*1000/period, 1)
}

// number reads a file with one number; zero for anything else.
func number(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	return parse(strings.TrimSpace(string(b)))
}

func parse(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
