package bench

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fdatasync brings the file's data to the disk.
func fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != syscall.EINTR { //nolint:errorlint // a system call's own error
			return err
		}
	}
}

// diskOf names the file system of a directory; empty: not known.
func diskOf(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return ""
	}
	switch uint32(s.Type) { //nolint:gosec // the kernel's numbers have 32 bits
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.TMPFS_MAGIC:
		return "tmpfs: memory, no disk"
	default:
		return fmt.Sprintf("file system %#x", uint32(s.Type))
	}
}
