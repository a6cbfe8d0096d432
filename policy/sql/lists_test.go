package sql_test

import (
	"fmt"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy/sql"
)

// TestFunctionList compares the list with a real pg_proc: nothing undecided,
// nothing that does not exist, nothing decided twice.
func TestFunctionList(t *testing.T) {
	s := server(t)
	c := load(t, connect(t, s.DSN("agent_col", s.Database(t))))
	exists := make(map[string]bool)
	for i := range c.Functions {
		f := &c.Functions[i]
		if !f.System() || f.Schema != "pg_catalog" {
			continue
		}
		exists[f.Name] = true
		exists[fmt.Sprintf("%s/%d", f.Name, len(f.Args))] = true
		r := sql.BuiltinFunction(f.Name, len(f.Args))
		if r.Group == "" {
			t.Errorf("undecided: %s with %d arguments", f.Name, len(f.Args))
		}
		if !r.Safe {
			continue
		}
		for _, a := range append(f.Args, f.Result) {
			if p := c.TypeByOID(a); p.Name == "internal" || p.Name == "cstring" || p.Name == "trigger" || strings.HasSuffix(p.Name, "_handler") {
				t.Errorf("safe, and deals with %s: %s", p.Name, f.Name)
			}
		}
	}
	entries := 0
	sql.BuiltinFunctions(func(entry string, r sql.FunctionRule) {
		entries++
		if !exists[entry] && r.Traits&sql.TraitNewer == 0 {
			t.Errorf("listed, and not in pg_proc: %s", entry)
		}
		bare, _, found := strings.Cut(entry, "/")
		if found && sql.BuiltinFunction(bare, -1).Group != "" {
			t.Errorf("listed with and without arguments: %s", bare)
		}
		if len(r.Reason) < 8 {
			t.Errorf("no reason for group %s", r.Group)
		}
	})
	t.Logf("%d entries for %d functions", entries, len(c.Functions))
}

// TestVolatileSafe names the volatile functions that are called safe: each was
// looked at.
func TestVolatileSafe(t *testing.T) {
	s := server(t)
	c := load(t, connect(t, s.DSN("agent_col", s.Database(t))))
	looked := map[string]bool{
		"clock_timestamp": true, "timeofday": true, "random": true, "setseed": true, "gen_random_uuid": true,
		// One backend's or one relation's facts.
		"pg_is_in_recovery": true, "pg_jit_available": true, "pg_xact_status": true, "txid_status": true,
		"pg_partition_ancestors": true, "pg_partition_tree": true,
		"pg_advisory_unlock_all":      true, // gives up what the session itself holds
		"pg_collation_actual_version": true, "pg_database_collation_actual_version": true,
	}
	for i := range c.Functions {
		f := &c.Functions[i]
		if f.System() && f.Schema == "pg_catalog" && f.Volatility == "v" && !looked[f.Name] && sql.BuiltinFunction(f.Name, len(f.Args)).Safe {
			t.Errorf("volatile and safe: %s", f.Name)
		}
	}
}

func TestBuiltinFunction(t *testing.T) {
	for _, tt := range []struct {
		name string
		args int
		safe bool
	}{
		{"lower", 1, true}, {"date_trunc", 2, true}, {"percentile_cont", 2, true}, {"jsonb_path_query", 4, true},
		{"generate_series", 2, true}, {"row_number", 0, true}, {"ts_headline", 2, true}, {"xmlagg", 1, true},
		{"pg_get_constraintdef", 2, true}, {"pg_table_is_visible", 1, true}, {"pg_get_expr", 2, true},
		{"ts_rewrite", 3, true}, {"ts_rewrite", 2, false}, {"ts_stat", 1, false}, {"query_to_xml", 4, false},
		{"pg_get_viewdef", 1, false}, {"pg_read_file", 1, false}, {"lo_get", 1, false}, {"set_config", 3, false},
		{"pg_sleep", 1, false}, {"pg_notify", 2, false}, {"nextval", 1, false}, {"currval", 1, false},
		{"pg_relation_size", 1, false}, {"pg_stat_get_live_tuples", 1, false}, {"current_query", 0, false},
		{"pg_advisory_lock", 1, false}, {"pg_terminate_backend", 1, false}, {"no_such_function", 1, false}, {"", 0, false},
	} {
		if got := sql.BuiltinFunction(tt.name, tt.args).Safe; got != tt.safe {
			t.Errorf("%s/%d: safe is %v", tt.name, tt.args, got)
		}
	}
}

