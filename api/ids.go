package api

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rota-sched/rota"
)

// shardBits are the bits of a ULID that its last two characters write.
const shardBits = 10

// minter makes the IDs of runs: ULIDs in the order in which they were made, whose
// last two characters are the shard.
type minter struct {
	mu   sync.Mutex // guards the fields below
	last ulid.ULID
}

// next makes an ID. Within one millisecond, and when the wall clock went back, the
// ID before is counted on, so that the order stays.
func (m *minter) next(now time.Time) rota.RunID {
	m.mu.Lock()
	defer m.mu.Unlock()
	var u ulid.ULID
	ms := uint64(max(now.UnixMilli(), 0))
	if err := u.SetTime(ms); err == nil && ms > m.last.Time() {
		_, _ = rand.Read(u[6:]) // never fails (crypto/rand)
		u[6] &= 0x7f            // room to count on
	} else {
		u = m.last
		var step [2]byte
		_, _ = rand.Read(step[:]) // never fails
		add(&u, (uint64(binary.BigEndian.Uint16(step[:]))+1)<<shardBits)
	}
	u[14] &^= 1<<(shardBits-8) - 1
	u[15] = 0
	m.last = u
	return rota.RunID(u.String())
}

// add adds to the random part, carrying into the time.
func add(u *ulid.ULID, n uint64) {
	low := binary.BigEndian.Uint64(u[8:])
	sum := low + n
	binary.BigEndian.PutUint64(u[8:], sum)
	if sum < low {
		binary.BigEndian.PutUint64(u[:8], binary.BigEndian.Uint64(u[:8])+1)
	}
}
