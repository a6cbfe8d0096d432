package postgres

type registry struct{}
