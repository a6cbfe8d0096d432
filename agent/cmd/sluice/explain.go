package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// question is what the commands below have in common.
type question struct {
	config, database, name, catalog, path string
}

func (q *question) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.config, "config", "", "file or directory of resources (required)")
	cmd.Flags().StringVar(&q.database, "database", "", "name of the Database (default: the only one)")
	cmd.Flags().StringVar(&q.name, "dbname", "", "database on the server (default: the resource's first name, or its own)")
	cmd.Flags().StringVar(&q.catalog, "catalog", "", "catalog file of `sluice policy catalog`, in place of connecting to the database")
	cmd.Flags().StringVar(&q.path, "search-path", `"$user", public`, "search path under which names are resolved")
	cmd.MarkFlagRequired("config")
	cmd.MarkFlagFilename("config")
	cmd.MarkFlagFilename("catalog", "json")
}

// open loads the configuration and the catalog.
func (q *question) open(ctx context.Context) (*policy.Set, *policy.Database, *sql.Catalog, error) {
	set, _, err := agent.LoadConfig(q.config)
	if err != nil {
		return nil, nil, nil, errors.New(agent.Explain(err))
	}
	db := set.Database(q.database)
	if all := set.Databases(); q.database == "" && len(all) == 1 {
		db = all[0]
	}
	if db == nil {
		return nil, nil, nil, usage{errors.New("--database must name one of the configuration's Databases")}
	}
	if q.catalog == "" {
		c, err := agent.ReadCatalog(ctx, set, db, q.name)
		return set, db, c, err
	}
	data, err := os.ReadFile(q.catalog)
	if err != nil {
		return nil, nil, nil, err
	}
	c := new(sql.Catalog)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, nil, nil, fmt.Errorf("%s is no catalog: %w", q.catalog, err)
	}
	return set, db, c, nil
}

// searchPath is what current_schemas(true) would say.
func (q *question) searchPath(c *sql.Catalog) []string {
	path := []string{}
	system := false
	for s := range strings.SplitSeq(q.path, ",") {
		s = strings.TrimSpace(s)
		if s == `"$user"` || s == "$user" {
			s = c.User
		}
		s = strings.Trim(s, `"`)
		if s != "" && c.Schema(s) != nil {
			path = append(path, s)
			system = system || s == "pg_catalog"
		}
	}
	if !system {
		path = append([]string{"pg_catalog"}, path...)
	}
	return path
}

func judge(q *question, c *sql.Catalog, v *policy.View, text string) *protocol.Judgement {
	j, _ := sql.Judge(c, v, &protocol.Query{Text: text, Path: q.searchPath(c)}, sql.Options{
		Key: func(tag string) mask.Key { return mask.NewKey([]byte("the agent has another key"), tag) },
	})
	return j
}

func policyExplain() *cobra.Command {
	var q question
	var as, output, state string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "explain --config FILE --as SUBJECT SQL",
		Short: "Tell whether a subject may run a statement, and which rule says so",
		Long: `Tell whether a subject may run a statement, and which rule says so: one line a
statement with verdict, rule and reason between tabs. Exit status 1 is a denial.

SUBJECT is NAMESPACE/SERVICEACCOUNT, "any", or facts between commas: workload=,
namespace=, serviceAccount=, user=, uid=, exe=, label.KEY=, issuer=, subject=, group=.`,
		Example: `  sluice policy explain --config shop.yaml --as agents/support-agent 'DELETE FROM app.customers'
  sluice policy explain --config shop.yaml --as user=alice,exe=/usr/bin/psql --verbose 'TABLE app.customers'`,
		Args: exactly(1, "one text of SQL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			sub, err := subject(as)
			if err != nil {
				return usage{err}
			}
			set, db, c, err := q.openAt(cmd.Context(), state)
			if err != nil {
				return err
			}
			v, _ := set.View(sub, db.Name, time.Now())
			j := judge(&q, c, v, args[0])
			if output == "json" {
				if err := printJSON(cmd, j); err != nil {
					return err
				}
			} else {
				explain(cmd.OutOrStdout(), j, verbose)
			}
			if j.Refusal != nil || j.Hold {
				return exit(statusFailed)
			}
			return nil
		},
	}
	q.flags(cmd)
	cmd.Flags().StringVar(&as, "as", "any", "the subject")
	cmd.Flags().StringVar(&state, "state", "", "state directory whose kept catalog is used, in place of connecting to the database")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what the database gets, and the hint of a denial")
	outputFlag(cmd, &output)
	return cmd
}

func explain(w io.Writer, j *protocol.Judgement, verbose bool) {
	if r := j.Refusal; r != nil {
		fmt.Fprintf(w, "deny\t%s\t%s\n", orDash(r.Rule), printable(r.Message))
		if verbose {
			for _, s := range []string{r.Detail, r.Hint} {
				if s != "" {
					fmt.Fprintf(w, "\t\t%s\n", printable(s))
				}
			}
		}
		return
	}
	for i := range j.Plans {
		p := &j.Plans[i]
		what := p.Statement.Tag
		for _, a := range p.Statement.Accesses {
			what += ", " + a.Action.String() + " " + a.Object.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Verdict, orDash(p.Rule), printable(what))
	}
	if verbose {
		fmt.Fprintf(w, "\t\t%s\n", printable(j.Text))
		for _, n := range j.Notices {
			fmt.Fprintf(w, "\t\tNOTICE: %s\n", printable(n.Message))
		}
	}
}

// subject reads --as.
func subject(s string) (*policy.Subject, error) {
	sub := &policy.Subject{}
	if s == "any" {
		return sub, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		key, value, found := strings.Cut(part, "=")
		if !found {
			namespace, account, ok := strings.Cut(part, "/")
			if !ok {
				return nil, fmt.Errorf("--as %q: want NAMESPACE/SERVICEACCOUNT, any, or key=value", part)
			}
			sub.Workload.Namespace, sub.Workload.ServiceAccount = namespace, account
			continue
		}
		token := func() *policy.Token {
			if sub.Token == nil {
				sub.Token = &policy.Token{Expires: time.Now().Add(time.Hour), Claims: map[string]any{}}
			}
			return sub.Token
		}
		switch key {
		case "workload":
			sub.Workload.Name = value
		case "namespace":
			sub.Workload.Namespace = value
		case "serviceAccount":
			sub.Workload.ServiceAccount = value
		case "user":
			sub.Process.PID, sub.Process.User = 1, value
		case "uid":
			uid, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("--as uid=%q: not a number", value)
			}
			sub.Process.PID, sub.Process.UID = 1, uint32(uid)
		case "exe":
			sub.Process.PID, sub.Process.Exe = 1, value
		case "issuer":
			token().Issuer = value
		case "subject":
			token().Subject = value
		case "group":
			token().Groups = append(token().Groups, value)
		default:
			label, ok := strings.CutPrefix(key, "label.")
			if !ok {
				return nil, fmt.Errorf("--as: unknown fact %q", key)
			}
			if sub.Workload.Labels == nil {
				sub.Workload.Labels = map[string]string{}
			}
			sub.Workload.Labels[label] = value
		}
	}
	return sub, nil
}
