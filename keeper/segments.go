package keeper

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Segment is one file of an output stream.
type Segment struct {
	Path   string
	Offset int64 // of its first byte in the stream
	Size   int64
}

// Segments lists the files of the stream whose first file is path, by offset. A
// gap between two of them was dropped. A stream nothing was written to has none.
func Segments(path string) ([]Segment, error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the segments of an output: %w", err)
	}
	var out []Segment
	for _, e := range entries {
		offset := int64(0)
		if e.Name() != base {
			rest, ok := strings.CutPrefix(e.Name(), base+".")
			if !ok {
				continue
			}
			if offset, err = strconv.ParseInt(rest, 10, 64); err != nil || offset <= 0 {
				continue
			}
		}
		st, err := e.Info()
		if err != nil {
			continue // it was rotated away
		}
		out = append(out, Segment{Path: filepath.Join(dir, e.Name()), Offset: offset, Size: st.Size()})
	}
	slices.SortFunc(out, func(a, b Segment) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	return out, nil
}

// Tail reads at most the last n bytes of the stream that stand together; cut says
// that something came before them.
func Tail(path string, n int64) (b []byte, cut bool, err error) {
	segments, err := Segments(path)
	if err != nil || len(segments) == 0 {
		return nil, false, err
	}
	end := int64(-1)
	for i := len(segments) - 1; i >= 0 && int64(len(b)) < n; i-- {
		s := segments[i]
		if end >= 0 && s.Offset+s.Size != end {
			return b, true, nil
		}
		part, err := readLast(s, n-int64(len(b)))
		if err != nil {
			return nil, false, err
		}
		b = append(part, b...)
		end = s.Offset
		cut = s.Offset+s.Size-int64(len(part)) > 0 && int64(len(part)) < s.Size || s.Offset > 0
	}
	return b, cut, nil
}

func readLast(s Segment, n int64) ([]byte, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("read an output: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(io.NewSectionReader(f, max(s.Size-n, 0), min(n, s.Size)))
	if err != nil {
		return nil, fmt.Errorf("read an output: %w", err)
	}
	return b, nil
}
