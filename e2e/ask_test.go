package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// attemptView is one attempt of a task.
type attemptView struct {
	Number     int        `json:"number"`
	Node       string     `json:"node"`
	Fence      string     `json:"fence"`
	Cause      string     `json:"cause"`
	Message    string     `json:"message"`
	FinishedAt *time.Time `json:"finished_at"`
}

// attemptsOf reads the attempts of a task, RUN/KEY.
func attemptsOf(t *testing.T, p *process, task string) []attemptView {
	t.Helper()
	var view struct {
		AttemptList []attemptView `json:"attempt_list"`
	}
	if err := json.Unmarshal([]byte(must(t, p, "task", "show", task, "-o", "json")), &view); err != nil {
		t.Fatal(err)
	}
	return view.AttemptList
}

// commandLines finds the processes of this machine whose command line holds the
// text, in whatever PID namespace they are.
func commandLines(text string) []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, e := range entries {
		if strings.Trim(e.Name(), "0123456789") != "" {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		if line := strings.ReplaceAll(string(b), "\x00", " "); strings.Contains(line, text) {
			found = append(found, e.Name()+" "+line)
		}
	}
	return found
}

// gone waits until no process has the text on its command line.
func gone(t *testing.T, timeout time.Duration, text string) {
	t.Helper()
	eventually(t, timeout, "no process with "+text, func() (string, bool) {
		left := commandLines(text)
		return strings.Join(left, "; "), len(left) == 0
	})
}

// holdsWords fails the test unless the text has all of the words.
func holdsWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the answer does not say %q:\n%s", w, tail([]byte(text), 2000))
		}
	}
}

// works checks that the cluster still takes and runs work.
func works(t *testing.T, p *process) {
	t.Helper()
	if out, errOut, code := rota(p, "run", "--wait", "--timeout", "30s", "--", "true"); code != 0 {
		t.Errorf("afterwards the cluster does not work: exit %d\n%s%s", code, out, errOut)
	}
}

// request sends a body of JSON and returns the answer's status and body.
func request(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}
