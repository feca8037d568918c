//go:build !linux

package bench

import "os"

// fdatasync brings the file to the disk.
func fdatasync(f *os.File) error { return f.Sync() }

// diskOf names the file system of a directory; here it is not known.
func diskOf(string) string { return "" }
