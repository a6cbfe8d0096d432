package channel

import (
	"net/netip"
	"time"
)

// Size is the length of every message in bytes.
const Size = 6144

// A Message is one of the types of this file.
type Message interface {
	kind() kind
	files() (least, most int) // descriptors that travel with it
	encode(*encoder)
	decode(*decoder)
}

type kind uint8

const (
	kindConfig kind = iota + 1
	kindAccepted
	kindDialled
	kindProved
	kindToken
	kindListener
	kindReport
	kindDrain

	kindReady
	kindDial
	kindProve
	kindReadToken
	kindClosed
	kindDenied
)

// What the redirector says.

// Config comes with a sealed memory file that holds a [Bundle]. The proxy answers
// with Ready of the same Generation.
type Config struct{ Generation uint64 }

// Fate says what the proxy does with an accepted connection. The zero value
// refuses it.
type Fate uint8

const (
	Refuse Fate = iota // tell the workload why, and close
	Serve              // it goes to the Database
	Pass               // its destination is no Database: relay the bytes
)

// Accepted comes with the workload's socket. Conn names the connection in what
// follows, until the proxy says Closed.
type Accepted struct {
	Conn        uint64
	Fate        Fate
	Database    string         // name of the resource
	Host        string         // the name under which the destination is configured, "" if it is none
	Destination netip.AddrPort // what the workload dialled, or:
	Unix        string         // the unix socket that it dialled
	Netns       uint64         // cookie of the network namespace that it dialled in
	Client      netip.AddrPort // the workload's end of the socket
	Reason      string         // of Refuse

	// Facts of the kernel and of /proc. What is not proven is empty.
	PID, UID  uint32
	User      string
	Exe       string
	Cgroup    string
	CgroupID  uint64
	At        time.Duration // of connect(2), CLOCK_BOOTTIME
	Workload  string        // name of what enrolled it
	Namespace string
	Account   string // service account
	Pod       string
	PodUID    string
	Container string
	Labels    string // of the pod, as [Labels] writes them
	Token     bool   // there is a token to read
	// Passwords tells apart what passwords there were, where sessions of the server may
	// be kept. It says nothing else of them. 0: it is not known.
	Passwords uint64
}

// Dialled answers Dial, with the connected socket unless Code says otherwise.
type Dialled struct {
	ID   uint64
	Code Code
	Text string // for a log
}

// Code is the outcome of a request. The zero value is a failure.
type Code uint8

const (
	Failed  Code = iota // as Text says
	Done                // it was done
	Refused             // the request was not one that may be made
	Timeout             // nobody answered in time
	Limited             // too many at once, or in all
)

// Proved answers Prove.
type Proved struct {
	ID        uint64
	Code      Code
	Proof     []byte // SCRAM
	Signature []byte
	Answer    string // MD5; Cleartext
	Text      string
}

// Token answers ReadToken, with a memory file that holds the token if Code is Done.
type Token struct {
	ID      uint64
	Code    Code
	Version uint64 // changes when the token does
	Text    string
}

// Purpose says what a listening socket is for.
type Purpose uint8

const (
	ForMetrics Purpose = iota + 1
	ForAdmin
)

// Listener comes with a listening socket.
type Listener struct{ Purpose Purpose }

// Report comes with a sealed memory file that holds a [Facts].
type Report struct{}

// Drain asks the proxy to take no new sessions, and to end within Grace.
type Drain struct{ Grace time.Duration }

// What the proxy says.

// Ready answers Config. If Code is not Done the proxy stays with what it had.
type Ready struct {
	Generation uint64
	Code       Code
	Text       string
}

// Reach says what a Dial is for.
type Reach uint8

const (
	ToDatabase Reach = iota + 1 // the destination of connection Conn
	ToIssuer                    // the Index-th issuer of kind Agent
)

// Dial asks for a connected socket. There is no address in it: where to is what
// the redirector knows of Conn or of its configuration.
type Dial struct {
	ID    uint64
	Reach Reach
	Conn  uint64
	Index uint32
}

// Method is an authentication method.
type Method uint8

const (
	SCRAM Method = iota + 1
	MD5
	Cleartext
)

// Prove asks for the proof that a credential of Conn's Database is known.
type Prove struct {
	ID          uint64
	Conn        uint64
	Credential  string // name of one of the Database's, "" for its own
	Method      Method
	Salt        []byte
	Iterations  uint32
	AuthMessage []byte
}

// ReadToken asks for the token of Conn's workload.
type ReadToken struct {
	ID   uint64
	Conn uint64
}

// Closed says that the proxy is done with connections, at most ManyClosed of them:
// nothing can be asked in their name any more.
type Closed struct{ Conns []uint64 }

// ManyClosed bounds what one Closed names.
const ManyClosed = 64

// Denied says how many sessions and statements of workloads were refused since the last
// one, by the enrolled cgroup; at most ManyDenied of them.
type Denied struct {
	Cgroups []uint64
	Counts  []uint32 // as many
}

// ManyDenied bounds what one Denied names.
const ManyDenied = 128
