package policy_test

import (
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
)

func database(spec string) string {
	return "apiVersion: sluicegate.io/v1alpha1\nkind: Database\nmetadata: {name: shop-eu}\nspec:\n  protocol: postgres\n  endpoints: [\"db:5432\"]\n" + spec + "\n"
}

func TestRole(t *testing.T) {
	const user = "  credential: {username: agent}\n"
	const observer = "---\napiVersion: sluicegate.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subjects: [{any: true}]\n  databases: [\"*\"]\n  enforce: observe\n"
	for _, tt := range []struct {
		name, spec, wrong string
		mode              policy.Mode
		role              policy.Role
	}{
		{name: "inline", spec: user},
		{name: "defaults", spec: user + "  mode: role", mode: policy.ModeRole, role: policy.Role{Schema: "sluice_shop_eu", Login: "agent"}},
		{name: "names", spec: user + "  mode: role\n  role: {schema: fence, login: agent}", mode: policy.ModeRole, role: policy.Role{Schema: "fence", Login: "agent"}},
		{name: "barrier", spec: user + "  mode: role\n  role: {barrier: true}", mode: policy.ModeRole, role: policy.Role{Schema: "sluice_shop_eu", Login: "agent", Barrier: true}},
		{name: "passthrough", spec: "  credential: {passthrough: true, username: u}\n  mode: role\n  role: {login: someone}", mode: policy.ModeRole, role: policy.Role{Schema: "sluice_shop_eu", Login: "someone"}},
		{name: "no login", spec: "  credential: {passthrough: true, username: u}\n  mode: role", wrong: "needs role.login"},
		{name: "two logins", spec: user + "  mode: role\n  role: {login: other}", wrong: "must be the credential's username"},
		{name: "role without mode", spec: user + "  role: {schema: x}", wrong: "belongs to mode: role"},
		{name: "unknown mode", spec: user + "  mode: views", wrong: `unknown mode "views"`},
		{name: "system schema", spec: user + "  mode: role\n  role: {schema: pg_x}", wrong: "a schema of its own"},
		{name: "observed", spec: user + "  mode: role\n  enforce: observe", wrong: "cannot be combined"},
		{name: "observed policy", spec: user + "  mode: role\n" + observer, wrong: "only observes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := policy.Load([]policy.File{{Name: "f.yaml", Data: []byte(database(tt.spec))}})
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Fatalf("error %v, want one with %q", err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			db := set.Database("shop-eu")
			if db.Mode != tt.mode || db.Role != tt.role {
				t.Errorf("mode %v %+v, want %v %+v", db.Mode, db.Role, tt.mode, tt.role)
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	text := database("  credential: {username: agent}\n  mode: role\n  sensitive: [{tag: ssn, columns: [\"app.c.ssn\"]}, {tag: mail, columns: [\"app.c.mail\"]}]")
	for _, p := range []string{"reveal: [ssn]", "reveal: [mail]", "rules: [{effect: allow, actions: [select], on: [app.c]}]"} {
		text += "---\napiVersion: sluicegate.io/v1alpha1\nkind: Policy\nmetadata: {name: p" + string(rune('a'+len(text)%7)) + "}\nspec: {subjects: [{any: true}], databases: [shop-eu], " + p + "}\n"
	}
	set, err := policy.Load([]policy.File{{Name: "f.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	views, err := set.Profiles("shop-eu")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range views {
		s := ""
		for _, c := range []string{"ssn", "mail"} {
			if v.Column("app", "c", c).Sensitive {
				s += c + " "
			}
		}
		got = append(got, strings.TrimSpace(s))
	}
	seen := map[string]bool{}
	for _, g := range got {
		seen[g] = true
	}
	if got[0] != "ssn mail" || len(seen) != 4 {
		t.Errorf("profiles %q", got)
	}
	if n := len(set.Reach("shop-eu")); n != 3 {
		t.Errorf("%d reach", n)
	}
}
