package record

import (
	"errors"
	"log/slog"
	"time"
)

// Errors that callers test for with errors.Is.
var (
	// ErrFull means that there is no room for the event. The statement must be
	// refused. It passes when there is room again.
	ErrFull = errors.New("no room to record")

	// ErrFailed means that the store met an error after which it cannot say what
	// is on the disk. It stays until the store is opened anew.
	ErrFailed = errors.New("recording failed")

	// ErrClosed means that the store or the log was closed.
	ErrClosed = errors.New("recording is closed")

	// ErrNoSession means that no such session is recorded.
	ErrNoSession = errors.New("no such session")
)

// Sync says when an event must be on the disk, and not only in the file.
type Sync uint8

const (
	Interval Sync = iota // within Options.Interval
	Always               // before Append returns
)

// Options tune a Store. The zero value is what production runs with.
type Options struct {
	Sync     Sync
	Interval time.Duration // of fdatasync; default: 1s

	SegmentBytes int64 // size of a segment file; default: 64 MiB, least 256 KiB

	TextBytes  int // a longer statement is cut, its length and SHA-256 kept; default: 1 MiB, at most 1/8 of a segment
	ParamBytes int // of the parameters of one run; default: none are stored
	RowBytes   int // of the rows of one result; default: 64 KiB; negative: none
	Rows       int // of one result; default: 100; negative: none

	MaxBytes int64         // remove the oldest segments beyond that; default: never
	MaxAge   time.Duration // remove segments whose last event is older; default: never

	Key []byte       // authenticates the anchor file; default: it is not authenticated
	Log *slog.Logger // default: discard
}

// Stats are what metrics show of a Store.
type Stats struct {
	Events   uint64        // appended since Open
	Bytes    uint64        // appended since Open
	Refused  uint64        // events that could not be written
	Syncs    uint64        // fdatasync calls
	Sessions int           // open logs
	Segments int           // files of this lane
	Size     int64         // bytes of the files of this lane
	Lag      time.Duration // age of the oldest event that is not known to be on the disk
	Failed   bool          // Append returns ErrFailed
	Full     bool          // Append returns ErrFull
}
