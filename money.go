package rota

import (
	"fmt"
	"strconv"
	"strings"
)

// MicroUSD is an amount of money in millionths of a US dollar. Money is never a
// floating-point number in Rota.
type MicroUSD int64

// String writes the amount as people do: $1.20, $0.000150, -$3.00. At least two
// decimals, at most six.
func (m MicroUSD) String() string {
	sign, u := "", uint64(m)
	if m < 0 {
		sign, u = "-", -u
	}
	frac := strings.TrimRight(fmt.Sprintf("%06d", u%1_000_000), "0")
	for len(frac) < 2 {
		frac += "0"
	}
	return sign + "$" + strconv.FormatUint(u/1_000_000, 10) + "." + frac
}

// Usage is what an attempt consumed of paid things: money and tokens.
type Usage struct {
	Cost      MicroUSD `json:"cost_micro_usd"`
	TokensIn  int64    `json:"tokens_in"`
	TokensOut int64    `json:"tokens_out"`
}

// Plus adds two usages.
func (u Usage) Plus(o Usage) Usage {
	return Usage{Cost: u.Cost + o.Cost, TokensIn: u.TokensIn + o.TokensIn, TokensOut: u.TokensOut + o.TokensOut}
}
