package agent

import (
	"strings"

	"sluicegate.io/sluice/redirect"
)

// unenforced says why the processes of a cgroup could get around the redirection,
// "" if they could not. A command that becomes name, which is not root, leaves the
// capabilities behind that are looked for.
func unenforced(cgroup, name string) string {
	if name != "" {
		if u, err := lookUp(name); err == nil && u.Uid != "0" {
			return ""
		}
	}
	risks, err := redirect.Inspect(cgroup)
	if err != nil {
		return "NOT ENFORCED, as far as can be told: " + err.Error()
	}
	var codes []string
	for _, r := range risks {
		if r.Breaks {
			codes = append(codes, string(r.Code))
		}
	}
	if len(codes) == 0 {
		return ""
	}
	return "NOT ENFORCED against this command: it runs with privileges that get around Sluice (" +
		strings.Join(codes, ", ") + "); run it as another account, with --user NAME"
}
