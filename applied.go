package rota

// Applied is what one applied entry of the log did: the unit in which the leader's
// duties, the streams to nodes and the event history follow the state machine, in
// log order and without a hole.
type Applied struct {
	Index       uint64
	Term        uint64  // of the leader that proposed the entry
	Incarnation uint16  // of the cluster, after the entry
	At          Instant // the state's now after the entry
	// NextDue and Format are the state's after the entry.
	NextDue Instant
	Format  uint16
	// Configuration says that the entry changed the log's own membership; it has
	// no changes. For the leases it counts as a gap (RELIABILITY.md, section 2, 7).
	Configuration bool
	Changes       []Change
}
