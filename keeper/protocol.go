package keeper

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
)

// The protocol: frames of a length (4 bytes, big-endian) and a JSON text. The
// first frame of a connection is the client's hello, which names the versions it
// speaks; the keeper's answer names the one that holds. A new agent drives the
// keeper of the release before it, so a version is added, never changed.
const (
	protocolNewest = 1
	protocolOldest = 1
	maxFrame       = 8 << 20
)

// The operations. Requests carry an ID and get one reply with it; pushes have
// none.
const (
	opHello    = "hello"
	opBegin    = "begin"
	opExtend   = "extend"
	opLease    = "lease"
	opEnd      = "end"
	opView     = "view"
	opPeers    = "peers"
	opSpawn    = "spawn"
	opStop     = "stop"
	opAck      = "ack"
	opPlanned  = "planned_stop"
	opPing     = "ping"
	pushState  = "attempt"
	pushOver   = "over"
	roleAgent  = "agent"
	roleSecond = "second"
)

type frame struct {
	ID    uint64          `json:"id,omitempty"`
	Op    string          `json:"op,omitempty"`
	Reply *wireReply      `json:"reply,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

type wireReply struct {
	Kind    string `json:"kind,omitempty"` // a word of rota.Kind; empty: done
	Detail  string `json:"detail,omitempty"`
	Refused bool   `json:"refused,omitempty"`
}

// err makes an error of the reply again.
func (r *wireReply) err() error {
	if r.Refused {
		return &refused{detail: r.Detail}
	}
	if r.Kind == "" {
		return nil
	}
	var k rota.Kind
	if err := k.UnmarshalText([]byte(r.Kind)); err != nil {
		k = rota.KindUnavailable // a kind from a newer release
	}
	return &rota.Refusal{Kind: k, Detail: r.Detail}
}

// Hello is what a keeper says of itself.
type Hello struct {
	Protocol    int         `json:"protocol"`
	ID          string      `json:"id"`   // random, of this keeper's life
	Boot        string      `json:"boot"` // boot id of the kernel
	PID         int         `json:"pid"`  // as the keeper sees itself
	Containment Containment `json:"containment"`
	// Remains: a keeper before this one ended without order and may have left
	// processes that cannot be told from others.
	Remains bool `json:"remains"`
	Snapshot
}

// Lease is the session, its deadline and the newest view in one message.
type Lease struct {
	Session  rota.Session `json:"session"`
	Deadline BootTime     `json:"deadline"`
	View     ViewMark     `json:"view"`
}

// SpawnRequest asks for the start of an attempt.
type SpawnRequest struct {
	Ref
	Session rota.Session `json:"session"` // zero: the one that is served
	Argv    []string     `json:"argv"`    // Argv[0] is looked up in Env's PATH unless it holds a slash
	Env     []string     `json:"env"`     // the whole environment, KEY=value; the keeper adds its mark
	Dir     string       `json:"dir"`     // absolute
	// StdoutPath and StderrPath are the first files of the two streams; empty: the
	// stream is counted and dropped. See Segments.
	StdoutPath string `json:"stdout_path"`
	StderrPath string `json:"stderr_path"`
	LogBytes   int64  `json:"log_bytes"` // bound for both streams together; 0: DefaultLogBytes
	// Meta is kept and handed back with the attempt: what an agent needs to adopt it.
	Meta json.RawMessage `json:"meta,omitempty"`
}

type helloBody struct {
	Newest int    `json:"newest"`
	Oldest int    `json:"oldest"`
	Role   string `json:"role"`
}

type sessionBody struct {
	Session  rota.Session `json:"session"`
	Deadline BootTime     `json:"deadline"`
}

type stopBody struct {
	Ref
	Signal syscall.Signal `json:"signal"`
	Grace  time.Duration  `json:"grace_ns"`
	Reason string         `json:"reason,omitempty"`
}

var errFrame = errors.New("frame too long")

func writeFrame(w io.Writer, f *frame) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode a frame: %w", err)
	}
	if len(b) > maxFrame {
		return fmt.Errorf("%w: %d bytes, the limit is %d", errFrame, len(b), maxFrame)
	}
	buf := make([]byte, 4, 4+len(b))
	binary.BigEndian.PutUint32(buf, uint32(len(b)))
	_, err = w.Write(append(buf, b...))
	return err
}

func readFrame(r io.Reader) (*frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errFrame, n, maxFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	f := new(frame)
	if err := json.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("decode a frame: %w", err)
	}
	return f, nil
}

func body(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	return b, nil
}
