package jobspecs

import (
	"slices"
	"strings"
)

// didYouMean is a sentence with the likeliest of the words, or all of them where
// none is near and they are few; empty if there is nothing to offer.
func didYouMean(got string, words []string) string {
	if best := nearest(got, words); best != "" {
		return `Did you mean "` + best + `"?`
	}
	return ""
}

// nearest finds the word with the smallest edit distance, if it is small enough to
// be a slip of the finger; empty if none is.
func nearest(got string, words []string) string {
	best, bestDistance := "", max(1, min(3, (len(got)+1)/3))+1
	for _, w := range words {
		if d := distance(strings.ToLower(got), strings.ToLower(w), bestDistance); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance is the edit distance of two words, adjacent letters swapped counting
// as one edit; limit or more means "not near", which lets it stop early.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 || len(x)-len(y) >= limit || len(y)-len(x) >= limit {
		return limit
	}
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

// oneOf writes the words as a choice: a, b or c.
func oneOf(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// few writes up to twelve of the names, sorted, and says how many more there are.
func few(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if len(names) > 12 {
		return strings.Join(names[:12], ", ") + " and more"
	}
	return strings.Join(names, ", ")
}

// sentences joins what is not empty with blanks.
func sentences(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}
