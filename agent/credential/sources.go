package credential

import (
	"context"
	"time"
)

// File is a Source that reads a file, again whenever it changed. One trailing
// line break is not part of the password.
type File struct{ Path string }

// Password implements Source.
func (f *File) Password(context.Context) (Secret, uint64, error) { return nil, 0, ErrNone }

// Env is a Source that reads an environment variable.
type Env struct{ Name string }

// Password implements Source.
func (e *Env) Password(context.Context) (Secret, uint64, error) { return nil, 0, ErrNone }

// Command is a Source that runs a command and takes its standard output, again
// after TTL. One trailing line break is not part of the password.
type Command struct {
	Argv    []string
	Timeout time.Duration // default: 10s
	TTL     time.Duration // default: 1m
}

// Password implements Source.
func (c *Command) Password(context.Context) (Secret, uint64, error) { return nil, 0, ErrNone }
