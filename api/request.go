package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// request is a submission that was read and checked by itself. Equal bodies share
// one; it does not change.
type request struct {
	SubmitRequest
	namespace string
	labels    []rota.Pair
	variables map[string]json.RawMessage // with the event
	version   *version                   // of the source; nil: of a stored job
}

func hexDigest(sum digest) string { return hex.EncodeToString(sum[:]) }

// requestOf reads a submission, or finds what was read from the same bytes. The
// digest is that of the bytes.
func (s *Server) requestOf(b []byte) (*request, digest, error) {
	sum := sha256.Sum256(b)
	if req, ok := s.jobs.requests.get(sum); ok {
		return req, sum, nil
	}
	req, err := readRequest(b)
	if err != nil {
		return nil, sum, err
	}
	s.jobs.requests.put(sum, req, cachedOverhead+len(b))
	return req, sum, nil
}

func readRequest(b []byte) (*request, error) {
	req := new(request)
	if err := decodeStrict(b, &req.SubmitRequest); err != nil {
		return nil, err
	}
	var err error
	if req.namespace, err = namespaceOf(req.Namespace); err != nil {
		return nil, err
	}
	if req.labels, err = checkLabels(req.Labels); err != nil {
		return nil, err
	}
	if err := checkPriority(req.Priority); err != nil {
		return nil, err
	}
	if req.At != nil {
		return nil, newProblem(TypeNotBuilt, `"at": starting a run later is not built yet`)
	}
	if req.variables, err = withEvent(req.Variables, req.Event); err != nil {
		return nil, err
	}
	if req.Source == nil {
		return req, req.checkStored()
	}
	if req.Version != 0 {
		return nil, newProblem(TypeInvalid, `"version" is for a stored job; with "source" leave it out`)
	}
	if err := checkSource(*req.Source, req.Filename, req.Files); err != nil {
		return nil, err
	}
	src := sourceOf(*req.Source, req.Filename, req.Files)
	req.version = newVersion(src, jobspecs.Hash(src))
	req.Source, req.Files = nil, nil // the version has them
	return req, nil
}

func (req *request) checkStored() error {
	switch {
	case req.Job == "":
		return newProblem(TypeInvalid, `the body has neither "source" nor "job"`)
	case req.Filename != "" || len(req.Files) > 0:
		return newProblem(TypeInvalid, `"filename" and "files" go with "source" only`)
	case req.Version < 0:
		return newProblem(TypeInvalid, `"version" is a number from 1`)
	}
	return nil
}

// withEvent puts the data that a run is started with among its variables, where the
// state machine keeps it.
func withEvent(variables map[string]json.RawMessage, event json.RawMessage) (map[string]json.RawMessage, error) {
	if _, taken := variables[rota.EventVariable]; taken {
		return nil, newProblem(TypeInvalid, fmt.Sprintf("%q is no name of a variable", rota.EventVariable))
	}
	if len(event) == 0 || string(event) == "null" {
		return variables, nil
	}
	if len(event) > rota.MaxSpecValues {
		p := newProblem(TypeTooLarge, fmt.Sprintf(`"event" has %d bytes, the limit is %d`, len(event), rota.MaxSpecValues))
		p.Limit = "event_bytes"
		return nil, p
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, event); err != nil {
		return nil, badJSON(err)
	}
	all := maps.Clone(variables)
	if all == nil {
		all = make(map[string]json.RawMessage, 1)
	}
	all[rota.EventVariable] = compact.Bytes()
	return all, nil
}
