package policy

import (
	"net/netip"
	"strings"
	"time"
)

// Enforcement says whether decisions take effect. The zero value enforces.
type Enforcement uint8

const (
	Enforce Enforcement = iota
	Observe             // decide and record, let pass, mask nothing
)

// ConditionMode says what becomes of a statement that computes which rows it
// returns from a masked column. The zero value refuses it.
type ConditionMode uint8

const (
	ConditionsDeny ConditionMode = iota
	ConditionsMask               // the condition sees the mask, and a notice says so
)

// Unlabelled says what a column is that no line of the Database names.
type Unlabelled uint8

const (
	UnlabelledAllow Unlabelled = iota // the default: not sensitive
	UnlabelledMask                    // sensitive: reads as NULL
	UnlabelledDeny                    // may not be read or written
)

// ClientAuth is how a workload proves itself to the proxy.
type ClientAuth uint8

const (
	ClientTrust ClientAuth = iota // the kernel's word is enough
	ClientToken                   // a JWT as its password
	ClientSCRAM                   // a placeholder password, by SCRAM-SHA-256
)

// TLSMode is how far the database's certificate is checked. The zero value checks most.
type TLSMode uint8

const (
	TLSVerifyFull TLSMode = iota
	TLSVerifyCA
	TLSRequire
	TLSDisable
)

// Database is one protected server.
type Database struct {
	Name       string
	Pos        Position
	Protocol   string // "postgres"
	Endpoints  []Endpoint
	Names      []string // dbnames that a workload may ask for; empty: any
	TLS        TLS
	Credential Credential
	// Credentials are further ones, which Policies name.
	Credentials []NamedCredential
	ClientAuth  ClientAuth
	// ClientPasswordFile holds the placeholder of ClientSCRAM. It opens nothing but
	// this door: the database has another password.
	ClientPasswordFile string
	AuditAs            string // setting of the server's session that names the subject, "" for none
	Pool               Pool
	Sensitive          []Sensitive
	Clear              []Pattern // columns that are known to be harmless, whatever Unlabelled says
	Unlabelled         Unlabelled
	Detect             []string // names of content detectors, see Detectors
	Conditions         ConditionMode
	Enforce            Enforcement
	Mode               Mode
	Role               Role // of ModeRole, with every default filled in
}

// Endpoint is an address that workloads dial for a Database. Exactly one of
// Host, Prefix, Any and Unix is set.
type Endpoint struct {
	Host   string       // a name, resolved by the redirector
	Prefix netip.Prefix // an address has full length
	Any    bool         // every address
	Unix   string       // a socket on this host: its path, or "@" and its abstract name
	Port   uint16       // not of Unix
	Pos    Position
}

// TLS is how the connection to the database is protected.
type TLS struct {
	Mode       TLSMode
	CAFile     string // default: the host's roots
	CASecret   *SecretKey
	CertFile   string // client certificate
	KeyFile    string
	ServerName string // default: the host that was dialled
}

// CA names where the authorities come from: a file's path, a Secret, or "" for the
// host's roots.
func (t *TLS) CA() string {
	if t.CASecret != nil {
		return "secret " + t.CASecret.String()
	}
	return t.CAFile
}

// Credential is how the proxy logs in: a username, and at most one source of its
// password. With Passthrough it logs in for the catalog alone.
type Credential struct {
	Username        string
	PasswordFile    string
	PasswordEnv     string
	PasswordCommand []string
	PasswordSecret  *SecretKey
	Passthrough     bool // workloads log in with their own credential, which is relayed
	Auth            AuthMethod
}

// NamedCredential is one that a Policy may name.
type NamedCredential struct {
	Name string
	Credential
	Pos Position
}

// Named returns the credential of that name, "" being the Database's own. It is nil
// if there is none.
func (d *Database) Named(name string) *Credential {
	if name == "" {
		return &d.Credential
	}
	for i := range d.Credentials {
		if d.Credentials[i].Name == name {
			return &d.Credentials[i].Credential
		}
	}
	return nil
}

// all returns every credential.
func (d *Database) all() []*Credential {
	list := []*Credential{&d.Credential}
	for i := range d.Credentials {
		list = append(list, &d.Credentials[i].Credential)
	}
	return list
}

// AuthMethod is the weakest way to prove a password that a server may ask for.
type AuthMethod uint8

const (
	AuthDefault  AuthMethod = iota // AuthMD5 where TLS verifies the server, else AuthSCRAM
	AuthSCRAM                      // SCRAM-SHA-256
	AuthMD5                        // md5 too: who gets the answer can guess the password
	AuthPassword                   // in clear text too, over TLS that verifies the server
)

// Verified reports whether the server must show who it is.
func (t *TLS) Verified() bool { return t.Mode == TLSVerifyFull || t.Mode == TLSVerifyCA }

// Weakest returns the weakest method that Sluice answers with c when it connects to
// d, by a unix socket or TCP. It is never AuthDefault.
func (d *Database) Weakest(c *Credential, unix bool) AuthMethod {
	switch {
	case c.Auth != AuthDefault:
		return c.Auth
	case d.TLS.Verified() && !unix:
		return AuthMD5
	}
	return AuthSCRAM
}

// Relayed returns the weakest method that is relayed between a workload and d under
// passthrough. A hash is the workload's own to give, unless Auth says otherwise.
func (d *Database) Relayed() AuthMethod {
	if d.Credential.Auth == AuthDefault {
		return AuthMD5
	}
	return d.Credential.Auth
}

// Pool says whether sessions of the server that are logged in are kept for the next
// client that is alike in everything. The zero value keeps none.
type Pool struct {
	Sessions bool          // mode: session
	Idle     time.Duration // how long one waits for a client
	Age      time.Duration // how long after its login it is used
	Max      int           // that wait and are alike
	Total    int           // that wait, in all
}

// SecretKey is one value of a Secret in the cluster.
type SecretKey struct {
	Namespace, Name, Key string
}

// String returns namespace/name, key.
func (s SecretKey) String() string { return s.Namespace + "/" + s.Name + ", " + s.Key }

// Sensitive is one line of what is sensitive, and what it becomes.
type Sensitive struct {
	Tag     string
	Columns []Pattern // each with a Column
	Mask    Mask
}

// AllowsName reports whether a workload may ask for the dbname name.
func (d *Database) AllowsName(name string) bool {
	if len(d.Names) == 0 {
		return true
	}
	for _, n := range d.Names {
		if n == name {
			return true
		}
	}
	return false
}

// Pattern names objects, or columns of objects. Each part is a name or "*".
type Pattern struct {
	Schema string // "" with Name "*": everything; "" otherwise: what has no schema
	Name   string
	Column string // "" : the object
	Pos    Position
}

// String returns the pattern as it is written, quoted where it must be.
func (p Pattern) String() string {
	s := quotePart(p.Name)
	if p.Schema != "" {
		s = quotePart(p.Schema) + "." + s
	}
	if p.Column != "" {
		s += "." + quotePart(p.Column)
	}
	return s
}

func quotePart(s string) string {
	if strings.ContainsAny(s, ".\"?[]{}()'`,;:/\\ \t\r\n") ||
		s != "*" && strings.Contains(s, "*") || s != strings.ToLower(s) {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
