package sluicetest

import (
	"fmt"
	"strings"

	"sluicegate.io/sluice/test/pgtest"
)

// Sensitive is the part of a Database that says what of the corpus is masked.
const Sensitive = `
  sensitive:
    - {tag: ssn,   columns: ["app.customers.ssn"],   mask: {keepLast: 4}}
    - {tag: card,  columns: ["app.customers.card"],  mask: {keepLast: 4}}
    - {tag: email, columns: ["app.customers.email"], mask: email}
`

// CorpusPolicy is what bypass.sql assumes: two tables may be read, the third is
// not granted, and writes need approval.
const CorpusPolicy = `---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: corpus}
spec:
  subjects: [{any: true}]
  databases: ["*"]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers, app.orders]}
    - {name: write, effect: approve, actions: [insert, update, delete], on: [app.customers, app.orders]}
`

// OpenPolicy allows everything that is understood.
const OpenPolicy = `---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  subjects: [{any: true}]
  databases: ["*"]
  rules:
    - {name: anything, effect: allow, actions: [any], on: ["*"]}
`

// A Database is one `kind: Database` in a test's configuration.
type Database struct {
	Name     string
	Endpoint string // "127.0.0.1:5432"
	Username string // role that Sluice logs in as
	Password string // held by Sluice in a file that Start makes; "" for any
	TLS      string // mode, default disable
	CA       string
	Login    string // goes before the username of credential, such as "passthrough: true, "
	Extra    string // further lines of spec, indented by two
}

// yaml returns the document; file holds the password.
func (d Database) yaml(file string) string {
	tls := d.TLS
	if tls == "" {
		tls = "disable"
	}
	ca := ""
	if d.CA != "" {
		ca = ", caFile: " + d.CA
	}
	return fmt.Sprintf(`---
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: %s}
spec:
  protocol: postgres
  endpoints: ["%s"]
  tls: {mode: %s%s}
  credential: {%susername: %s, passwordFile: %s}
  %s
`, d.Name, d.Endpoint, tls, ca, d.Login, d.Username, file, strings.TrimSpace(d.Extra))
}

// Shop is a Database in front of s, with the corpus's sensitive columns.
func Shop(s *pgtest.Server) Database {
	return Database{Name: "shop", Endpoint: s.Addr(), Username: "app_rw", Password: s.Password(), Extra: Sensitive}
}

// Plain is a Database in front of s in which nothing is sensitive.
func Plain(s *pgtest.Server) Database {
	return Database{Name: "plain", Endpoint: s.Addr(), Username: "app_rw", Password: s.Password()}
}
