package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/harden"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol/postgres"
)

func databaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "database", Short: "Prepare databases", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(databaseHarden())
	return cmd
}

// hardening is what `sluice database harden` was asked for.
type hardening struct {
	config, state     string
	admin             string
	apply, drop, diff bool
}

func databaseHarden() *cobra.Command {
	var h hardening
	cmd := &cobra.Command{
		Use: "harden NAME --config FILE", Short: "Make what mode role needs in a database, or show it",
		Long: `Make what mode: role of a Database needs in the database itself: a login that has
rights on nothing but a schema of masked views, those views, and their owner.

Without --apply, --drop or --diff the statements go to standard output, and can
be run with psql as often as you like. With --diff the exit status is 1 if the
database differs: a view is missing or was altered, or somebody granted more.

The administrator's connection is --admin, a URL, or else PGHOST, PGPORT, PGUSER,
PGPASSWORD, PGDATABASE, PGSSLMODE and PGSSLROOTCERT; what is not given comes from
the Database. A password on the command line is seen by everybody on the host.

The views keep PostgreSQL from dropping or retyping the columns that they show,
and from dropping their tables. For such a migration: --drop, migrate, --apply.
In between the workloads are refused. docs/harden.md has all of it.`,
		Args: exactly(1, "the name of a Database"),
		RunE: func(cmd *cobra.Command, args []string) error { return h.run(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&h.config, "config", "", "file or directory of resources")
	cmd.Flags().StringVar(&h.state, "state", "", "state directory, which has the secret of hash masks (default: as --config says)")
	cmd.MarkFlagFilename("config")
	cmd.MarkFlagDirname("state")
	cmd.Flags().StringVar(&h.admin, "admin", "", "administrator's connection: postgres://USER@HOST:PORT/DATABASE")
	cmd.Flags().BoolVar(&h.apply, "apply", false, "make it so, in one transaction")
	cmd.Flags().BoolVar(&h.drop, "drop", false, "remove it again, in one transaction")
	cmd.Flags().BoolVar(&h.diff, "diff", false, "say what would change; exit status 1 if anything would")
	return cmd
}

func (h *hardening) run(cmd *cobra.Command, name string) error {
	ctx := cmd.Context()
	switch {
	case h.config == "":
		return usage{errors.New("sluice database harden wants --config")}
	case h.apply && h.drop || h.apply && h.diff || h.drop && h.diff:
		return usage{errors.New("--apply, --drop and --diff exclude each other")}
	}
	set, _, err := agent.LoadConfig(h.config)
	if err != nil {
		return errors.New(agent.Explain(err))
	}
	db := set.Database(name)
	if db == nil {
		return usage{fmt.Errorf("there is no Database %q in %s", name, h.config)}
	}
	q, err := dialAdmin(ctx, db, h.admin)
	if err != nil {
		return err
	}
	defer q.Close()
	c, err := sql.LoadCatalog(ctx, q)
	if err != nil {
		return err
	}
	keys, err := h.keys(set)
	if err != nil {
		return err
	}
	p, err := harden.New(c, set, name, harden.Options{Key: keys})
	if err != nil {
		return err
	}
	for _, n := range p.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", plain(n))
	}
	switch {
	case h.apply:
		return h.applied(cmd, p, q)
	case h.drop:
		done, err := p.Remove(ctx, q)
		tell(cmd, done)
		return err
	}
	live, err := p.Compare(ctx, q)
	if err != nil {
		return err
	}
	if !h.diff {
		script(cmd, p, p.Script(live))
		return nil
	}
	changes := p.Diff(live)
	if tell(cmd, changes); len(changes) > 0 {
		return exit(statusFailed)
	}
	return nil
}

func (h *hardening) applied(cmd *cobra.Command, p *harden.Plan, q *postgres.Client) error {
	done, left, err := p.Apply(cmd.Context(), q)
	if err != nil {
		return err
	}
	tell(cmd, done)
	if slices.ContainsFunc(done, func(c harden.Change) bool { return strings.HasPrefix(c.Text, "make role "+p.Role.Login+" ") }) {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: role %s has no password yet; psql's \\password sets one\n", p.Role.Login)
	}
	if len(done) > 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", blocked(p))
	}
	for _, c := range left {
		fmt.Fprintln(cmd.ErrOrStderr(), "left to do:", plain(c.Text))
	}
	if len(left) > 0 {
		return exit(statusFailed)
	}
	return nil
}

// keys reads the secret of hash masks, nil if there is none.
func (h *hardening) keys(set *policy.Set) (func(string) mask.Key, error) {
	state, _ := agent.StateDirs(set, h.state)
	secret, err := os.ReadFile(filepath.Join(state, "mask.key"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the secret of hash masks: %w", err)
	}
	return func(tag string) mask.Key { return mask.NewKey(secret, tag) }, nil
}

// tell prints one line for each change; those that mean drift stand out.
func tell(cmd *cobra.Command, changes []harden.Change) {
	for _, c := range changes {
		mark := " "
		if c.Drift {
			mark = "!"
		}
		fmt.Fprintln(cmd.OutOrStdout(), mark, plain(c.Text))
	}
}

// script prints statements that psql can run.
func script(cmd *cobra.Command, p *harden.Plan, changes []harden.Change) {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "-- Mode role of Database %s, in database %s. Run it as an administrator, as often as you like.\n", p.Resource, p.Database)
	fmt.Fprintln(w, "--", blocked(p))
	fmt.Fprint(w, "\\set ON_ERROR_STOP on\nBEGIN;\nSET LOCAL search_path = '';\n")
	for _, c := range changes {
		fmt.Fprintln(w, "\n--", plain(c.Text))
		if c.Secret {
			fmt.Fprintln(w, "-- not shown, since it holds keys: --apply does it")
			continue
		}
		for _, s := range c.SQL {
			fmt.Fprintln(w, s+";")
		}
	}
	fmt.Fprint(w, "\nCOMMIT;\n")
}

