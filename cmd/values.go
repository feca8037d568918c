package cmd

import (
	"fmt"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// splitAddress reads HOST:PORT, :PORT or HOST.
func splitAddress(flag, s string, defaultPort int) (host string, port int, err error) {
	bad := func(why string) error {
		return usage("", "%s %q: %s; want HOST:PORT", flag, s, why)
	}
	if s == "" {
		return "", 0, bad("it is empty")
	}
	if strings.Contains(s, "://") {
		return "", 0, bad("a URL is no address to listen on")
	}
	if ip := net.ParseIP(strings.Trim(s, "[]")); ip != nil || !strings.Contains(s, ":") {
		return strings.Trim(s, "[]"), defaultPort, nil
	}
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, bad("it cannot be split")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, bad("the port is no number from 0 to 65535")
	}
	return host, int(n), nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func parseRoles(words []string) ([]rota.Role, error) {
	if len(words) == 0 {
		return []rota.Role{rota.RoleServer, rota.RoleWorker}, nil
	}
	var roles []rota.Role
	for _, w := range words {
		role := rota.Role(strings.TrimSpace(w))
		if role != rota.RoleServer && role != rota.RoleWorker {
			return nil, usage("", "--role %q: want server, worker or server,worker", w)
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles, nil
}

func parseJoins(words []string) ([]string, error) {
	var joins []string
	for _, w := range words {
		w = strings.TrimPrefix(strings.TrimSpace(w), "http://")
		host, port, err := splitAddress("--join", w, DefaultHTTPPort)
		if err != nil {
			return nil, err
		}
		if host == "" || port == 0 {
			return nil, usage("name the HTTP door of any node: --join HOST[:8420]", "--join %q names no node", w)
		}
		joins = append(joins, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return joins, nil
}

// parsePairs reads k=v words into pairs sorted by key.
func parsePairs(flag string, words []string) ([]rota.Pair, error) {
	m := map[string]string{}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, usage("", "%s %q: want KEY=VALUE", flag, w)
		}
		if _, twice := m[k]; twice {
			return nil, usage("", "%s %s is given twice", flag, k)
		}
		m[k] = v
	}
	return rota.PairsOf(m), nil
}

func parseCapabilities(words []string) ([]string, error) {
	var all []string
	for _, w := range words {
		for c := range strings.SplitSeq(w, ",") {
			c = strings.TrimSpace(c)
			if c == "" || strings.ContainsAny(c, " \t=") {
				return nil, usage("", "--capability %q: want a word such as web-search", w)
			}
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// maxFakeGPUs bounds the devices that a node may make up.
const maxFakeGPUs = 64

// parseGPU reads none, auto, fake:MODEL,MEM,COUNT (several joined by +) or nothing.
func parseGPU(s string) (GPUFlag, error) {
	const forms = "want none, auto or fake:MODEL,MEM,COUNT such as fake:H100,80GiB,8"
	switch s {
	case "":
		return GPUFlag{Detect: true}, nil
	case "none":
		return GPUFlag{}, nil
	case "auto":
		return GPUFlag{Detect: true, Required: true}, nil
	}
	list, ok := strings.CutPrefix(s, "fake:")
	if !ok {
		return GPUFlag{}, usage("", "--gpu %q: %s", s, forms)
	}
	var flag GPUFlag
	for group := range strings.SplitSeq(list, "+") {
		parts := strings.Split(group, ",")
		if len(parts) != 3 || strings.TrimSpace(parts[0]) == "" {
			return GPUFlag{}, usage("", "--gpu %q: %s", s, forms)
		}
		memory, err := rota.ParseSize(strings.TrimSpace(parts[1]))
		if err != nil || memory <= 0 {
			return GPUFlag{}, usage("", "--gpu %q: %q is no memory size; %s", s, parts[1], forms)
		}
		n, err := strconv.Atoi(strings.TrimSpace(parts[2]))
		if err != nil || n < 1 || len(flag.Fake)+n > maxFakeGPUs {
			return GPUFlag{}, usage("", "--gpu %q: %q is no number of devices from 1 to %d; %s", s, parts[2], maxFakeGPUs, forms)
		}
		for range n {
			flag.Fake = append(flag.Fake, rota.GPU{
				ID: fmt.Sprintf("fake-%d", len(flag.Fake)), Model: strings.TrimSpace(parts[0]), MemoryBytes: memory,
			})
		}
	}
	return flag, nil
}

// decimal reads a plain decimal number of at most 40 characters.
func decimal(s string) (*big.Rat, bool) {
	if s == "" || len(s) > 40 || strings.Trim(s, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// parseDuration reads Go's durations plus d for days.
func parseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseInt(days, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	return d + more, err
}

// oneOf refuses a word that is not among the choices.
func oneOf(flag, got string, choices ...string) error {
	if slices.Contains(choices, got) {
		return nil
	}
	next := ""
	if near := nearest(got, slices.Clone(choices)); near != "" {
		next = "did you mean " + near + "?"
	}
	return usage(next, "%s %q: want %s", flag, got, strings.Join(choices, " or "))
}

// leastMemory is what an idle node with some tasks needs.
const leastMemory = 128 << 20

// parseMemory reads --memory; empty is 0.
func parseMemory(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := rota.ParseSize(text)
	if err != nil {
		return 0, usage("write it with a unit: --memory 8GiB", "--memory %s: %v", text, err)
	}
	if n < leastMemory {
		return 0, usage("a node needs at least 128MiB for itself", "--memory %s is too little", text)
	}
	return n, nil
}
