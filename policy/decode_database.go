package policy

import (
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

func (d *decoder) database(spec ast.Node, doc *Document) *Database {
	db := &Database{Name: doc.Name, Pos: doc.Pos}
	auth, file, credential, pool := spec, spec, spec, spec
	d.mapping(spec, "Database.spec", required{"protocol", "endpoints", "credential"},
		field{"protocol", choice(d, &db.Protocol, "protocol", word[string]{"postgres", "postgres"})},
		field{"endpoints", d.endpoints(&db.Endpoints)},
		field{"databaseNames", d.texts(&db.Names, "databaseNames")},
		field{"tls", d.tls(&db.TLS)},
		field{"credential", noted(&credential, d.credential(&db.Credential))},
		field{"credentials", d.credentials(&db.Credentials)},
		field{"clientAuth", noted(&auth, choice(d, &db.ClientAuth, "clientAuth",
			word[ClientAuth]{"trust", ClientTrust}, word[ClientAuth]{"token", ClientToken},
			word[ClientAuth]{"scram", ClientSCRAM}))},
		field{"clientPasswordFile", noted(&file, d.path(&db.ClientPasswordFile, "clientPasswordFile"))},
		field{"auditAs", d.auditAs(&db.AuditAs)},
		field{"pool", noted(&pool, d.pool(&db.Pool))},
		field{"sensitive", d.sensitive(&db.Sensitive)},
		field{"clear", d.patterns(&db.Clear, "clear", shapeColumn)},
		field{"unlabelled", choice(d, &db.Unlabelled, "unlabelled",
			word[Unlabelled]{"allow", UnlabelledAllow}, word[Unlabelled]{"mask", UnlabelledMask},
			word[Unlabelled]{"deny", UnlabelledDeny})},
		field{"detect", d.detect(&db.Detect)},
		field{"conditions", choice(d, &db.Conditions, "conditions",
			word[ConditionMode]{"deny", ConditionsDeny}, word[ConditionMode]{"mask", ConditionsMask})},
		field{"enforce", d.enforce(&db.Enforce)},
		field{"mode", choice(d, &db.Mode, "mode", word[Mode]{"inline", ModeInline}, word[Mode]{"role", ModeRole})},
		field{"role", d.role(&db.Role)},
	)
	d.completeRole(spec, db)
	if d.object {
		d.confine(spec, db)
	}
	switch {
	case db.ClientAuth == ClientSCRAM && db.ClientPasswordFile == "":
		d.errorf(auth, "clientAuth: scram needs clientPasswordFile, which holds the placeholder that workloads log in with")
	case db.ClientAuth != ClientSCRAM && db.ClientPasswordFile != "":
		d.errorf(file, "clientPasswordFile has no effect without clientAuth: scram")
	case db.ClientPasswordFile != "" && db.ClientPasswordFile == db.Credential.PasswordFile:
		d.errorf(file, "clientPasswordFile is the credential's passwordFile: workloads would hold the password of the database")
	}
	if db.Credential.Auth == AuthPassword && !db.TLS.Verified() {
		d.errorf(credential, clearNeedsTLS)
	}
	for i := range db.Credentials {
		c := &db.Credentials[i]
		switch {
		case db.Credential.Passthrough:
			d.problems.add(c.Pos, "credentials cannot be combined with credential.passthrough: workloads log in with their own")
		case db.Mode == ModeRole && c.Username != db.Role.Login:
			d.problems.add(c.Pos, "under mode: role the username of credential %q must be role.login, %q, to which its views are confined", c.Name, clip(db.Role.Login))
		case c.Auth == AuthPassword && !db.TLS.Verified():
			d.problems.add(c.Pos, clearNeedsTLS)
		case c.PasswordFile != "" && c.PasswordFile == db.ClientPasswordFile:
			d.problems.add(c.Pos, "passwordFile is the clientPasswordFile: workloads would hold the password of the database")
		}
	}
	if db.Credential.Passthrough {
		switch {
		case db.ClientAuth != ClientTrust:
			d.errorf(auth, "clientAuth cannot be combined with credential.passthrough: the database itself authenticates the workload")
		case db.TLS.CertFile != "":
			d.errorf(credential, "credential.passthrough cannot be combined with tls.certFile: the certificate would log in whoever connects")
		case db.Pool.Sessions:
			d.errorf(pool, "pool cannot be combined with credential.passthrough: each session of the server is then the workload's own login")
		}
	}
	return db
}

// noted keeps the node of a field, for errors about several of them.
func noted(to *ast.Node, f func(ast.Node)) func(ast.Node) {
	return func(n ast.Node) { *to = n; f(n) }
}

// customSetting matches a setting that PostgreSQL lets anyone invent.
var customSetting = regexp.MustCompile(`^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$`)

func (d *decoder) auditAs(to *string) func(ast.Node) {
	return func(n ast.Node) {
		d.into(to, "auditAs")(n)
		if *to != "" && *to != "application_name" && (!customSetting.MatchString(*to) || len(*to) > 63) {
			d.errorf(n, "auditAs is application_name, or a setting of your own such as sluice.subject")
		}
	}
}

// pool reads how sessions of the server are kept.
func (d *decoder) pool(to *Pool) func(ast.Node) {
	return func(n ast.Node) {
		p := Pool{Idle: 30 * time.Second, Age: 10 * time.Minute, Max: 20, Total: 200}
		d.mapping(n, "pool", required{"mode"},
			field{"mode", choice(d, &p.Sessions, "pool mode", word[bool]{"none", false}, word[bool]{"session", true})},
			field{"idle", d.duration(&p.Idle, "idle")},
			field{"age", d.duration(&p.Age, "age")},
			field{"max", number(d, &p.Max, "max", 1, 10_000)},
			field{"total", number(d, &p.Total, "total", 1, 10_000)},
		)
		switch {
		case p.Idle > time.Hour:
			d.errorf(n, "pool: idle is at most 1h, since each idle session takes a connection of the server")
		case p.Age > 24*time.Hour:
			d.errorf(n, "pool: age is at most 24h, since a role's own settings and rights to log in are read at login")
		case p.Max > p.Total:
			d.errorf(n, "pool: max, of sessions that are alike, is larger than total")
		}
		*to = p
	}
}

func (d *decoder) enforce(to *Enforcement) func(ast.Node) {
	return choice(d, to, "enforce", word[Enforcement]{"enforce", Enforce}, word[Enforcement]{"observe", Observe})
}

func (d *decoder) endpoints(to *[]Endpoint) func(ast.Node) {
	return func(n ast.Node) {
		d.each(n, "endpoints", func(e ast.Node) {
			s, ok := d.text(e, "an endpoint")
			if !ok {
				return
			}
			ep, problem := parseEndpoint(s)
			if problem != "" {
				d.errorf(e, "endpoint %q: %s", clip(s), problem)
				return
			}
			ep.Pos = d.where(e)
			*to = append(*to, ep)
		})
		if s, ok := outlined(n); ok {
			s.MinItems = 1
		}
		if list, ok := n.(*ast.SequenceNode); ok && len(list.Values) == 0 {
			d.errorf(n, "endpoints must not be empty: write what workloads dial, such as \"db.internal:5432\"")
		}
	}
}

// parseEndpoint reads "host:port", "10.0.0.1:5432", "10.0.0.0/8:5432",
// "[2001:db8::/32]:5432", "[::1]:5432", "*:5432", "unix:/run/postgresql/.s.PGSQL.5432"
// and "unix:@name".
func parseEndpoint(s string) (Endpoint, string) {
	if name, found := strings.CutPrefix(s, "unix:"); found {
		return Endpoint{Unix: name}, badSocket(name)
	}
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return Endpoint{}, `has no port: write "host:5432", "10.20.0.0/16:5432" or "*:5432"`
	}
	port, ok := decimal(s[colon+1:])
	if !ok || port < 1 || port > 65535 {
		return Endpoint{}, "the port must be a number from 1 to 65535"
	}
	ep := Endpoint{Port: uint16(port)}
	host := s[:colon]
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, closed := strings.CutSuffix(inner, "]")
		if !closed {
			return ep, "a bracket is not closed"
		}
		host = inner
	} else if strings.Contains(host, ":") {
		return ep, `put an IPv6 address in brackets, as in "[2001:db8::1]:5432"`
	}
	switch {
	case host == "*":
		ep.Any = true
		return ep, ""
	case strings.Contains(host, "/"):
		p, err := netip.ParsePrefix(host)
		if err != nil {
			return ep, "not a network: write one such as 10.20.0.0/16"
		}
		if p != p.Masked() {
			return ep, "has bits beyond its length set: write " + p.Masked().String() + ":" + strconv.Itoa(int(port))
		}
		ep.Prefix = p
	default:
		if a, err := netip.ParseAddr(host); err == nil {
			if a.Zone() != "" {
				return ep, "an address with a zone is not supported"
			}
			ep.Prefix = netip.PrefixFrom(a, a.BitLen())
			break
		}
		if !validHost(host) {
			return ep, "not a host name, an address, or *"
		}
		ep.Host = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if ep.Prefix.IsValid() && ep.Prefix.Addr().Is4In6() {
		return ep, "write an IPv4 address as such, without ::ffff:"
	}
	return ep, ""
}

