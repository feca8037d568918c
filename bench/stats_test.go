package bench

import (
	"math"
	"testing"
)

func TestMedianIsTheMiddleWhateverTheOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"odd", []float64{9, 1, 5}, 5},
		{"even: the mean of the two in the middle", []float64{10, 1, 2, 4}, 3},
		{"one", []float64{7}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := c.values[0]
			if got := median(c.values); got != c.want {
				t.Errorf("the median of %v is %v, want %v", c.values, got, c.want)
			}
			if c.values[0] != first {
				t.Error("the values were put in another order: repeats are shown as they were measured")
			}
		})
	}
	if !math.IsNaN(median(nil)) {
		t.Error("nothing has a median")
	}
}

func TestPercentileIsAValueThatWasMeasured(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		values []float64
		p      float64
		want   float64
	}{
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred, 0, 1},
		{[]float64{3, 1, 2}, 99, 3},
		{[]float64{3, 1, 2}, 50, 2},
		{[]float64{4}, 1, 4},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("percentile %v of %d values is %v, want %v", c.p, len(c.values), got, c.want)
		}
	}
	if !math.IsNaN(percentile(nil, 50)) {
		t.Error("nothing has a percentile")
	}
}
