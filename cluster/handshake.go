package cluster

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// The handshake of a connection between servers, each text with a byte of length
// in front:
//
//	caller    magic, its cluster's ID, nonce of 16 bytes
//	answerer  "" and its nonce and proof, or why it refuses
//	caller    its proof
//	answerer  "", or why it refuses
//
// The caller's nonce names whom it wants: two bytes that say so, eight random ones, and
// six of the SHA-256 over these and the ID. Another node that has the address now
// refuses. (A nonce of random bytes names nobody: so callers of the release before this
// one are answered, and answer.)
//
// A proof is the HMAC-SHA256 under the cluster's key of who speaks, the cluster's
// ID and both nonces, so that nothing heard on the wire can be used again.
const (
	handshakeMagic = "rota-raft/1\n"
	nonceSize      = 16
	nonceRandom    = 10 // bytes of it in front of the name, the mark included
)

// nonceNames begins a nonce that names whom the caller wants.
const nonceNames = "\xf1\x1d"

// nameIn writes whom the caller wants into its nonce.
func nameIn(nonce []byte, id string) {
	copy(nonce, nonceNames)
	sum := sha256.Sum256(append(bytes.Clone(nonce[:nonceRandom]), id...))
	copy(nonce[nonceRandom:], sum[:])
}

// wants reports whether a nonce names the node, or nobody.
func wants(nonce []byte, id string) bool {
	if id == "" || string(nonce[:len(nonceNames)]) != nonceNames {
		return true
	}
	named := bytes.Clone(nonce)
	nameIn(named, id)
	return bytes.Equal(named, nonce)
}

// strangerError says that the other end belongs to another cluster, or claims to
// belong to this one.
type strangerError struct{ words string }

// errOtherNode ends a call for a node that had this one's address before: nobody needs
// to know.
var errOtherNode = errors.New("another node is wanted")

func (e *strangerError) Error() string { return e.words }

// pass is what a server shows and asks for.
type pass struct {
	clusterID string
	key       []byte
	id        string // of the node; empty: whoever calls it is answered
}

func (p pass) proof(who string, caller, answerer []byte) []byte {
	h := hmac.New(sha256.New, p.key)
	for _, part := range [][]byte{[]byte(who), []byte(p.clusterID), caller, answerer} {
		h.Write([]byte{byte(len(part))})
		h.Write(part)
	}
	return h.Sum(nil)
}

// show is the caller's side, for the node that it wants; empty: whoever answers.
func (p pass) show(conn io.ReadWriter, want string) error {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	if want != "" {
		nameIn(nonce, want)
	}
	hello := append([]byte(handshakeMagic), byte(len(p.clusterID)))
	hello = append(append(hello, p.clusterID...), nonce...)
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	if err := readRefusal(conn); err != nil {
		return err
	}
	theirs := make([]byte, nonceSize+sha256.Size)
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return err
	}
	if !hmac.Equal(theirs[nonceSize:], p.proof("answerer", nonce, theirs[:nonceSize])) {
		return &strangerError{"it claims to belong to this cluster but does not have its key"}
	}
	if _, err := conn.Write(p.proof("caller", nonce, theirs[:nonceSize])); err != nil {
		return err
	}
	return readRefusal(conn)
}

// answer is the other side.
func (p pass) answer(conn io.ReadWriter) error {
	magic := make([]byte, len(handshakeMagic))
	if _, err := io.ReadFull(conn, magic); err != nil {
		return err
	}
	if string(magic) != handshakeMagic {
		return errors.New("no server of this program called")
	}
	theirCluster, err := readText(conn)
	if err != nil {
		return err
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(conn, nonce); err != nil {
		return err
	}
	if theirCluster != p.clusterID {
		return refuse(conn, fmt.Sprintf("it belongs to cluster %s, the caller to %s", p.clusterID, theirCluster))
	}
	if !wants(nonce, p.id) {
		_ = refuse(conn, fmt.Sprintf("it is node %s, and the caller wants another", p.id))
		return errOtherNode
	}
	mine := make([]byte, nonceSize)
	if _, err := rand.Read(mine); err != nil {
		return err
	}
	reply := append(append([]byte{0}, mine...), p.proof("answerer", nonce, mine)...)
	if _, err := conn.Write(reply); err != nil {
		return err
	}
	proof := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, proof); err != nil {
		return err
	}
	if !hmac.Equal(proof, p.proof("caller", nonce, mine)) {
		return refuse(conn, "the caller does not have the cluster's key")
	}
	_, err = conn.Write([]byte{0})
	return err
}

// refuse tells the other end why, and returns the same.
func refuse(conn io.Writer, words string) error {
	words = words[:min(len(words), 255)]
	if _, err := conn.Write(append([]byte{byte(len(words))}, words...)); err != nil {
		return err
	}
	return &strangerError{words}
}

// readRefusal reads why the other end refuses; nil if it does not.
func readRefusal(conn io.Reader) error {
	words, err := readText(conn)
	if err != nil {
		return err
	}
	if words != "" {
		return &strangerError{"it refused this server: " + words}
	}
	return nil
}

func readText(conn io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(conn, n[:]); err != nil {
		return "", err
	}
	b := make([]byte, n[0])
	_, err := io.ReadFull(conn, b)
	return string(b), err
}
