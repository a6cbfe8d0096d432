package record

// Log is the log of one session. It is safe for concurrent use.
type Log struct{}

// ID names the session.
func (l *Log) ID() ID { return ID{} }

// Append returns nil when e is in the file (with Always: on the disk). After any
// error nothing of e is in the file, and the caller must refuse what e is about.
func (l *Log) Append(e *Event) error { return ErrFailed }

// Buffer is Append for what need not precede anything, such as outcomes: it never
// waits for the disk, and its error is what the next Append returns.
func (l *Log) Buffer(e *Event) {}

// Rows records whole backend messages (DataRow, CopyData) of the index-th result
// of run number, as far as Options.Rows and Options.RowBytes go. It is cheap to
// call after that, and never waits for the disk.
func (l *Log) Rows(number uint64, index int, msgs []byte, count int) {}

// End records the end and closes the log. Only the first call counts.
func (l *Log) End(reason, detail string) error { return ErrFailed }