// badSocket says what is wrong with the name of a unix socket, "" if nothing is.
func badSocket(name string) string {
	switch {
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }):
		return "the name of a socket has no control characters"
	case len(name) > 107:
		return "the name of a unix socket has at most 107 bytes"
	case strings.HasPrefix(name, "@") && len(name) > 1:
		return ""
	case !strings.HasPrefix(name, "/") || name == "/":
		return `write the path of the socket, as in "unix:/run/postgresql/.s.PGSQL.5432", or "unix:@name" for an abstract one`
	case path.Clean(name) != name:
		return "write the path without detours: " + path.Clean(name)
	}
	return ""
}

func validHost(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	digits := true // a name whose last label is a number would be an odd address
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = true
		for _, c := range []byte(label) {
			switch {
			case c >= '0' && c <= '9':
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
				digits = false
			default:
				return false
			}
		}
	}
	return !digits
}

func (d *decoder) tls(to *TLS) func(ast.Node) {
	return func(n ast.Node) {
		d.mapping(n, "tls", required{"mode"},
			field{"mode", choice(d, &to.Mode, "tls mode",
				word[TLSMode]{"disable", TLSDisable}, word[TLSMode]{"require", TLSRequire},
				word[TLSMode]{"verify-ca", TLSVerifyCA}, word[TLSMode]{"verify-full", TLSVerifyFull})},
			field{"caFile", d.path(&to.CAFile, "caFile")},
			field{"caSecret", d.secret(&to.CASecret, "caSecret", "ca.crt")},
			field{"certFile", d.path(&to.CertFile, "certFile")},
			field{"keyFile", d.path(&to.KeyFile, "keyFile")},
			field{"serverName", d.into(&to.ServerName, "serverName")},
		)
		if (to.CertFile == "") != (to.KeyFile == "") {
			d.errorf(n, "tls needs certFile and keyFile together")
		}
		if to.CAFile != "" && to.CASecret != nil {
			d.errorf(n, "tls needs at most one of caFile and caSecret")
		}
	}
}

