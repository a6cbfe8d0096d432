package policy

import (
	"math"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

func (d *decoder) workload(spec ast.Node, doc *Document) *Enrolment {
	w := &Enrolment{Name: doc.Name, Pos: doc.Pos}
	d.mapping(spec, "Workload.spec", nil,
		field{"cgroup", func(n ast.Node) {
			d.path(&w.Cgroup, "cgroup")(n)
			if strings.Contains(w.Cgroup+"/", "/../") || strings.HasPrefix(w.Cgroup, "/sys/fs/cgroup") {
				d.errorf(n, "cgroup is a path below the cgroup2 mount, such as /agents.slice/bot")
			}
		}},
		field{"systemdUnit", func(n ast.Node) {
			d.into(&w.SystemdUnit, "systemdUnit")(n)
			if w.SystemdUnit != "" && (!strings.Contains(w.SystemdUnit, ".") || strings.Contains(w.SystemdUnit, "/")) {
				d.errorf(n, "systemdUnit %q needs its ending, as in bot.service", clip(w.SystemdUnit))
			}
		}},
		field{"pods", d.pods(&w.Pods)},
		field{"tokenFile", d.path(&w.TokenFile, "tokenFile")},
		field{"labels", d.labels(&w.Labels, "labels")},
		field{"serviceAccount", func(n ast.Node) {
			var s string
			d.into(&s, "serviceAccount")(n)
			if s == "" {
				return
			}
			if !validAccount(s) || strings.HasSuffix(s, "/*") {
				d.errorf(n, "serviceAccount %q must be namespace/name", clip(s))
				return
			}
			w.Namespace, w.ServiceAccount, _ = strings.Cut(s, "/")
		}},
	)
	ways := 0
	for _, set := range []bool{w.Cgroup != "", w.SystemdUnit != "", w.Pods != nil} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		d.errorf(spec, "a Workload needs exactly one of pods, cgroup and systemdUnit")
	}
	if w.Pods != nil && (w.TokenFile != "" || w.Labels != nil || w.ServiceAccount != "") {
		d.errorf(spec, "tokenFile, labels and serviceAccount are of a cgroup or unit: pods have their own")
	}
	return w
}

func (d *decoder) pods(to **PodSelector) func(ast.Node) {
	return func(n ast.Node) {
		p := &PodSelector{}
		d.mapping(n, "pods", nil,
			field{"namespaces", d.texts(&p.Namespaces, "namespaces")},
			field{"labels", d.labels(&p.Labels, "labels")},
			field{"serviceAccounts", func(n ast.Node) {
				d.texts(&p.ServiceAccounts, "serviceAccounts")(n)
				for _, s := range p.ServiceAccounts {
					if !validAccount(s) {
						d.errorf(n, "serviceAccounts: %q must be namespace/name, or namespace/*", clip(s))
					}
				}
			}},
		)
		if len(p.Namespaces) == 0 && len(p.Labels) == 0 && len(p.ServiceAccounts) == 0 {
			d.errorf(n, "pods needs at least one of namespaces, labels, serviceAccounts")
		}
		*to = p
	}
}

// validAccount reports whether s is namespace/name or namespace/*.
func validAccount(s string) bool {
	namespace, name, found := strings.Cut(s, "/")
	return found && validName(namespace) && (name == "*" || validName(name))
}

// defaults returns an Agent with every default.
func defaults() *Agent {
	return &Agent{
		Name:     "default",
		User:     "sluice",
		State:    "/var/lib/sluice",
		Run:      "/run/sluice",
		BPF:      "/sys/fs/bpf/sluice",
		Cgroup:   "/",
		Sessions: 10_000, WorkloadSessions: 2_000,
		Record: Record{Sync: SyncInterval, Interval: 100 * time.Millisecond, Rows: 100, Bytes: 64 << 10},
		Log:    Log{Level: "info", Format: "text"},
	}
}

func (a *Agent) complete() {
	if a.Admin.Socket == "" {
		a.Admin.Socket = a.Run + "/admin.sock"
	}
	if a.Record.Directory == "" {
		a.Record.Directory = a.State + "/sessions"
	}
}

