package api

import (
	"fmt"
	"unicode"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

func sourceOf(text, filename string, files []rota.File) jobspecs.Source {
	return jobspecs.Source{Filename: filename, Text: []byte(text), Files: files}
}

// Bounds of what comes with a submission.
const (
	maxFilename   = 1024
	maxFiles      = 1000
	maxFilesBytes = 1 << 20
	maxLabels     = 64
	maxLabelBytes = 256
)

// checkSource refuses what is too large before anything is parsed.
func checkSource(source, filename string, files []rota.File) error {
	tooLarge := func(limit, format string, args ...any) error {
		p := newProblem(TypeTooLarge, fmt.Sprintf(format, args...))
		p.Limit = limit
		return p
	}
	switch size := filesSize(files); {
	case len(source) > rota.MaxSourceBytes:
		return tooLarge("source_bytes", "the job file has %d bytes, the limit is %d (1 MiB): move data into files that tasks read, or split the job", len(source), rota.MaxSourceBytes)
	case len(files) > maxFiles:
		return tooLarge("files", "%d files are sent along, the limit is %d", len(files), maxFiles)
	case size > maxFilesBytes:
		return tooLarge("files_bytes", "the files sent along have %d bytes, the limit is %d (1 MiB)", size, maxFilesBytes)
	case len(filename) > maxFilename:
		return tooLarge("filename_bytes", "the file's name has %d bytes, the limit is %d", len(filename), maxFilename)
	}
	if !printable(filename) {
		return newProblem(TypeInvalid, "the file's name holds control characters")
	}
	for _, f := range files {
		if f.Path == "" || len(f.Path) > maxFilename || !printable(f.Path) {
			return newProblem(TypeInvalid, fmt.Sprintf("%q cannot be the path of a file", clip(f.Path, 100)))
		}
	}
	return nil
}

func filesSize(files []rota.File) int {
	size := 0
	for _, f := range files {
		size += len(f.Path) + len(f.Data)
	}
	return size
}

func printable(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

func checkPriority(p *int) error {
	if p != nil && (*p < 0 || *p > 100) {
		return newProblem(TypeInvalid, fmt.Sprintf(`"priority" is %d; want 0 to 100, 100 first`, *p))
	}
	return nil
}

func checkLabels(labels map[string]string) ([]rota.Pair, error) {
	if len(labels) > maxLabels {
		p := newProblem(TypeTooLarge, fmt.Sprintf("%d labels, the limit is %d", len(labels), maxLabels))
		p.Limit = "labels"
		return nil, p
	}
	pairs := rota.PairsOf(labels)
	for _, p := range pairs {
		if p.Key == "" || len(p.Key) > maxLabelBytes || len(p.Value) > maxLabelBytes || !printable(p.Key) || !printable(p.Value) {
			return nil, newProblem(TypeInvalid, fmt.Sprintf("label %q: key and value are printable, the key is not empty, each has %d bytes at most", clip(p.Key, 60), maxLabelBytes))
		}
	}
	return pairs, nil
}
