package rota

// FormatJobs is the format version from which on StoreJob and MarkJob are known.
const FormatJobs = 2

// StoreJob stores a version of a job without starting a run of it. The version
// that is the newest already stays as it is (Result.Existed); any other source
// becomes the newest, also one that was stored before. A job that was deleted is
// there again.
type StoreJob struct {
	Job      string
	Hash     string // of source and files
	Filename string
	Source   []byte
	Files    []File
}

// MarkJob changes a job, or deletes it. Nil fields stay.
type MarkJob struct {
	Job    string
	Paused *bool // a paused job starts no runs
	// Delete forgets the job: it starts no runs by its name any more, and its versions
	// leave with the runs that were made of them. Those runs go on.
	Delete bool
}

func (StoreJob) isOp() {}
func (MarkJob) isOp()  {}
