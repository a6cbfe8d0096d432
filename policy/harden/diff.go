package harden

import (
	"fmt"
	"slices"
	"strings"
)

// Diff returns what separates a database from the Plan, in the order in which
// the statements have to run. It is empty if there is no difference.
func (p *Plan) Diff(l *Live) []Change { return p.changes(l, false) }

// Script returns everything that the Plan wants, whether it is there or not, and
// what has to go. Its statements can run again and again.
func (p *Plan) Script(l *Live) []Change { return p.changes(l, true) }

func (p *Plan) changes(l *Live, all bool) []Change {
	var out []Change
	replaced := map[string]bool{} // views, whose grants go with them
	for key, f := range p.wanted {
		value, there := l.found[key]
		if there && value == f.value && !all {
			continue
		}
		c := f.change()
		view, isView := strings.CutPrefix(key, "view ")
		if isView {
			replaced[view] = true
		}
		switch {
		case there && value == f.value:
		case there && isView && value == "altered":
			c.Text, c.Drift = "view "+view+" was altered: make it again", true
		case there && isView:
			c.Text = "view " + view + " is out of date: make it again"
		case there && strings.HasPrefix(key, "role "):
			c.Text, c.Drift = key+" is "+value+", and should be "+f.value, true
			c.SQL = []string{"ALTER ROLE " + strings.TrimPrefix(key, "role ") + " " + f.value}
		case there && strings.HasPrefix(key, "schema "):
			c.Text, c.Drift = key+" belongs to "+value, true
			c.SQL = []string{"ALTER " + strings.Replace(key, "schema", "SCHEMA", 1) + " OWNER TO " + quote(f.value)}
		}
		out = append(out, c)
	}
	for key, f := range p.wanted {
		if _, there := l.found[key]; there && !all && onReplaced(key, replaced) {
			out = append(out, f.change())
		}
	}
	for key, c := range l.extra {
		if _, ok := p.wanted[key]; !ok && !onReplaced(key, replaced) {
			out = append(out, c)
		}
	}
	for key := range l.found {
		name, isView := strings.CutPrefix(key, "view ")
		if _, ok := p.wanted[key]; isView && !ok {
			out = slices.DeleteFunc(out, func(c Change) bool { return strings.Contains(c.key, " ON TABLE "+name+" TO ") })
			out = append(out, Change{Text: "remove view " + name + ", which no policy needs", SQL: []string{"DROP VIEW IF EXISTS " + name}, phase: unmake, key: key})
		}
		if name, ok := strings.CutPrefix(key, "table "); ok && p.wanted[key].key == "" {
			out = append(out, Change{Text: "remove table " + name + ", which nothing needs", SQL: []string{"DROP TABLE IF EXISTS " + name}, phase: takeFromPublic, key: key})
		}
	}
	return order(append(out, p.takePublic(l)...))
}

func onReplaced(key string, replaced map[string]bool) bool {
	_, on, found := strings.Cut(key, " ON TABLE ")
	if !found {
		return false
	}
	name, _, _ := strings.Cut(on, " TO ")
	return replaced[name]
}

// reached reports whether the login can name what is in a schema.
func (p *Plan) reached(l *Live, schema string) bool {
	usage := right{"USAGE", "SCHEMA", quote(schema), ""}.on()
	if schema == "pg_catalog" || p.wanted[grantKey(usage, quote(p.Role.Login))].key != "" {
		return true
	}
	return slices.ContainsFunc(l.public, func(x publicRight) bool { return x.on() == usage })
}

