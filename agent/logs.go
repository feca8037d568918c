package agent

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
)

// Logs reads what attempts of this node wrote. The files are the keeper's: the
// stream's beginning in a file of its name, what came later in files NAME.OFFSET
// by the offset of their first byte, of which old ones are dropped. Offsets count
// from the beginning of the stream, whatever was dropped.
type Logs struct{ Layout Layout }

// Open gives a stream ("stdout", "stderr") of an attempt from its beginning. A
// reader at its end may be read again when more was written. Where something was
// dropped it says so in a line of its own. An error wraps rota.ErrNotFound where
// nothing of the attempt is here.
func (l Logs) Open(task rota.TaskID, attempt uint64, stream string) (io.ReadSeekCloser, error) {
	if stream != FileStdout && stream != FileStderr {
		return nil, &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf("no stream %q: want %s or %s", stream, FileStdout, FileStderr)}
	}
	name := filepath.Join(string(task.Run), string(task.Key), strconv.FormatUint(attempt, 10))
	if !plainName(string(task.Run)) || !plainName(string(task.Key)) {
		return nil, notHere(task, attempt)
	}
	root, err := os.OpenRoot(l.Layout.Root())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notHere(task, attempt)
	}
	if err != nil {
		return nil, fmt.Errorf("open the logs: %w", err)
	}
	dir, err := root.OpenRoot(name)
	if err == nil {
		return &logReader{root: root, path: name, dir: dir, name: stream}, nil
	}
	defer root.Close() //nolint:errcheck // only read from
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the logs of %s: %w", task, err)
	}
	silent, err := wasSilent(root, task, attempt)
	if err != nil {
		return nil, err
	}
	if !silent {
		return nil, notHere(task, attempt)
	}
	return emptyLog{bytes.NewReader(nil)}, nil
}

func notHere(task rota.TaskID, attempt uint64) error {
	return &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("nothing of attempt %d of %s is kept here", attempt, task)}
}

// logReader reads one stream. It is not for several goroutines.
type logReader struct {
	root *os.Root // of all attempts
	path string   // of the attempt below it
	dir  *os.Root // the attempt's, as long as it is its
	name string

	at     int64 // offset of the next byte
	note   string
	file   *os.File
	offset int64 // of file's first byte
}

// logFile is one file of a stream.
type logFile struct {
	name         string
	offset, size int64
}

// here reports whether the directory is still the attempt's. That of an attempt
// which wrote nothing may become another's; it is never the first one's again, so
// whatever was found in it before this said yes is this attempt's.
func (r *logReader) here() bool {
	mine, err := r.dir.Stat(".")
	if err != nil {
		return false
	}
	named, err := r.root.Lstat(r.path)
	return err == nil && os.SameFile(mine, named)
}

// files lists the stream's files by offset; none where nothing is left of the
// attempt.
func (r *logReader) files() ([]logFile, error) {
	d, err := r.dir.Open(".")
	if err != nil {
		return nil, fmt.Errorf("list a log: %w", err)
	}
	defer d.Close() //nolint:errcheck // only read from
	entries, err := d.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list a log: %w", err)
	}
	var files []logFile
	for _, e := range entries {
		f := logFile{name: e.Name()}
		if f.name != r.name {
			rest, ok := strings.CutPrefix(f.name, r.name+".")
			if !ok {
				continue
			}
			if f.offset, err = strconv.ParseInt(rest, 10, 64); err != nil || f.offset <= 0 {
				continue
			}
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // dropped meanwhile, or none of ours
		}
		f.size = info.Size()
		files = append(files, f)
	}
	if len(files) > 0 && !r.here() {
		return nil, nil
	}
	slices.SortFunc(files, func(a, b logFile) int { return cmp.Compare(a.offset, b.offset) })
	return files, nil
}

// Read implements io.Reader.
func (r *logReader) Read(p []byte) (int, error) {
	for {
		if r.note != "" {
			n := copy(p, r.note)
			r.note = r.note[n:]
			return n, nil
		}
		if len(p) == 0 {
			return 0, nil
		}
		if r.file == nil {
			if err := r.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := r.file.ReadAt(p, r.at-r.offset)
		if n > 0 {
			r.at += int64(n)
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read a log: %w", err)
		}
		more, err := r.leave()
		if err != nil {
			return 0, err
		}
		if !more {
			return 0, io.EOF
		}
	}
}

// leave closes the file that was read to its end, if the stream goes on in
// another. (The keeper begins the next only after the last byte of this one.)
func (r *logReader) leave() (more bool, err error) {
	files, err := r.files()
	if err != nil {
		return false, err
	}
	if len(files) == 0 || files[len(files)-1].offset <= r.offset {
		return false, nil
	}
	if info, err := r.file.Stat(); err == nil && r.at < r.offset+info.Size() {
		return true, nil // the last bytes came after the end was seen
	}
	r.close()
	return true, nil
}

// next opens the file that holds the next byte, or the first one after it.
func (r *logReader) next() error {
	files, err := r.files()
	if err != nil {
		return err
	}
	for i, f := range files {
		last := i == len(files)-1
		if r.at > f.offset+f.size || r.at == f.offset+f.size && !last {
			continue
		}
		file, err := r.dir.Open(f.name)
		if errors.Is(err, fs.ErrNotExist) {
			return r.next() // dropped since it was listed
		}
		if err != nil {
			return fmt.Errorf("open a log: %w", err)
		}
		if !r.here() {
			_ = file.Close()
			return io.EOF
		}
		if f.offset > r.at {
			r.note = fmt.Sprintf("\n[rota: %d bytes are not kept]\n", f.offset-r.at)
			r.at = f.offset
		}
		r.file, r.offset = file, f.offset
		return nil
	}
	return io.EOF
}

// Seek implements io.Seeker; its offsets are of the stream as it was written.
func (r *logReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		files, err := r.files()
		if err != nil {
			return r.at, err
		}
		if n := len(files); n > 0 {
			offset += files[n-1].offset + files[n-1].size
		}
	default:
		return r.at, fmt.Errorf("seek in a log: whence %d: %w", whence, rota.ErrInvalid)
	}
	if offset < 0 {
		return r.at, fmt.Errorf("seek in a log: %w: before its beginning", rota.ErrInvalid)
	}
	r.close()
	r.at, r.note = offset, ""
	return offset, nil
}

func (r *logReader) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// Close implements io.Closer.
func (r *logReader) Close() error {
	r.close()
	return errors.Join(r.dir.Close(), r.root.Close())
}
