package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/rota-sched/rota"
)

// wireVersion is the first byte of everything encoded for others: entries,
// commands, results and views. A decoder takes its own version only; a newer one
// is read once a format version says so.
const wireVersion = 1

// AppendEntry appends the encoded entry. Its Index is not written: the log knows.
func AppendEntry(b []byte, e *rota.Entry) []byte {
	b = appendEntryHead(b, e, len(e.Commands))
	for i := range e.Commands {
		b = appendCommand(b, &e.Commands[i])
	}
	return b
}

// AppendEntryOf is AppendEntry of commands that were encoded before, each by AppendCommand;
// those of e are not looked at. Commands that were decoded without an error are whole.
func AppendEntryOf(b []byte, e *rota.Entry, commands [][]byte) []byte {
	b = appendEntryHead(b, e, len(commands))
	for _, c := range commands {
		b = append(b, c[1:]...) // without its version
	}
	return b
}

func appendEntryHead(b []byte, e *rota.Entry, commands int) []byte {
	b = appendUint(append(b, wireVersion), uint64(e.Format))
	b = appendFixed(appendInt(appendUint(b, e.Term), e.At), e.Seed)
	return binary.AppendUvarint(b, uint64(commands))
}

// DecodeEntry reads what AppendEntry wrote; Index is left zero. The entry shares
// no memory with b. The error wraps ErrWire.
func DecodeEntry(b []byte) (rota.Entry, error) { return decodeEntry(b, nil) }

func decodeEntry(b []byte, specs *shelf) (rota.Entry, error) {
	r := open(b)
	r.seen = specs
	e := rota.Entry{Format: r.uint16(), Term: r.uint(), At: r.instant(), Seed: r.fixed64()}
	e.Commands = list(r, 5, (*reader).command)
	if err := r.end(); err != nil {
		return rota.Entry{}, fmt.Errorf("decode an entry: %w", err)
	}
	return e, nil
}

// AppendCommand appends the encoded command: for a forwarding node, and for AppendEntryOf.
func AppendCommand(b []byte, c *rota.Command) []byte { return appendCommand(append(b, wireVersion), c) }

// DecodeCommand reads what AppendCommand wrote. The error wraps ErrWire.
func DecodeCommand(b []byte) (rota.Command, error) {
	r := open(b)
	c := r.command()
	if err := r.end(); err != nil {
		return rota.Command{}, fmt.Errorf("decode a command: %w", err)
	}
	return c, nil
}

func open(b []byte) *reader {
	r := &reader{b: b}
	if v := r.byte(); r.err == nil && v != wireVersion {
		r.fail(fmt.Sprintf("version %d of the encoding, want %d", v, wireVersion))
	}
	return r
}

func appendCommand(b []byte, c *rota.Command) []byte {
	b = appendText(appendText(appendText(b, c.RequestID), c.Namespace), c.Principal)
	return appendOp(appendUint(b, uint64(c.Shard)), c.Op)
}

func (r *reader) command() rota.Command {
	c := rota.Command{RequestID: r.text(), Namespace: r.again(&r.other), Principal: r.text(), Shard: r.uint16()}
	c.Op = r.op()
	return c
}

// AppendResult appends the encoded result.
func AppendResult(b []byte, v *rota.Result) []byte {
	b = appendUint(append(b, wireVersion), v.Index)
	b = appendText(appendText(append(b, byte(v.Kind)), v.Detail), v.Run)
	b = appendSession(appendInt(appendBool(b, v.Existed), v.Version), v.Session)
	b = binary.AppendUvarint(b, uint64(len(v.Items)))
	for _, k := range v.Items {
		b = append(b, byte(k))
	}
	return b
}

// DecodeResult reads what AppendResult wrote. The error wraps ErrWire.
func DecodeResult(b []byte) (rota.Result, error) {
	r := open(b)
	v := rota.Result{
		Index: r.uint(), Kind: rota.Kind(r.byte()), Detail: r.text(), Run: r.runID(),
		Existed: r.bool(), Version: r.int(), Session: r.session(),
		Items: list(r, 1, func(r *reader) rota.Kind { return rota.Kind(r.byte()) }),
	}
	if err := r.end(); err != nil {
		return rota.Result{}, fmt.Errorf("decode a result: %w", err)
	}
	return v, nil
}

// AppendView appends the encoded view.
func AppendView(b []byte, v *rota.View) []byte {
	b = appendUint(append(b, wireVersion), uint64(v.Incarnation))
	b = appendSession(appendUint(appendUint(b, v.Term), v.Index), v.Session)
	b = binary.AppendUvarint(appendBool(b, v.Full), uint64(len(v.Start)))
	for i := range v.Start {
		a := &v.Start[i]
		b = appendText(appendText(appendTask(b, a.Task), a.Namespace), a.Job)
		b = appendGrants(appendText(appendUint(b, uint64(a.Fence)), a.IdempotencyKey), a.GPUs)
		b = appendSpec(b, orEmpty(a.Spec))
	}
	b = binary.AppendUvarint(b, uint64(len(v.Stop)))
	for _, s := range v.Stop {
		b = append(appendUint(appendTask(b, s.Task), uint64(s.Fence)), byte(s.Cause))
	}
	return b
}

// DecodeView reads what AppendView wrote. The error wraps ErrWire.
func DecodeView(b []byte) (rota.View, error) {
	r := open(b)
	v := rota.View{Incarnation: r.uint16(), Term: r.uint(), Index: r.uint(), Session: r.session(), Full: r.bool()}
	v.Start = list(r, 7+minSpecBytes, func(r *reader) rota.Assignment {
		return rota.Assignment{
			Task: r.taskID(), Namespace: r.text(), Job: r.text(), Fence: rota.Fence(r.uint()),
			IdempotencyKey: r.text(), GPUs: r.grants(), Spec: r.spec(),
		}
	})
	v.Stop = list(r, 4, func(r *reader) rota.StopOrder {
		return rota.StopOrder{Task: r.taskID(), Fence: rota.Fence(r.uint()), Cause: rota.Cause(r.byte())}
	})
	if err := r.end(); err != nil {
		return rota.View{}, fmt.Errorf("decode a view: %w", err)
	}
	return v, nil
}
