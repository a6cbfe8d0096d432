package record

// Store is the writer of one lane of a directory. It is safe for concurrent use.
type Store struct{}

// Open opens dir for writing, creates it (0700) if need be, and repairs what a
// crash left. Several stores, also of several processes, may write to one
// directory: each has a lane of its own. Open starts goroutines that sync,
// reserve and retire segments; Close stops them.
func Open(dir string, o Options) (*Store, error) { return nil, ErrFailed }

// Begin records the start of a session and returns its log.
func (s *Store) Begin(start *Start) (*Log, error) { return nil, ErrFailed }

// Stats returns a snapshot.
func (s *Store) Stats() Stats { return Stats{} }

// Close ends the logs that are still open, syncs, and releases the lane.
func (s *Store) Close() error { return nil }
