package cmd

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rota-sched/rota"
)

// linePlace stands for the line in a command.
const linePlace = "{}"

// linesOf reads the lines of --each-line, by their numbers from 1; nil without one.
// Empty lines are left out.
func (a *app) linesOf(name string) (map[string]string, error) {
	if name == "" {
		return nil, nil
	}
	var text []byte
	var err error
	if name == "-" {
		text, err = readAtMost(a.Stdin, rota.MaxSourceBytes)
	} else {
		text, err = readFile(name, rota.MaxSourceBytes)
	}
	if err != nil {
		return nil, a.fileFault(name, err)
	}
	lines := map[string]string{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return nil, usage("convert the file to UTF-8", "line %d of %s is not UTF-8, so it cannot travel in a job", number, name)
		}
		lines[strconv.Itoa(number)] = escapeTemplate(string(line))
	}
	switch {
	case len(lines) == 0:
		return nil, usage("", "--each-line %s: it has no lines", name)
	case len(lines) > rota.MaxTasksPerRun:
		return nil, usage("split the file, or store a job and use `rota dispatch JOB --each-line`, which starts a run for each", "--each-line %s: %d lines, a run has %d tasks at most", name, len(lines), rota.MaxTasksPerRun)
	}
	return lines, nil
}

// eachWord puts the line into the words of a command.
func eachWord(command []string) ([]string, error) {
	words := make([]string, len(command))
	used := false
	for i, w := range command {
		used = used || strings.Contains(w, linePlace)
		parts := strings.Split(w, linePlace)
		for k := range parts {
			parts[k] = escapeTemplate(parts[k])
		}
		words[i] = strings.Join(parts, "${each.value}")
	}
	if !used {
		return nil, usage("such as: -- convert {} {}.png", "--each-line: no word of the command holds {}, the place of the line")
	}
	return words, nil
}
