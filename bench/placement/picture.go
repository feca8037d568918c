package placement

import (
	"bytes"
	"fmt"
)

// The picture shows the columns from firstShown on: before it all curves are one.
const firstShown = 80

// picture draws the curves of all policies as an SVG.
func picture(t *Trace, curves []curve) []byte {
	const (
		width, height            = 760, 430
		left, right, top, bottom = 56, 20, 40, 48
	)
	low, high := 100.0, 0.0
	for i := range curves {
		low, high = min(low, curves[i][firstShown]), max(high, curves[i][columns-1])
	}
	low, high = float64(int(low)), float64(int(high)+1)
	x := func(l float64) float64 {
		return left + (l-firstShown)/float64(columns-1-firstShown)*(width-left-right)
	}
	y := func(v float64) float64 { return top + (high-v)/(high-low)*(height-top-bottom) }
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, width, height)
	line(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	line(`<text x="%d" y="22" font-size="14">Allocated GPU (%%) by arrived load (%%), workload %s</text>`, left, t.Workload)
	for v := low; v <= high; v += 2 {
		line(`<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`, left, y(v), width-right, left-6, y(v)+4, v)
	}
	for l := firstShown; l < columns; l += 10 {
		line(`<path d="M%.1f %dV%d" stroke="#eee"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`, x(float64(l)), top, height-bottom, x(float64(l)), height-bottom+18, l)
	}
	for i, c := range policies(t) {
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.8" points="`, c.color)
		for l := firstShown; l < columns; l++ {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(float64(l)), y(curves[i][l]))
		}
		line(`"/>`)
		at := height - bottom - 18*(len(curves)-i) + 4
		line(`<path d="M430 %dh22" stroke="%s" stroke-width="3"/><text x="458" y="%d">%s: %.2f at 120 %%</text>`, at-4, c.color, at, c.name, curves[i][120])
	}
	line(`</svg>`)
	return b.Bytes()
}