// takePublic takes from everybody what the login would have with everybody, and
// gives it to the roles that there are, so that they go on as before.
func (p *Plan) takePublic(l *Live) []Change {
	var out []Change
	for _, x := range l.public {
		switch x.kind {
		case "SCHEMA":
			if x.priv != "CREATE" {
				continue // what can be reached by it is dealt with one by one
			}
		case "ROUTINE":
			if p.calls[x.oid] || !p.reached(l, x.schema) {
				continue
			}
		case "TABLE", "SEQUENCE":
			if x.ofServer || !p.reached(l, x.schema) {
				continue
			}
		}
		on := x.on()
		c := Change{Text: "everybody has " + on + ", and so has " + p.Role.Login, Drift: true, phase: takeFromPublic, key: "public " + on,
			SQL: []string{"REVOKE " + on + " FROM PUBLIC"}}
		grantees := []string{""}
		var quoted []string
		for _, role := range l.others {
			if !slices.Contains(x.also, role) {
				grantees, quoted = append(grantees, role), append(quoted, quote(role))
			}
		}
		if len(quoted) > 0 {
			c.SQL = append(c.SQL, "GRANT "+on+" TO "+strings.Join(quoted, ", "))
		}
		c.SQL = append(c.SQL, p.remember(x, grantees))
		out = append(out, c)
	}
	return out
}

// remember notes for Drop what was taken from PUBLIC, with the grantee "", and
// what roles got in its place.
func (p *Plan) remember(x publicRight, grantees []string) string {
	priv := x.priv
	if x.column != "" {
		priv += " (" + quote(x.column) + ")"
	}
	rows := make([]string, len(grantees))
	for i, g := range grantees {
		rows[i] = fmt.Sprintf("(%s, %s, %s, %s)", literal(x.kind), literal(x.object), literal(priv), literal(g))
	}
	return "INSERT INTO " + qualified(p.Role.Schema, stateTable) + " VALUES " + strings.Join(rows, ", ")
}

// Drop returns what removes everything again: grants, views, the schema, and the
// roles if they were made here. What PUBLIC lost it has again. Rights and
// memberships that the login had before stay away.
func (p *Plan) Drop(l *Live) []Change {
	var out []Change
	add := func(text, key string, sql ...string) {
		out = append(out, Change{Text: text, SQL: sql, key: key})
	}
	for _, t := range l.taken {
		on := t.priv + " ON " + t.kind + " " + t.object
		if t.grantee == "" {
			add("give "+on+" back to everybody", "", forgiving("GRANT "+on+" TO PUBLIC"))
		} else {
			add("take "+on+" from "+t.grantee+", which has it with everybody", "", forgiving("REVOKE "+on+" FROM "+quote(t.grantee)))
		}
	}
	var grants []string
	for key := range l.found {
		if on, ok := strings.CutPrefix(key, "grant "); ok && !strings.Contains(on, " ON TABLE "+quote(p.Role.Schema)+".") {
			to := on[strings.LastIndex(on, " TO ")+4:]
			if p.wanted[key].key != "" || to == quote(p.Role.Login) && l.made[p.Role.Login] || to == quote(p.Role.Owner()) {
				grants = append(grants, on)
			}
		}
	}
	slices.Sort(grants)
	for _, on := range grants {
		i := strings.LastIndex(on, " TO ")
		add("revoke "+on[:i]+" from "+on[i+4:], "", "REVOKE "+on[:i]+" FROM "+on[i+4:])
	}
	if _, ok := l.found["schema "+quote(p.Role.Schema)]; ok {
		var views []string
		for key := range l.found {
			for _, kind := range []string{"view ", "table "} {
				if name, ok := strings.CutPrefix(key, kind); ok {
					views = append(views, "DROP "+strings.ToUpper(kind)+name)
				}
			}
		}
		slices.Sort(views)
		add("remove schema "+p.Role.Schema, "", append(slices.Compact(views), "DROP SCHEMA "+quote(p.Role.Schema))...)
	}
	for _, role := range []string{p.Role.Owner(), p.Role.Login} {
		switch _, there := l.found["role "+quote(role)]; {
		case !there:
		case !l.made[role]:
			add("role "+role+" was there before, and stays", "")
		case l.inUse[role]:
			add("role "+role+" stays, since another database knows it", "")
		default:
			add("remove role "+role, "", "DROP ROLE "+quote(role))
		}
	}
	return out
}

// forgiving runs a statement about something that may be gone meanwhile.
func forgiving(sql string) string {
	return do("EXECUTE " + literal(sql) + "; EXCEPTION WHEN undefined_object OR undefined_function OR undefined_table OR undefined_column OR invalid_schema_name THEN NULL;")
}
