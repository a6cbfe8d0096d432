package agent

import (
	"context"
	"time"
)

// failing are conditions that an operator has to mend, by name: a password that can't
// be read, a name that has no address. What concerns one Database makes the agent no
// less useful to others, but its sessions are refused until it is mended.
func (r *redirector) failing() map[string]string {
	now := map[string]string{}
	rules := r.rules.Load()
	for key, c := range credentials(rules.set) {
		if c.PasswordFile == "" && c.PasswordEnv == "" {
			continue // a command is not run to see whether it works
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		secret, _, err := source(c).Password(ctx)
		cancel()
		secret.Zero()
		if err != nil {
			now["credential/"+key.String()] = err.Error()
		}
	}
	for key, p := range rules.provers {
		// A Secret is not asked for to see whether it is there.
		if err := p.Failed(); err != nil {
			now["credential/"+key.String()] = err.Error()
		}
	}
	if missing := r.noCA.Load(); missing != nil {
		for name, text := range *missing {
			now["authorities/"+name] = text
		}
	}
	for _, n := range rules.matcher.names {
		n.mu.Lock()
		if len(n.addrs) == 0 {
			now["name/"+n.host] = "it has no address"
			if n.failed != nil {
				now["name/"+n.host] = n.failed.Error()
			}
		}
		n.mu.Unlock()
	}
	for name, text := range now {
		if r.failed[name] != text {
			r.log.Error("sessions are refused until this is mended", "condition", name, "error", text)
		}
	}
	for name := range r.failed {
		if now[name] == "" {
			r.log.Info("mended", "condition", name)
		}
	}
	r.failed = now
	return now
}