// TestRelationList finds every entry in a real catalog, and nothing open that
// should not be.
func TestRelationList(t *testing.T) {
	s := server(t)
	c := load(t, connect(t, s.DSN("agent_col", s.Database(t))))
	sql.BuiltinRelations(func(schema, relation string, all bool, columns []string) {
		r := c.Relation(schema, relation)
		if r == nil || !r.System() {
			t.Errorf("no such relation: %s.%s", schema, relation)
			return
		}
		for _, col := range columns {
			if r.Column(col) == nil {
				t.Errorf("no such column: %s.%s.%s", schema, relation, col)
			}
			if sql.BuiltinColumn(schema, relation, col) == all {
				t.Errorf("%s.%s.%s is the wrong way round", schema, relation, col)
			}
		}
	})
	for _, closed := range []string{
		"pg_class.reltuples", "pg_class.relpages", "pg_proc.prosrc", "pg_proc.prosqlbody", "pg_views.definition", "pg_rewrite.ev_action",
		"pg_attribute.attmissingval", "pg_trigger.tgargs", "pg_settings.setting", "pg_roles.rolconfig", "pg_sequences.last_value",
		"pg_stats.most_common_vals", "pg_statistic.stavalues1", "pg_stats_ext.most_common_vals", "pg_authid.rolpassword", "pg_shadow.passwd",
		"pg_stat_activity.query", "pg_stat_user_tables.n_live_tup", "pg_largeobject.data", "pg_user_mapping.umoptions", "pg_locks.pid",
		"pg_hba_file_rules.database", "pg_file_settings.setting", "pg_cursors.statement", "pg_prepared_statements.statement",
		"pg_db_role_setting.setconfig", "pg_subscription.subconninfo", "pg_class.", "pg_class.nothing", "pg_no.x",
	} {
		relation, column, _ := strings.Cut(closed, ".")
		if sql.BuiltinColumn("pg_catalog", relation, column) {
			t.Errorf("open: %s", closed)
		}
	}
	for _, open := range []string{"pg_catalog.pg_class.relname", "pg_catalog.pg_type.typname", "information_schema.columns.column_default"} {
		p := strings.Split(open, ".")
		if !sql.BuiltinColumn(p[0], p[1], p[2]) {
			t.Errorf("closed: %s", open)
		}
	}
	// Whatever else is in pg_catalog or information_schema is closed, and named here once looked at.
	var rest []string
	for i := range c.Relations {
		if r := &c.Relations[i]; r.System() && r.Readable() && !sql.BuiltinRelation(r.Schema, r.Name) && r.Schema != "pg_toast" && !strings.HasPrefix(r.Name, "pg_stat") {
			rest = append(rest, r.Name)
		}
	}
	t.Logf("closed besides pg_stat*: %s", strings.Join(rest, " "))
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{"search_path", "app, public", true}, {"SEARCH_PATH", "", true}, {"TimeZone", "UTC", true}, {"datestyle", "ISO, MDY", true},
		{"client_encoding", "UTF8", true}, {"client_encoding", "utf-8", true}, {"client_encoding", "'utf-8'", true}, {"client_encoding", "unicode", true},
		{"client_encoding", "SJIS", false}, {"client_encoding", "GBK", false}, {"client_encoding", "latin1", false}, {"client_encoding", "", false},
		{"standard_conforming_strings", "on", true}, {"standard_conforming_strings", "off", false}, {"standard_conforming_strings", "tr", false},
		{"backslash_quote", "safe_encoding", true}, {"backslash_quote", "on", false},
		{"extra_float_digits", "3", true}, {"extra_float_digits", "-15", true}, {"extra_float_digits", "4", false}, {"extra_float_digits", "x", false},
		{"statement_timeout", "0", false}, {"statement_timeout", "5000", true}, {"statement_timeout", "5s", true}, {"statement_timeout", "30 s", true},
		{"statement_timeout", "31s", false}, {"statement_timeout", "1h", false}, {"statement_timeout", "99999999999999999999", false}, {"statement_timeout", "5x", false},
		{"statement_timeout", "-1", false}, {"statement_timeout", "1e9", false}, {"statement_timeout", "", false},
		{"client_min_messages", "warning", true}, {"client_min_messages", "WARNING", true}, {"client_min_messages", "debug5", false}, {"client_min_messages", "log", false},
		{"jit", "off", true}, {"jit", "f", true}, {"jit", "o", false}, {"enable_seqscan", "off", true},
		{"work_mem", "1GB", false}, {"role", "none", false}, {"session_authorization", "x", false}, {"my.x", "1", false}, {"debug_print_plan", "on", false},
		{"row_security", "off", false}, {"row_security", "on", true}, {"session_replication_role", "replica", false}, {"transform_null_equals", "on", false},
		{"lo_compat_privileges", "on", false}, {"check_function_bodies", "off", false}, {"application_name", "x", true}, {"application_name", "x\x00y", false},
		{"default_transaction_isolation", "repeatable read", true}, {"transaction_read_only", "off", true}, {"", "", false},
	} {
		if r := sql.BuiltinSetting(tt.name); r.Allows(tt.value) != tt.ok {
			t.Errorf("%s = %q: %v", tt.name, tt.value, !tt.ok)
		}
	}
	for name, show := range map[string]bool{"server_version": true, "search_path": true, "transaction_isolation": true, "work_mem": true,
		"data_directory": false, "my.x": false, "hba_file": false, "primary_conninfo": false, "all": false, "max_index_keys": true} {
		if sql.BuiltinSetting(name).Show != show {
			t.Errorf("show %s: %v", name, !show)
		}
	}
	if !sql.BuiltinSetting("search_path").Path || sql.BuiltinSetting("timezone").Path {
		t.Error("only search_path changes how names resolve")
	}
}

