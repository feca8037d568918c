package placement

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
)

// published are the published curves of a workload by policy and seed.
type published map[string]curve

func publishedKey(policy string, seed int64) string { return fmt.Sprint(policy, " ", seed) }

// readPublished reads fgd_expected/alloc_curve_WORKLOAD.csv, in the directory or beside
// it; empty if there is none.
func readPublished(dir, workload string) (published, error) {
	rows, err := readTable(dir, "fgd_expected", "alloc_curve_"+workload+".csv")
	if errors.Is(err, fs.ErrNotExist) {
		rows, err = readTable(filepath.Dir(filepath.Clean(dir)), "fgd_expected", "alloc_curve_"+workload+".csv")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := published{}
	for _, r := range rows {
		var c curve
		for l := range c {
			x, err := strconv.ParseFloat(r.text(strconv.Itoa(l)), 64)
			if err != nil && r.err == nil {
				return nil, fmt.Errorf("%s:%d: column %d: %w", r.file, r.line, l, err)
			}
			c[l] = x
		}
		key := publishedKey(r.text("policy"), r.number("seed"))
		if r.err != nil {
			return nil, r.err
		}
		all[key] = c
	}
	return all, nil
}

// differing counts the columns in which two curves differ by more than the last
// printed digit.
func (c *curve) differing(o *curve) int {
	n := 0
	for l := range c {
		if math.Abs(c[l]-o[l]) > 0.0101 {
			n++
		}
	}
	return n
}

// mean is the curve of the means.
func mean(curves []curve) curve {
	var m curve
	for l := range m {
		for i := range curves {
			m[l] += curves[i][l] / float64(len(curves))
		}
	}
	return m
}