// path returns a decoder of an absolute path.
func (d *decoder) path(to *string, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, what)
		if o, outline := outlined(n); outline {
			o.Pattern = "^/"
		}
		if !ok {
			return
		}
		if s[0] != '/' {
			d.errorf(n, "%s must be an absolute path, such as /etc/sluice/file", what)
			return
		}
		*to = s
	}
}

const clearNeedsTLS = "credential.auth: password needs tls.mode verify-full or verify-ca: a password in clear text goes to a server that is known only"

// credentials decodes those that Policies may name.
func (d *decoder) credentials(to *[]NamedCredential) func(ast.Node) {
	return func(n ast.Node) {
		seen := map[string]bool{}
		d.each(n, "credentials", func(e ast.Node) {
			c := NamedCredential{Pos: d.where(e)}
			d.credential(&c.Credential, field{"name", d.name(&c.Name, "name")})(e)
			if _, outline := outlined(e); outline {
				return
			}
			switch {
			case c.Name == "":
				d.errorf(e, "an entry of credentials needs a name, which Policies use")
			case seen[c.Name]:
				d.errorf(e, "two credentials are called %q", c.Name)
			case c.Passthrough:
				d.errorf(e, "passthrough is for credential: it concerns every workload")
			}
			seen[c.Name] = true
			*to = append(*to, c)
		})
		if s, ok := outlined(n); ok {
			s.MaxItems = maxCredentials
		}
		if len(*to) > maxCredentials {
			d.errorf(n, "credentials has %d entries, and %d are the most", len(*to), maxCredentials)
		}
	}
}

// maxCredentials bounds the list, as API servers want it.
const maxCredentials = 64