// TestSettingList finds every listed parameter on a real server, or knows it to be newer.
func TestSettingList(t *testing.T) {
	s := server(t)
	sql.BuiltinSettings(func(r sql.SettingRule) {
		if r.Name == "transaction_timeout" || r.Name == "scram_iterations" {
			return // since 17, since 16
		}
		if _, err := s.Query("postgres", "SHOW "+r.Name); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	})
}

// TestStartupParameter has what stock drivers send, and what a hostile client would.
func TestStartupParameter(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{"user", "x", true}, {"database", "x", true}, {"application_name", "psql", true}, {"client_encoding", "UTF8", true},
		{"DateStyle", "ISO", true}, {"extra_float_digits", "2", true}, {"TimeZone", "Europe/Berlin", true}, {"search_path", "app", true},
		{"options", "", true}, {"options", "-c search_path=app", true}, {"options", "-csearch_path=app --statement-timeout=5000", true},
		{"options", `-c search_path=app,\ public -c geqo=off`, true}, {"options", "--client-min-messages=warning", true},
		{"options", "-c role=app_admin", false}, {"options", "-c search_path=app -c standard_conforming_strings=off", false},
		{"options", "-c", false}, {"options", "-c search_path", false}, {"options", "--", false}, {"options", "-e", false}, {"options", "-f s", false},
		{"options", "-S 1000000", false}, {"options", "x", false}, {"options", "-c =x", false}, {"options", `-c client\_encoding=GBK`, false},
		{"options", "-c\tclient_encoding=SJIS", false}, {"options", "-c client-encoding=SJIS", false}, {"options", `\-c role=x`, false},
		{"replication", "database", false}, {"replication", "on", false}, {"role", "x", false}, {"session_authorization", "x", false},
		{"statement_timeout", "0", false}, {"work_mem", "1GB", false}, {"", "", false}, {"client_encoding", "GBK", false},
	} {
		if got := sql.StartupParameter(tt.name, tt.value); got != tt.ok {
			t.Errorf("%s=%q: %v", tt.name, tt.value, got)
		}
	}
}

func FuzzStartupOptions(f *testing.F) {
	for _, s := range []string{"", "-c a=b", `-c a\ b=c\`, "--a=b", `\`, "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		settings, ok := sql.StartupOptions(s) // must not panic
		if !ok && settings != nil {
			t.Error("settings and not ok")
		}
	})
}