// blocked says which migrations the views are in the way of.
func blocked(p *harden.Plan) string {
	var of []string
	for _, v := range p.Views {
		if !slices.Contains(of, v.Of) {
			of = append(of, v.Of)
		}
	}
	const most = 20
	more := ""
	if len(of) > most {
		of, more = of[:most], fmt.Sprintf(" and %d others", len(of)-most)
	}
	return plain("the views block DROP TABLE, and ALTER TABLE ... DROP COLUMN or ALTER COLUMN ... TYPE of columns that they show, of " +
		strings.Join(of, ", ") + more + "; for such a migration: sluice database harden " + p.Resource + " --drop, migrate, --apply")
}

// plain returns a text on one line without control characters: there are names of
// the database in it, which anybody who makes a table chooses.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// password is a credential.Source that was given with the connection.
type password string

func (p password) Password(context.Context) (credential.Secret, uint64, error) {
	if p == "" {
		return credential.Secret{}, 0, credential.ErrNone
	}
	return credential.NewSecret([]byte(p)), 1, nil
}

// dialAdmin connects as an administrator: to what is given, else to what the
// environment says, else to where the Database is.
func dialAdmin(ctx context.Context, db *policy.Database, given string) (*postgres.Client, error) {
	u := &url.URL{}
	if given != "" {
		var err error
		if u, err = url.Parse(given); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return nil, usage{errors.New("--admin wants a URL such as postgres://postgres@db.internal:5432/shop")} // the URL may hold a password
		}
	}
	pick := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	host, port := endpoint(db)
	host = pick(u.Hostname(), u.Query().Get("host"), os.Getenv("PGHOST"), host)
	port = pick(u.Port(), os.Getenv("PGPORT"), port, "5432")
	name := db.Name
	if len(db.Names) > 0 {
		name = db.Names[0]
	}
	name = pick(strings.TrimPrefix(u.Path, "/"), os.Getenv("PGDATABASE"), name)
	user := pick(u.User.Username(), os.Getenv("PGUSER"), "postgres")
	word, _ := u.User.Password()
	word = pick(word, os.Getenv("PGPASSWORD"))
	if host == "" {
		return nil, usage{fmt.Errorf("kind Database %s names no server: say where it is with --admin or PGHOST", db.Name)}
	}
	network, address := "tcp", net.JoinHostPort(host, port)
	var config *tls.Config
	if strings.HasPrefix(host, "/") {
		network, address = "unix", filepath.Join(host, ".s.PGSQL."+port)
	} else {
		var err error
		if config, err = adminTLS(db, host, pick(u.Query().Get("sslmode"), os.Getenv("PGSSLMODE")), pick(u.Query().Get("sslrootcert"), os.Getenv("PGSSLROOTCERT"))); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("reach the database: %w", err)
	}
	weakest := session.Weakest(db, false)
	if network == "unix" {
		weakest = max(weakest, postgres.AuthMD5) // who runs this chose the socket
	}
	client, err := postgres.Connect(ctx, conn, postgres.ClientConfig{User: user, Database: name, TLS: config, Weakest: weakest,
		Auth: credential.New(user, password(word), credential.Options{})})
	if err != nil {
		return nil, fmt.Errorf("log in at %s as %s: %w", address, user, err)
	}
	return client, nil
}

// endpoint is the first of a Database that names a server.
func endpoint(db *policy.Database) (host, port string) {
	for _, e := range db.Endpoints {
		host := e.Host
		if host == "" && e.Prefix.IsValid() && e.Prefix.IsSingleIP() {
			host = e.Prefix.Addr().String()
		}
		if host != "" {
			return host, strconv.Itoa(int(e.Port))
		}
		// As libpq names it: a folder and a port.
		if dir, port, found := strings.Cut(e.Unix, "/.s.PGSQL."); found && strings.HasPrefix(dir, "/") {
			return dir, port
		}
	}
	return "", ""
}

// adminTLS protects the connection as the Database says, unless something else is given.
func adminTLS(db *policy.Database, host, mode, roots string) (*tls.Config, error) {
	if mode == "" {
		mode = map[policy.TLSMode]string{policy.TLSVerifyFull: "verify-full", policy.TLSVerifyCA: "verify-ca",
			policy.TLSRequire: "require", policy.TLSDisable: "disable"}[db.TLS.Mode]
		if db.TLS.ServerName != "" {
			host = db.TLS.ServerName
		}
	}
	if roots == "" {
		roots = db.TLS.CAFile
	}
	var pool *x509.CertPool
	if roots != "" {
		data, err := os.ReadFile(roots)
		if err != nil {
			return nil, fmt.Errorf("read the database's authorities: %w", err)
		}
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s holds no certificate", roots)
		}
	}
	return postgres.UpstreamTLS(mode, host, pool)
}
