package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rota-sched/rota"
)

// fileSilent lies in a run's directory and names, KEY/N a line, the attempts that
// wrote nothing and whose directories are not kept.
const fileSilent = ".silent"

// NoteSilent remembers that an attempt wrote nothing: its directory may go, and its
// logs are found empty all the same. The run's directory must be there.
func (l Layout) NoteSilent(t rota.TaskID, n uint64) error {
	f, err := os.OpenFile(filepath.Join(l.Root(), string(t.Run), fileSilent), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("note that attempt %s#%d wrote nothing: %w", t, n, err)
	}
	// One write appends the whole line, whoever else appends.
	_, err = f.WriteString(silentLine(t, n))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note that attempt %s#%d wrote nothing: %w", t, n, err)
	}
	return nil
}

func silentLine(t rota.TaskID, n uint64) string {
	return string(t.Key) + "/" + strconv.FormatUint(n, 10) + "\n"
}

// wasSilent reports whether NoteSilent was called for the attempt.
func wasSilent(root *os.Root, t rota.TaskID, n uint64) (bool, error) {
	f, err := root.Open(filepath.Join(string(t.Run), fileSilent))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the logs of %s: %w", t, err)
	}
	defer f.Close() //nolint:errcheck // only read from
	want := []byte(silentLine(t, n))
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("open the logs of %s: %w", t, err)
		case bytes.Equal(line, want):
			return true, nil
		}
	}
}

// emptyLog is the log of an attempt that wrote nothing.
type emptyLog struct{ *bytes.Reader }

// Close implements io.Closer.
func (emptyLog) Close() error { return nil }
