package postgres

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"runtime"
	"time"

	"sluicegate.io/sluice/protocol"
)

// Options tune a Server. The zero value is what production runs with.
type Options struct {
	StartupTimeout time.Duration // from the first byte to a decoded startup packet and its TLS; default: 60 s
	ConnectTimeout time.Duration // dial, TLS and login to the database; default: 30 s
	MaxStatement   int           // bytes of one Query, Parse or Bind message; default: 16 MiB
	MaxRow         int           // bytes of one row that has to be looked into; default: 16 MiB
	MaxStatements  int           // prepared statements of one session; default: 16,384
	Memory         int64         // bytes that sessions may keep beyond 32 KiB each; default: half of the process's limit, or a quarter of the machine's
	Loops          int           // event loops that drive sessions without TLS; default: half of GOMAXPROCS
	Goroutines     bool          // drive every session by goroutines of its own, as those with TLS are
	Log            *slog.Logger  // default: discard
}

// Server holds what sessions share: the cancel keys, the counters, the buffers
// and the event loops, which end soon after the last session. So it need not be
// stopped, but for FlushPool where a Pool is used.
type Server struct {
	opts   Options
	keys   registry
	loops  loops
	pool   pool
	memory memory
	// Stats counts what all sessions did; read it with its Load methods.
	Stats Stats
}

// NewServer returns a Server without sessions.
func NewServer(opts Options) *Server {
	if opts.StartupTimeout == 0 {
		opts.StartupTimeout = time.Minute
	}
	if opts.ConnectTimeout == 0 {
		opts.ConnectTimeout = 30 * time.Second
	}
	if opts.MaxStatement == 0 {
		opts.MaxStatement = 16 << 20
	}
	if opts.MaxRow == 0 {
		opts.MaxRow = 16 << 20
	}
	if opts.MaxStatements == 0 {
		opts.MaxStatements = 16384
	}
	if opts.Loops == 0 {
		opts.Loops = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Memory == 0 {
		opts.Memory = memoryFor()
	}
	s := &Server{opts: opts}
	s.memory.total = opts.Memory
	s.pool.stats = &s.Stats
	return s
}

// Accepted is one connection of a workload, and how to find out what to do with it.
type Accepted struct {
	Conn net.Conn // Serve owns it

	// TLS is used if the client asks for it; nil answers that there is none. Its
	// GetCertificate chooses the leaf. It should offer ALPN "postgresql", and Serve
	// adds that where NextProtos is empty.
	TLS *tls.Config

	// Scope names who connects, such as a cgroup. A CancelRequest is honoured only
	// if it comes from the Scope of the session that it names.
	Scope string

	// Open is called once the startup packet is read, and before the client is
	// answered. It returns what the session runs with, or why there is none. A
	// nil config without a Refusal refuses too. It is not called for a CancelRequest.
	Open func(ctx context.Context, s *Startup) (*SessionConfig, *protocol.Refusal)
}

// Startup is what a client said of itself. All of it is a claim.
type Startup struct {
	User, Database  string
	ApplicationName string
	// Settings are the run-time parameters asked for, those of "options" first,
	// without user, database, options, replication and those that are pinned.
	Settings   []Setting
	Version    uint32 // protocol, such as 3<<16
	TLS        bool
	ServerName string // of TLS, "" if there is none
}

// Setting is one run-time parameter.
type Setting struct{ Name, Value string }

// SessionConfig is what one session runs with.
type SessionConfig struct {
	Gate protocol.Gate // required

	// Dial connects to the database. It is called once at the start, and once for
	// each CancelRequest that is forwarded. Required.
	Dial func(ctx context.Context) (net.Conn, error)

	// TLS is the client configuration for the database, nil for none; see
	// [UpstreamTLS]. With it, a server without TLS is an error.
	TLS *tls.Config

	User, Database string // at the database
	Auth           Authenticator
	Weakest        AuthMethod // request of the server that is answered

	// Passthrough has the client log in itself, as User: Auth is not asked, and
	// what the server asks goes to the client.
	Passthrough bool

	// Setting judges a startup parameter that the client asked for. Nil refuses
	// every one that is not harmless in itself; see [HarmlessSetting].
	Setting func(name, value string) *protocol.Refusal
	// Settings are sent to the server after, and instead of, those of the client.
	Settings []Setting

	ClientAuth ClientAuth

	// Pool lets the server's session outlive the client's. Nil: it does not.
	Pool *Pool

	// Blocks says that the Gate blocks as a rule, as one does that waits for a disk
	// with every statement. Such a session gets goroutines of its own.
	Blocks bool

	// Epoch changes when names may have come to resolve differently for reasons
	// outside of the session (another's DDL): the search path is then asked again.
	// Optional.
	Epoch func() uint64
}

// ClientAuth says what a client must show. The zero value lets everyone in:
// identity comes from the kernel, and any placeholder password is accepted by
// never asking for it.
type ClientAuth struct {
	// Token, if set, is given the password that the client is then asked for in
	// clear text.
	Token func(ctx context.Context, password string) *protocol.Refusal
	// SCRAM, if set, makes the client prove that it knows the placeholder password,
	// with channel binding to our leaf where there is TLS.
	SCRAM *Verifier
}

// AuthMethod is how a login is proven, the strongest first. The zero value is SCRAM.
type AuthMethod uint8

const (
	AuthSCRAM    AuthMethod = iota
	AuthMD5                 // who gets the answer can guess the password offline
	AuthPassword            // in clear text; only over TLS with a certificate that is verified
)

// Authenticator answers a server's authentication requests. The real one asks
// the redirector (agent/credential), so that no password is in this process.
// An error ends the login; its text is not shown to the client.
type Authenticator interface {
	// SCRAM returns ClientProof and ServerSignature of RFC 5802 for SHA-256.
	SCRAM(ctx context.Context, salt []byte, iterations int, authMessage []byte) (proof, serverSignature []byte, err error)
	// MD5 returns "md5" and 32 hexadecimal digits.
	MD5(ctx context.Context, salt [4]byte) (string, error)
	// Cleartext returns the password. It is only called if the SessionConfig allows
	// it and the connection has TLS with a certificate that was verified.
	Cleartext(ctx context.Context) (string, error)
}
