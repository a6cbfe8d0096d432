package redirect

import (
	"errors"
	"net/netip"
)

// An Endpoint is a set of destinations that is captured. A name is captured by its
// port: as 0.0.0.0/0 and ::/0, and decided by the destination of the accepted
// connection. A prefix that contains loopback and more does not capture loopback,
// unless another endpoint lists it.
type Endpoint struct {
	Prefix netip.Prefix
	Port   uint16 // never 0
}

// SetEndpoints replaces what is captured, at one instant as seen by workloads.
func (k *Kernel) SetEndpoints(endpoints []Endpoint) error { return errors.ErrUnsupported }
