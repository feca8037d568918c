package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"
)

// Bounds of requests.
const (
	maxSubmitBody = 8 << 20 // escapes and base64 make a source and its files larger
	maxSmallBody  = 64 << 10
	maxPeerBody   = 4 << 20
	maxKeyBytes   = 240 // of an idempotency key; the items of an array append theirs
)

// readBody reads the whole body, which must have arrived within the time for it.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		p := newProblem(TypeTooLarge, fmt.Sprintf("the request's body of %d bytes is over %d bytes", r.ContentLength, limit))
		p.Limit = "request_body"
		w.Header().Set("Connection", "close")
		return nil, p
	}
	body := http.MaxBytesReader(w, r.Body, limit)
	var b []byte
	var err error
	if r.ContentLength > 0 {
		b = make([]byte, r.ContentLength)
		_, err = io.ReadFull(body, b)
	} else {
		b, err = io.ReadAll(body)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil:
		return nil, newProblem(TypeInvalid, "the request's body did not arrive whole")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // it has arrived
	return b, nil
}

// decodeStrict reads JSON that holds exactly what v has: no unknown field, nothing
// behind it, only valid UTF-8. What is wrong is a problem that says where.
func decodeStrict(b []byte, v any) error {
	if !utf8.Valid(b) {
		return newProblem(TypeInvalid, "the body is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return newProblem(TypeInvalid, "there is something behind the JSON value in the body")
	}
	return nil
}

func badJSON(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	var p *Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &kind):
		return newProblem(TypeInvalid, fmt.Sprintf("field %q of the body cannot be a %s", clip(kind.Field, 100), kind.Value))
	case errors.As(err, &syntax):
		return newProblem(TypeInvalid, fmt.Sprintf("the body is not JSON: byte %d: %s", syntax.Offset, syntax.Error()))
	case errors.Is(err, io.EOF):
		return newProblem(TypeInvalid, "the body is empty; JSON is expected")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return newProblem(TypeInvalid, "the JSON in the body ends too early")
	}
	return newProblem(TypeInvalid, "the body: "+clip(err.Error(), 300))
}

// readSmall reads an optional small JSON body.
func (s *Server) readSmall(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := s.readBody(w, r, maxSmallBody)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	return decodeStrict(b, v)
}

// idempotencyKey is the request's key; empty: it has none.
func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get(headerIdempotency)
	return key, checkKey(key)
}

func checkKey(key string) error {
	if len(key) > maxKeyBytes {
		p := newProblem(TypeTooLarge, fmt.Sprintf("the idempotency key has %d bytes, the limit is %d", len(key), maxKeyBytes))
		p.Limit = "idempotency_key"
		return p
	}
	for _, c := range []byte(key) {
		if c < ' ' || c > '~' {
			return newProblem(TypeInvalid, "an idempotency key may hold printable ASCII only")
		}
	}
	return nil
}

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// answer writes a JSON body.
func answer(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	if err := encodeJSON(&b, v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a reader that went away
	return nil
}
