package api_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota/api"
)

// TestHostileRequestsAreRefusedPolitely: whatever is sent, the answer is a problem
// document with the status of a caller's mistake, and the node goes on.
func TestHostileRequestsAreRefusedPolitely(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.register(t, 0)
	run := string(w.submit(t, 0, twoTasks).ID)
	spec := `{"source":"job \"x\" {\n task \"a\" {\n driver = \"noop\"\n }\n}\n"`
	deep := strings.Repeat(`[`, 20_000)
	cases := []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int // 0: any of 4xx
		problem                  string
	}{
		{name: "no such route", method: "GET", path: "/v1/nothing", status: 404, problem: api.TypeUnknownRoute},
		{name: "root", method: "GET", path: "/", status: 404, problem: api.TypeUnknownRoute},
		{name: "wrong method", method: "DELETE", path: "/v1/runs", status: 405, problem: api.TypeMethod},
		{name: "wrong method on a run", method: "PUT", path: "/v1/runs/" + run, status: 405, problem: api.TypeMethod},
		{name: "unknown method", method: "FROB", path: "/v1/status", status: 405, problem: api.TypeMethod},
		{name: "get where post", method: "GET", path: "/v1/jobs:plan", status: 405, problem: api.TypeMethod},
		{name: "dots", method: "GET", path: "/v1/tasks/" + run + "/..%2f..%2fetc", status: 404, problem: api.TypeNotFound},
		{name: "dots in a run", method: "GET", path: "/v1/tasks/..%2f..%2fetc/a/logs", status: 404},
		{name: "NUL in a run", method: "GET", path: "/v1/runs/%00%00%00%00%00", status: 404},
		{name: "invalid UTF-8 in a run", method: "GET", path: "/v1/runs/%ff%fe%fd%fc", status: 404},
		{name: "huge run id", method: "GET", path: "/v1/runs/" + strings.Repeat("A", 5000), status: 404},
		{name: "short prefix", method: "GET", path: "/v1/runs/01", status: 404},
		{name: "unknown run", method: "GET", path: "/v1/runs/01AAAAAAAAAAAAAAAAAAAAAA00", status: 404},
		{name: "unknown task", method: "GET", path: "/v1/tasks/" + run + "/zz", status: 404},
		{name: "unknown node", method: "GET", path: "/v1/nodes/zz", status: 404},
		{name: "unknown job", method: "GET", path: "/v1/jobs/zz", status: 404},
		{name: "unknown job's versions", method: "GET", path: "/v1/jobs/zz/versions", status: 404},
		{name: "version of nothing", method: "GET", path: "/v1/jobs/two?version=0", status: 400},
		{name: "version no number", method: "GET", path: "/v1/jobs/two?version=one", status: 400},
		{name: "version too new", method: "GET", path: "/v1/jobs/two?version=99", status: 404},
		{name: "namespace with a slash", method: "GET", path: "/v1/jobs/two?namespace=a/b", status: 400},
		{name: "limit zero", method: "GET", path: "/v1/runs?limit=0", status: 400},
		{name: "limit negative", method: "GET", path: "/v1/runs?limit=-1", status: 400},
		{name: "limit huge", method: "GET", path: "/v1/runs?limit=99999999999999999999", status: 400},
		{name: "limit words", method: "GET", path: "/v1/nodes?limit=many", status: 400},
		{name: "cursor garbage", method: "GET", path: "/v1/runs?cursor=%00", status: 400},
		{name: "cursor of JSON garbage", method: "GET", path: "/v1/runs?cursor=e30", status: 400},
		{name: "task cursor garbage", method: "GET", path: "/v1/runs/" + run + "/tasks?cursor=-3", status: 400},
		{name: "versions cursor garbage", method: "GET", path: "/v1/jobs/two/versions?cursor=x", status: 400},
		{name: "status unknown", method: "GET", path: "/v1/runs?status=happy", status: 400},
		{name: "task status unknown", method: "GET", path: "/v1/runs/" + run + "/tasks?status=happy", status: 400},
		{name: "label without key", method: "GET", path: "/v1/runs?label==x", status: 400},
		{name: "since garbage", method: "GET", path: "/v1/runs?since=yesterday", status: 400},
		{name: "since negative", method: "GET", path: "/v1/runs?since=-5h", status: 400},
		{name: "index negative", method: "GET", path: "/v1/status?index=-1", status: 400},
		{name: "index too large", method: "GET", path: "/v1/status?index=99999999999999999999", status: 400},
		{name: "wait without index", method: "GET", path: "/v1/status?wait=1s", status: 400},
		{name: "wait garbage", method: "GET", path: "/v1/status?index=1&wait=soon", status: 400},
		{name: "wait negative", method: "GET", path: "/v1/status?index=1&wait=-1s", status: 400},
		{name: "consistent garbage", method: "GET", path: "/v1/status?consistent=perhaps", status: 400},
		{name: "tasks garbage", method: "GET", path: "/v1/runs/" + run + "?tasks=perhaps", status: 400},
		{name: "query malformed", method: "GET", path: "/v1/runs?limit=%zz", status: 400},
		{name: "query with semicolons", method: "GET", path: "/v1/runs?a;b", status: 400},
		{name: "event ID garbage", method: "GET", path: "/v1/events?after=x", status: 400},
		{name: "event ID in parts", method: "GET", path: "/v1/events?after=1-2", status: 400},
		{name: "event ID too large", method: "GET", path: "/v1/events?after=99999-1-1", status: 400},
		{name: "Last-Event-ID garbage", method: "GET", path: "/v1/events", header: map[string]string{"Last-Event-ID": "';drop"}, status: 400},
		{name: "events of no run", method: "GET", path: "/v1/runs/01AAAAAAAAAAAAAAAAAAAAAA00/events", status: 404},
		{name: "log stream unknown", method: "GET", path: "/v1/tasks/" + run + "/a/logs?stream=stdin", status: 400},
		{name: "log stream path", method: "GET", path: "/v1/tasks/" + run + "/a/logs?stream=../../x", status: 400},
		{name: "log attempt negative", method: "GET", path: "/v1/tasks/" + run + "/a/logs?attempt=-1", status: 400},
		{name: "log attempt huge", method: "GET", path: "/v1/tasks/" + run + "/a/logs?attempt=18446744073709551615", status: 400},
		{name: "log offset garbage", method: "GET", path: "/v1/tasks/" + run + "/a/logs?offset=x", status: 400},
		{name: "log not placed", method: "GET", path: "/v1/tasks/" + run + "/a/logs", status: 404},
		{name: "log asked locally with dots", method: "GET", path: "/v1/tasks/..%2f..%2fetc/passwd/logs?attempt=1", header: map[string]string{"Rota-Local": "true"}, status: 404},
		{name: "log asked locally with a made-up key", method: "GET", path: "/v1/tasks/" + run + "/%2e%2e%2fa/logs?attempt=1", header: map[string]string{"Rota-Local": "true"}, status: 404},
		{name: "submit nothing", method: "POST", path: "/v1/runs", status: 400},
		{name: "submit empty object", method: "POST", path: "/v1/runs", body: `{}`, status: 400},
		{name: "submit null", method: "POST", path: "/v1/runs", body: `null`, status: 400},
		{name: "submit a number", method: "POST", path: "/v1/runs", body: `17`, status: 400},
		{name: "submit no JSON", method: "POST", path: "/v1/runs", body: `job "x" {}`, status: 400},
		{name: "submit cut off", method: "POST", path: "/v1/runs", body: `{"source":"x`, status: 400},
		{name: "submit two values", method: "POST", path: "/v1/runs", body: `{"job":"two"} {"job":"two"}`, status: 400},
		{name: "submit unknown field", method: "POST", path: "/v1/runs", body: `{"job":"two","hurry":true}`, status: 400},
		{name: "submit wrong type", method: "POST", path: "/v1/runs", body: `{"job":17}`, status: 400},
		{name: "submit deep", method: "POST", path: "/v1/runs", body: deep, status: 400},
		{name: "submit deep variables", method: "POST", path: "/v1/runs", body: `{"job":"two","variables":{"a":` + deep + `}}`, status: 400},
		{name: "submit invalid UTF-8", method: "POST", path: "/v1/runs", body: "{\"job\":\"\xff\xfe\"}", status: 400},
		{name: "submit NUL source", method: "POST", path: "/v1/runs", body: `{"source":"job \"x\" {\u0000}"}`, status: 422, problem: api.TypeInvalidSpec},
		{name: "submit empty source", method: "POST", path: "/v1/runs", body: `{"source":""}`, status: 422},
		{name: "submit source of 2 MiB", method: "POST", path: "/v1/runs", body: `{"source":"` + strings.Repeat("#", 2<<20) + `"}`, status: 413, problem: api.TypeTooLarge},
		{name: "submit 9 MiB", method: "POST", path: "/v1/runs", body: `{"source":"` + strings.Repeat("#", 9<<20) + `"}`, status: 413, problem: api.TypeTooLarge},
		{name: "submit files of 2 MiB", method: "POST", path: "/v1/runs", body: spec + `,"files":[{"path":"a","data":"` + strings.Repeat("AAAA", 1<<19) + `"}]}`, status: 413, problem: api.TypeTooLarge},
		{name: "submit file without path", method: "POST", path: "/v1/runs", body: spec + `,"files":[{"path":"","data":"AAAA"}]}`, status: 400},
		{name: "submit file of bad base64", method: "POST", path: "/v1/runs", body: spec + `,"files":[{"path":"a","data":"!!"}]}`, status: 400},
		{name: "submit filename with newline", method: "POST", path: "/v1/runs", body: spec + `,"filename":"a\nb"}`, status: 400},
		{name: "submit filename huge", method: "POST", path: "/v1/runs", body: spec + `,"filename":"` + strings.Repeat("a", 5000) + `"}`, status: 413},
		{name: "submit priority", method: "POST", path: "/v1/runs", body: spec + `,"priority":101}`, status: 400},
		{name: "submit priority negative", method: "POST", path: "/v1/runs", body: spec + `,"priority":-1}`, status: 400},
		{name: "submit priority huge", method: "POST", path: "/v1/runs", body: spec + `,"priority":1e99}`, status: 400},
		{name: "submit namespace", method: "POST", path: "/v1/runs", body: spec + `,"namespace":"../x"}`, status: 400},
		{name: "submit empty label", method: "POST", path: "/v1/runs", body: spec + `,"labels":{"":"x"}}`, status: 400},
		{name: "submit label with NUL", method: "POST", path: "/v1/runs", body: spec + `,"labels":{"a":"\u0000"}}`, status: 400},
		{name: "submit large label", method: "POST", path: "/v1/runs", body: spec + `,"labels":{"a":"` + strings.Repeat("x", 300) + `"}}`, status: 400},
		{name: "submit many labels", method: "POST", path: "/v1/runs", body: spec + `,"labels":{` + manyLabels(100) + `}}`, status: 413},
		{name: "submit at", method: "POST", path: "/v1/runs", body: spec + `,"at":"2030-01-01T00:00:00Z"}`, status: 422, problem: api.TypeNotBuilt},
		{name: "event as a variable", method: "POST", path: "/v1/runs", body: spec + `,"variables":{"*event":1}}`, status: 400, problem: api.TypeInvalid},
		{name: "event too large", method: "POST", path: "/v1/runs", body: spec + `,"event":"` + strings.Repeat("x", 300<<10) + `"}`, status: 413, problem: api.TypeTooLarge},
		{name: "key of an item alone", method: "POST", path: "/v1/runs", body: spec + `,"idempotency_key":"k"}`, status: 400, problem: api.TypeInvalid},
		{name: "store no source", method: "PUT", path: "/v1/jobs/x", body: `{}`, status: 400, problem: api.TypeInvalid},
		{name: "store another job", method: "PUT", path: "/v1/jobs/y", body: spec + `}`, status: 422, problem: api.TypeInvalidSpec},
		{name: "pause no job", method: "POST", path: "/v1/jobs/nosuch/pause", status: 404},
		{name: "submit version with source", method: "POST", path: "/v1/runs", body: spec + `,"version":1}`, status: 400},
		{name: "submit stored with files", method: "POST", path: "/v1/runs", body: `{"job":"two","filename":"x"}`, status: 400},
		{name: "submit stored negative version", method: "POST", path: "/v1/runs", body: `{"job":"two","version":-1}`, status: 400},
		{name: "submit unknown stored", method: "POST", path: "/v1/runs", body: `{"job":"zz"}`, status: 404},
		{name: "submit unknown job of a file", method: "POST", path: "/v1/runs", body: spec + `,"job":"zz"}`, status: 422},
		{name: "submit unknown variable", method: "POST", path: "/v1/runs", body: spec + `,"variables":{"zz":1}}`, status: 422},
		{name: "submit array too long", method: "POST", path: "/v1/runs", body: "[" + strings.Repeat(`{"job":"two"},`, 1000) + `{"job":"two"}]`, status: 413},
		{name: "submit array cut off", method: "POST", path: "/v1/runs", body: `[{"job":"two"}`, status: 400},
		{name: "key too long", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Idempotency-Key": strings.Repeat("k", 300)}, status: 413},
		{name: "key not ASCII", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Idempotency-Key": "kä"}, status: 400},
		{name: "media type form", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, status: 415, problem: api.TypeMedia},
		{name: "media type text", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Content-Type": "text/plain"}, status: 415},
		{name: "media type garbage", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Content-Type": ";;;"}, status: 415},
		{name: "validate nothing", method: "POST", path: "/v1/jobs:validate", body: `{}`, status: 400},
		{name: "plan nothing", method: "POST", path: "/v1/jobs:plan", body: `{}`, status: 400},
		{name: "plan cycle", method: "POST", path: "/v1/jobs:plan", body: `{"source":"job \"x\" {\n task \"a\" {\n driver = \"noop\"\n depends_on = [task.a]\n }\n}\n"}`, status: 422},
		{name: "cancel with an unknown field", method: "POST", path: "/v1/runs/" + run + "/cancel", body: `{"force":true}`, status: 400},
		{name: "cancel with a huge reason", method: "POST", path: "/v1/runs/" + run + "/cancel", body: `{"reason":"` + strings.Repeat("x", 1000) + `"}`, status: 400},
		{name: "cancel with 1 MiB", method: "POST", path: "/v1/runs/" + run + "/cancel", body: `{"reason":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413},
		{name: "cancel nothing", method: "POST", path: "/v1/runs/01AAAAAAAAAAAAAAAAAAAAAA00/cancel", status: 404},
		{name: "cancel task of nothing", method: "POST", path: "/v1/tasks/" + run + "/zz/cancel", status: 404},
		{name: "answer without an answer", method: "POST", path: "/v1/tasks/" + run + "/a/answer", body: `{}`, status: 400},
		{name: "answer nobody asked for", method: "POST", path: "/v1/tasks/" + run + "/a/answer", body: `{"rerun":true}`, status: 409},
		{name: "drain nobody", method: "POST", path: "/v1/nodes/zz/drain", status: 404},
		{name: "drain with a body", method: "POST", path: "/v1/nodes/n1/drain", body: `{"now":true}`, status: 400},
		{name: "explain nobody", method: "GET", path: "/v1/nodes/zz/explain", status: 404},
		{name: "explain nothing", method: "GET", path: "/v1/tasks/" + run + "/zz/explain", status: 404},
		{name: "another site's name", method: "GET", path: "/v1/status", header: map[string]string{"Host": "evil.example"}, status: 403, problem: api.TypeDenied},
		{name: "another site's name with our port", method: "GET", path: "/v1/status", header: map[string]string{"Host": "evil.example:8420"}, status: 403},
		{name: "a name that only begins like ours", method: "GET", path: "/v1/status", header: map[string]string{"Host": "localhost.evil.example"}, status: 403},
		{name: "another site's page posts", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Origin": "https://evil.example"}, status: 403},
		{name: "another site's page reads", method: "GET", path: "/v1/status", header: map[string]string{"Origin": "https://evil.example"}, status: 403},
		{name: "a sandboxed page posts", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Origin": "null"}, status: 403},
		{name: "a cross-site post without origin", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		{name: "a same-site post", method: "POST", path: "/v1/runs", body: `{"job":"two"}`, header: map[string]string{"Sec-Fetch-Site": "same-site"}, status: 403},
		{name: "internal without a key", method: "POST", path: "/v1/internal/renew", body: `{}`, status: 403, problem: api.TypeDenied},
		{name: "internal of another cluster", method: "POST", path: "/v1/internal/renew", body: `{}`, header: map[string]string{"Rota-Cluster": "c2"}, status: 403},
		{name: "internal with a made-up key", method: "POST", path: "/v1/internal/report", body: `{}`, header: map[string]string{"Rota-Cluster": clusterID, "Rota-Mac": strings.Repeat("0", 64)}, status: 403},
		{name: "internal register", method: "POST", path: "/v1/internal/register", body: `{}`, status: 403},
		{name: "internal release", method: "POST", path: "/v1/internal/release", body: `{}`, status: 403},
		{name: "internal stream", method: "GET", path: "/v1/internal/stream?session={}", status: 403},
		{name: "internal contact", method: "GET", path: "/v1/internal/contact", status: 403},
		{name: "internal forward", method: "POST", path: "/v1/internal/forward", body: `x`, status: 403},
		{name: "internal unknown", method: "POST", path: "/v1/internal/zz", body: `x`, status: 404},
		{name: "probe with garbage", method: "POST", path: "/v1/internal/probe", body: `x`, status: 400},
	}
	if len(cases) < 60 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, h, b := raw(t, c.method, w.nodes[0].http.URL+c.path, c.body, c.header)
			if status/100 != 4 || c.status != 0 && status != c.status {
				t.Fatalf("%d, want %d: %.300s", status, c.status, b)
			}
			if got := h.Get("Content-Type"); got != "application/problem+json" {
				t.Fatalf("content type %q: %.300s", got, b)
			}
			p := decode[api.Problem](t, b)
			if p.Status != status || p.Type == "" || p.Title == "" || p.Detail == "" || c.problem != "" && p.Type != c.problem {
				t.Errorf("problem: %+v", p)
			}
			if status == http.StatusRequestEntityTooLarge && p.Limit == "" {
				t.Errorf("no limit is named: %+v", p)
			}
			if len(p.Detail) > 1500 {
				t.Errorf("a detail of %d bytes", len(p.Detail))
			}
		})
	}
	if status, _, b := raw(t, "GET", w.nodes[0].http.URL+"/v1/status", "", nil); status != 200 {
		t.Errorf("afterwards: %d %s", status, b)
	}
}

func manyLabels(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return strings.Join(parts, ",")
}

// TestBytesThatAreNotHTTP: what is no request at all ends the connection, and not
// the node.
func TestBytesThatAreNotHTTP(t *testing.T) {
	w := newWorld(t, 1, 1)
	address := w.nodes[0].address()
	for _, text := range []string{
		"\x00\x01\x02\x03\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n",
		"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("y", 2<<20) + "\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text)) // may be cut off
		buf := make([]byte, 256)
		n, _ := conn.Read(buf)
		if got := string(buf[:n]); strings.HasPrefix(got, "HTTP/1.1 2") || strings.HasPrefix(got, "HTTP/1.1 500") {
			t.Errorf("%.60q: %s", text, got)
		}
		_ = conn.Close()
	}
	if status, _, _ := raw(t, "GET", w.nodes[0].http.URL+"/healthz", "", nil); status != 200 {
		t.Error("the node does not answer any more")
	}
}