func (d *decoder) agent(spec ast.Node, doc *Document) *Agent {
	a := defaults()
	a.Name, a.Pos = doc.Name, doc.Pos
	d.mapping(spec, "Agent.spec", nil,
		field{"user", d.into(&a.User, "user")},
		field{"stateDir", d.path(&a.State, "stateDir")},
		field{"runDir", d.path(&a.Run, "runDir")},
		field{"bpfDir", d.path(&a.BPF, "bpfDir")},
		field{"cgroup", d.path(&a.Cgroup, "cgroup")},
		field{"metrics", func(n ast.Node) {
			d.mapping(n, "metrics", required{"listen"}, field{"listen", d.listen(&a.Metrics)})
		}},
		field{"admin", func(n ast.Node) {
			d.mapping(n, "admin", nil,
				field{"socket", d.path(&a.Admin.Socket, "socket")},
				field{"users", d.texts(&a.Admin.Users, "users")},
				field{"groups", d.texts(&a.Admin.Groups, "groups")})
		}},
		field{"record", d.record(&a.Record)},
		field{"oidc", func(n ast.Node) {
			d.each(n, "oidc", func(e ast.Node) { a.Issuers = append(a.Issuers, d.issuer(e)) })
		}},
		field{"unmatched", choice(d, &a.PassUnmatched, "unmatched",
			word[bool]{"refuse", false}, word[bool]{"pass", true})},
		field{"sessions", number(d, &a.Sessions, "sessions", 1, 1_000_000)},
		field{"workloadSessions", number(d, &a.WorkloadSessions, "workloadSessions", 1, 1_000_000)},
		field{"kubernetes", d.kubernetes(&a.Kubernetes)},
		field{"log", func(n ast.Node) {
			d.mapping(n, "log", nil,
				field{"level", choice(d, &a.Log.Level, "level", word[string]{"debug", "debug"},
					word[string]{"info", "info"}, word[string]{"warn", "warn"}, word[string]{"error", "error"})},
				field{"format", choice(d, &a.Log.Format, "format", word[string]{"text", "text"}, word[string]{"json", "json"})})
		}},
	)
	return a
}

func (d *decoder) record(to *Record) func(ast.Node) {
	return func(n ast.Node) {
		d.mapping(n, "record", nil,
			field{"directory", d.path(&to.Directory, "directory")},
			field{"sync", choice(d, &to.Sync, "sync", word[SyncMode]{"always", SyncAlways}, word[SyncMode]{"interval", SyncInterval})},
			field{"interval", d.duration(&to.Interval, "interval")},
			field{"rows", number(d, &to.Rows, "rows", 0, math.MaxInt64)},
			field{"bytes", d.size(&to.Bytes, "bytes")},
			field{"retain", d.duration(&to.Retain, "retain")},
			field{"maxBytes", d.size(&to.MaxBytes, "maxBytes")},
		)
	}
}

func (d *decoder) issuer(n ast.Node) Issuer {
	var i Issuer
	d.mapping(n, "an entry of oidc", required{"issuer", "audience"},
		field{"issuer", func(n ast.Node) {
			d.into(&i.Issuer, "issuer")(n)
			if i.Issuer != "" && !strings.HasPrefix(i.Issuer, "https://") && !strings.HasPrefix(i.Issuer, "http://127.0.0.1") {
				d.errorf(n, "issuer %q must be an https:// URL", clip(i.Issuer))
			}
		}},
		field{"audience", d.into(&i.Audience, "audience")},
		field{"caFile", d.path(&i.CAFile, "caFile")},
		field{"claims", d.labels(&i.Claims, "claims")},
		field{"groupsClaim", d.into(&i.Groups, "groupsClaim")},
	)
	return i
}

// listen returns a decoder of an address to listen on: 127.0.0.1:9469 or [::]:9469.
func (d *decoder) listen(to *string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, "listen")
		if !ok {
			return
		}
		if ep, problem := parseEndpoint(s); problem != "" || !ep.Prefix.IsValid() || !ep.Prefix.IsSingleIP() {
			d.errorf(n, "listen %q must be an address and a port, such as 127.0.0.1:9469", clip(s))
			return
		}
		*to = s
	}
}
