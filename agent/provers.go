package agent

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/policy"
)

// credentialKey names a credential: a Database, and "" for its own or the name of a
// further one.
type credentialKey struct{ database, name string }

func (k credentialKey) String() string {
	if k.name == "" {
		return k.database
	}
	return k.database + "/" + k.name
}

// credentials returns every credential of set.
func credentials(set *policy.Set) map[credentialKey]*policy.Credential {
	all := make(map[credentialKey]*policy.Credential)
	for _, db := range set.Databases() {
		all[credentialKey{db.Name, ""}] = &db.Credential
		for i := range db.Credentials {
			c := &db.Credentials[i]
			all[credentialKey{db.Name, c.Name}] = &c.Credential
		}
	}
	return all
}

// provide gives n a prover for each credential. Those of old whose credential stays
// are kept, with what they have derived.
func (r *redirector) provide(n, old *rules) {
	before := map[credentialKey]*policy.Credential{}
	if old != nil {
		before = credentials(old.set)
	}
	for key, c := range credentials(n.set) {
		if was := before[key]; was != nil && old.provers[key] != nil && sameCredential(was, c) {
			n.provers[key] = old.provers[key]
			continue
		}
		src := source(c)
		if ref := c.PasswordSecret; ref != nil {
			src = r.secretSource(*ref)
		}
		if src != nil {
			n.provers[key] = credential.New(c.Username, src, credential.Options{Log: r.log, Cleartext: c.Auth == policy.AuthPassword})
		}
	}
}

func sameCredential(a, b *policy.Credential) bool {
	return a.Username == b.Username && a.PasswordFile == b.PasswordFile && a.PasswordEnv == b.PasswordEnv && sameSecret(a.PasswordSecret, b.PasswordSecret) &&
		slices.Equal(a.PasswordCommand, b.PasswordCommand) && a.Auth == b.Auth
}

func sameSecret(a, b *policy.SecretKey) bool { return a == b || a != nil && b != nil && *a == *b }

// source returns where the password of c comes from, nil for nowhere.
func source(c *policy.Credential) credential.Source {
	switch {
	case c.PasswordFile != "":
		return &credential.File{Path: c.PasswordFile}
	case c.PasswordEnv != "":
		return &credential.Env{Name: c.PasswordEnv}
	case len(c.PasswordCommand) > 0:
		return &credential.Command{Argv: c.PasswordCommand}
	}
	return nil
}

// workloadOf is what an accepted connection tells of its workload.
func workloadOf(a *channel.Accepted) policy.Workload {
	w := policy.Workload{Name: a.Workload, Namespace: a.Namespace, ServiceAccount: a.Account,
		Pod: a.Pod, PodUID: a.PodUID, Container: a.Container}
	if a.Labels != "" {
		w.Labels = channel.ReadLabels(a.Labels)
	}
	return w
}

// due returns what a connection may prove: the Database's own credential, and those
// that a policy names for who connects, as far as this process knows.
func (n *rules) due(db *policy.Database, a *channel.Accepted) map[string]prover {
	sub := &policy.Subject{
		Process:  policy.Process{PID: a.PID, UID: a.UID, User: a.User, Exe: a.Exe, Cgroup: a.Cgroup},
		Workload: n.set.Enrolled(workloadOf(a)),
	}
	all := map[string]prover{}
	add := func(name string, c *policy.Credential) {
		if p := n.provers[credentialKey{db.Name, name}]; p != nil && n.set.MayLogin(sub, db.Name, name) {
			all[name] = prover{p, db.Weakest(c, a.Unix != ""), db.TLS.Verified() && a.Unix == ""}
		}
	}
	add("", &db.Credential)
	for i := range db.Credentials {
		add(db.Credentials[i].Name, &db.Credentials[i].Credential)
	}
	return all
}

// versions tells apart the passwords that there are now. A login that has begun with
// others is not to serve who comes later.
func versions(all map[string]prover) uint64 {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(h, "%q %d ", name, all[name].Version())
	}
	return h.Sum64() | 1
}
