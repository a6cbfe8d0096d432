package redirect

import "errors"

// Errors that callers test for with errors.Is.
var (
	// ErrNoNamespace means that the network namespace is gone, or is none. It is
	// normal at the end of a workload, and not worth a retry.
	ErrNoNamespace = errors.New("no such network namespace")

	// ErrInUse means that another live process holds the pin directory.
	ErrInUse = errors.New("another agent holds this pin directory")

	// ErrClosed means that the Kernel or Listener was closed.
	ErrClosed = errors.New("closed")

	// ErrOutside means that a cgroup is not below the parent cgroup.
	ErrOutside = errors.New("cgroup is not below the parent")

	// ErrUnsupported means that this kernel lacks what the call needs.
	ErrUnsupported = errors.New("not supported by this kernel")
)
