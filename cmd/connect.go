package cmd

import (
	"errors"
	"strings"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/jobspecs"
)

// defaultAddress is where a node is looked for.
const defaultAddress = "http://127.0.0.1:8420"

// maxToken bounds a token file.
const maxToken = 64 << 10

// connect makes the client of the addresses given; it does not talk to anyone yet.
func (a *app) connect() (*api.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	client, err := a.clientFor(a.addresses())
	if err != nil {
		return nil, err
	}
	a.client = client
	return client, nil
}

func (a *app) clientFor(addresses []string) (*api.Client, error) {
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(addresses, api.Options{
		Namespace: a.flags.namespace, Token: token, UserAgent: "rota/" + a.version(),
	})
	if err != nil {
		return nil, usage("such as --address 127.0.0.1:8420,127.0.0.1:8430", "%s", err)
	}
	return client, nil
}

func (a *app) addresses() []string {
	list := a.flags.address
	if list == "" {
		list = a.Getenv("ROTA_ADDR")
	}
	if list == "" {
		list = defaultAddress
	}
	var addresses []string
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			addresses = append(addresses, part)
		}
	}
	return addresses
}

func (a *app) token() (string, error) {
	name := a.flags.tokenFile
	if name == "" {
		name = a.Getenv("ROTA_TOKEN_FILE")
	}
	if name == "" {
		return "", nil
	}
	b, err := readFile(name, maxToken)
	if err != nil {
		return "", usage("--token-file or ROTA_TOKEN_FILE names it", "the token file %s cannot be read: %s", name, plainPathError(err))
	}
	token := strings.TrimSpace(string(b))
	if strings.ContainsAny(token, " \t\r\n") {
		return "", usage("", "the token file %s holds more than one word", name)
	}
	return token, nil
}

// withSource adds the lines of the job file to diagnostics that came from a node.
func withSource(err error, src jobspecs.Source) error {
	var e *api.Error
	if errors.As(err, &e) {
		e.Problem.Diagnostics = withSnippets(e.Problem.Diagnostics, src.Filename, src.Text)
	}
	return err
}

// knownFault makes a fault of the errors that this package and the client give;
// nil for others.
func (a *app) knownFault(err error) *fault {
	var f *fault
	var refused *api.Error
	var unreachable *api.UnreachableError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &refused):
		return refusedFault(refused)
	case errors.As(err, &unreachable):
		return unreachableFault(unreachable)
	}
	return nil
}

func refusedFault(e *api.Error) *fault {
	p := e.Problem
	f := &fault{
		code: exitOfKind(p.Kind()), what: p.Detail, kind: p.Type, status: p.Status, limit: p.Limit,
		title: p.Title, diagnostics: p.Diagnostics, next: nextOf(p), cause: e,
	}
	if p.Kind() == rota.KindNone {
		f.code = exitOfStatus(p.Status)
	}
	if f.what == "" {
		f.what = strings.TrimSpace("refused by " + e.Address + " " + p.Title)
	}
	return f
}

// nextOf says what to do about a refusal.
func nextOf(p *api.Problem) string {
	switch p.Type {
	case api.TypeNoLeader:
		return "nothing was changed for certain; `rota status` shows the servers, and a majority of them must be up"
	case api.TypeUnknown:
		return "it may have been done; the same --idempotency-key makes it safe to send it again"
	case api.TypeOverloaded, api.TypeUnavailable, api.TypeTimeout:
		return "try again in a moment"
	case api.TypeDenied:
		return "--token-file or ROTA_TOKEN_FILE names the token to present"
	case api.TypeInternal:
		return "`rota doctor` may know more"
	}
	return ""
}

func unreachableFault(u *api.UnreachableError) *fault {
	f := &fault{
		code: exitTryAgain, what: "no node answers", kind: "unreachable", cause: u,
		next: "start a cluster on this machine with `rota dev`, or a node with `rota start`;\n" +
			"or name nodes that run with --address HOST:PORT,... or ROTA_ADDR",
	}
	var lines []string
	for i, address := range u.Addresses {
		line := address
		if i < len(u.Causes) && u.Causes[i] != nil {
			line += ": " + shortCause(u.Causes[i])
		}
		lines = append(lines, line)
	}
	f.why = strings.Join(lines, "\n")
	return f
}

// shortCause leaves out of a network error what the line says already.
func shortCause(err error) string {
	s := err.Error()
	for _, known := range []string{"connection refused", "no such host", "i/o timeout", "no route to host", "network is unreachable", "connection reset by peer"} {
		if strings.Contains(s, known) {
			return known
		}
	}
	return s
}

// taskAddress splits RUN/KEY.
func taskAddress(word string) (run, key string, err error) {
	run, key, ok := strings.Cut(word, "/")
	if !ok || run == "" || key == "" {
		return "", "", usage("`rota runs show "+dash(run)+"` lists the tasks of a run", "%q is no task: want RUN/KEY, such as @last/plan", word)
	}
	if _, _, err := rota.ParseKey(key); err != nil {
		return "", "", usage("quote it for the shell: '"+word+"'", "%s", err)
	}
	return run, key, nil
}
