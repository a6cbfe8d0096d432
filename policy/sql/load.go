package sql

import (
	"context"
	"errors"
)

// Querier runs one query with the simple protocol and hands its rows, in text
// format with nil for NULL, to row one at a time. The values are valid during
// the call. The real one is postgres.Client.
type Querier interface {
	Query(ctx context.Context, sql string, row func([][]byte) error) error
}

// LoadCatalog reads the catalog of the database that q is connected to. It needs
// no more rights than PUBLIC has by default, opens a read-only transaction of
// its own, and leaves the session's settings as they were.
func LoadCatalog(ctx context.Context, q Querier) (*Catalog, error) {
	return nil, errors.New("load catalog: not yet")
}
