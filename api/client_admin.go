package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Servers lists the servers of the log as the node that answers sees them.
func (c *Client) Servers(ctx context.Context) ([]ServerDetail, error) {
	l, err := get[List[ServerDetail]](ctx, c, "/v1/servers", nil)
	if err != nil {
		return nil, err
	}
	return l.Items, nil
}

// RemoveServer takes a server, by name, ID or prefix, out of the log for good.
func (c *Client) RemoveServer(ctx context.Context, server string) (*ServerDetail, error) {
	return post[ServerDetail](ctx, c, "/v1/servers/"+url.PathEscape(server)+"/remove", nil, "")
}

// TransferLead hands the lead to a server; to the one that is furthest if it is empty.
func (c *Client) TransferLead(ctx context.Context, to string) (*TransferView, error) {
	return post[TransferView](ctx, c, "/v1/servers:transfer", &TransferRequest{To: to}, "")
}

// Snapshot streams the whole state; stale: as the node that answers has it. The caller
// closes it. Only what was read to the end and checked is whole.
func (c *Client) Snapshot(ctx context.Context, stale bool) (io.ReadCloser, error) {
	q := url.Values{}
	if stale {
		q.Set("stale", "true")
	}
	until := time.Now().Add(c.opts.Patience)
	for {
		resp, err := c.open(ctx, "/v1/snapshot", q, http.Header{"Accept": {"application/octet-stream"}})
		if err == nil {
			return resp.Body, nil
		}
		pause, again := passes(err)
		if !again || time.Now().Add(pause).After(until) || wait(ctx, pause) != nil {
			return nil, err
		}
	}
}
