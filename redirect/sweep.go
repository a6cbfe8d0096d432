package redirect

import "errors"

// Sweep removes the installations below pinRoot (one directory each) whose agent is
// dead and whose parent cgroup is gone or has no process left. It returns the
// directories that it removed.
func Sweep(pinRoot string) ([]string, error) { return nil, errors.ErrUnsupported }
