package session

import (
	"errors"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
)

// clientAuth returns what a client of db must show. What can't be asked for as
// configured is a refusal: there is no weaker way to fall back to.
func (g *Gate) clientAuth(rules *Rules, db *policy.Database) (postgres.ClientAuth, *protocol.Refusal) {
	switch db.ClientAuth {
	case policy.ClientTrust:
		return postgres.ClientAuth{}, nil
	case policy.ClientToken:
		return postgres.ClientAuth{Token: g.tokenAuth(rules)}, nil
	case policy.ClientSCRAM:
		if v := rules.Placeholders[db.Name]; v != nil {
			return postgres.ClientAuth{SCRAM: v}, nil
		}
	}
	return postgres.ClientAuth{}, unavailable("this database's clientAuth can't be asked for", errors.New("no verifier"), g.s)
}