func (d *decoder) credential(to *Credential, more ...field) func(ast.Node) {
	return func(n ast.Node) {
		var command []string
		d.mapping(n, "credential", nil, append([]field{
			field{"username", d.into(&to.Username, "username")},
			field{"passwordFile", d.path(&to.PasswordFile, "passwordFile")},
			field{"passwordEnv", d.into(&to.PasswordEnv, "passwordEnv")},
			field{"passwordCommand", func(n ast.Node) {
				d.each(n, "passwordCommand", func(e ast.Node) {
					if s, ok := d.text(e, "an element of passwordCommand"); ok {
						command = append(command, s)
					}
				})
				if len(command) > 0 && command[0][0] != '/' {
					d.errorf(n, "passwordCommand must start with the absolute path of a program")
				}
			}},
			field{"passwordSecret", d.secret(&to.PasswordSecret, "passwordSecret", "password")},
			field{"passthrough", d.flag(&to.Passthrough, "passthrough")},
			field{"auth", choice(d, &to.Auth, "auth", word[AuthMethod]{"scram", AuthSCRAM},
				word[AuthMethod]{"md5", AuthMD5}, word[AuthMethod]{"password", AuthPassword})},
		}, more...)...)
		to.PasswordCommand = command
		sources := 0
		for _, set := range []bool{to.PasswordFile != "", to.PasswordEnv != "", len(command) > 0, to.PasswordSecret != nil} {
			if set {
				sources++
			}
		}
		switch {
		case to.Passthrough && to.Username == "":
			d.errorf(n, "credential needs a username beside passthrough: true, of the account that reads the catalog")
		case to.Username == "":
			d.errorf(n, "credential needs a username")
		case sources > 1:
			d.errorf(n, "credential needs at most one of passwordFile, passwordEnv, passwordCommand and passwordSecret")
		}
	}
}

// secret returns a decoder of a reference to a key of a Secret of the cluster.
func (d *decoder) secret(to **SecretKey, what, key string) func(ast.Node) {
	return func(n ast.Node) {
		s := SecretKey{Key: key}
		d.mapping(n, what, required{"namespace", "name"},
			field{"namespace", d.objectName(&s.Namespace, what+".namespace")},
			field{"name", d.objectName(&s.Name, what+".name")},
			field{"key", d.into(&s.Key, what+".key")},
		)
		*to = &s
	}
}

// objectName returns a decoder of the name of an object of the cluster, which becomes
// part of a URL.
func (d *decoder) objectName(to *string, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, what)
		if o, outline := outlined(n); outline {
			o.Pattern, o.MaxLength = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", 253
		}
		if !ok {
			return
		}
		if !kubernetesName.MatchString(s) || len(s) > 253 {
			d.errorf(n, "%s %q is not a name of Kubernetes: use lower-case letters, digits, - and .", what, clip(s))
			return
		}
		*to = s
	}
}

var kubernetesName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

func (d *decoder) sensitive(to *[]Sensitive) func(ast.Node) {
	return func(n ast.Node) {
		d.each(n, "sensitive", func(e ast.Node) {
			var s Sensitive
			d.mapping(e, "an entry of sensitive", required{"tag", "columns"},
				field{"tag", d.name(&s.Tag, "tag")},
				field{"columns", d.patterns(&s.Columns, "columns", shapeColumn)},
				field{"mask", d.mask(&s.Mask)},
			)
			if s.Tag == tagUnlabelled {
				d.errorf(e, "the tag %q stands for columns that no line names", tagUnlabelled)
			}
			*to = append(*to, s)
		})
	}
}

// detectors are the content detectors that there are; package policy/mask has them.
var detectors = []string{
	"cloud-key", "credit-card", "email", "iban", "jwt", "phone", "private-key", "us-ssn",
}

// Detectors returns the names of all content detectors, sorted.
func Detectors() []string { return append([]string(nil), detectors...) }

func (d *decoder) detect(to *[]string) func(ast.Node) {
	return func(n ast.Node) {
		d.texts(to, "detect")(n)
		if s, ok := outlined(n); ok {
			s.Items = &Schema{Type: "string", Enum: Detectors()}
		}
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			return
		}
		words := make([]word[string], len(detectors))
		for i, name := range detectors {
			words[i] = word[string]{name, name}
		}
		for _, e := range list.Values {
			if _, ok := e.(*ast.StringNode); ok {
				choice(d, new(string), "detector", words...)(e)
			}
		}
	}
}
