// Package examples holds job files that do real work with tools every Linux has.
// It promises that each of them parses and runs as it is; the demonstration is also
// part of the binary. It never does anything by itself.
package examples

import _ "embed"

// Demo is the job of `rota dev --demo`.
//
//go:embed demo.hcl
var Demo string
