package session

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol/postgres"
)

const (
	pollEvery   = 3 * time.Second  // the epoch of a catalog in use is asked for
	keepFor     = time.Minute      // an unused catalog's connection is kept
	leaveFor    = 10 * time.Second // an unused connection is closed at once after leave
	forgetAfter = 10 * time.Minute // an unused catalog is forgotten
	loadTimeout = time.Minute
	pollTimeout = 10 * time.Second
)

// catalogKey names one database on one server.
type catalogKey struct {
	resource, name string
	address        string // see Conn.server
}

// source is how to reach the server of a catalog, in the name of one session.
type source struct {
	dial   func(context.Context) (net.Conn, error)
	config postgres.ClientConfig
}

// catalogs holds the catalogs of the databases in use.
type catalogs struct {
	log     *slog.Logger
	traffic *tally.Traffic
	loaded  func(database, name string, c *sql.Catalog, at time.Time) // nil: nobody wants to know
	mu      sync.Mutex
	all     map[catalogKey]*catalog
	left    map[string]time.Time // when leave was last called
}

// catalog is what is known of one database. It is loaded on a connection of its
// own when the first statement needs it.
type catalog struct {
	key     catalogKey
	log     *slog.Logger
	traffic *tally.Traffic
	loaded  func(database, name string, c *sql.Catalog, at time.Time)
	version atomic.Uint64 // changes with what is known
	known   atomic.Pointer[sql.Catalog]
	doubt   atomic.Bool // known must be compared with the server before it is used
	checked atomic.Int64

	turn   chan struct{} // one at a time speaks to the server
	client *postgres.Client

	// Under catalogs.mu.
	source source
	users  int
	idle   time.Time
}

func (c *catalogs) init(log *slog.Logger, traffic *tally.Traffic) {
	c.log, c.traffic, c.all = log, traffic, make(map[catalogKey]*catalog)
}

// attach returns the catalog of key for one more session. from is used if the
// server has to be reached while that session lives.
func (c *catalogs) attach(key catalogKey, from source) *catalog {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.all[key]
	if k == nil {
		k = &catalog{key: key, log: c.log, traffic: c.traffic, loaded: c.loaded, turn: make(chan struct{}, 1)}
		c.all[key] = k
	}
	k.users++
	k.source = from
	return k
}

// detach is called at the end of a session.
func (c *catalogs) detach(k *catalog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.users--
	k.idle = time.Now()
	if k.users > 0 || time.Since(c.left[k.key.address]) > leaveFor {
		return
	}
	select {
	case k.turn <- struct{}{}:
		k.hangUp()
		k.doubt.Store(true)
		<-k.turn
	default:
	}
}

// run polls until ctx is done, and closes all connections then.
func (c *catalogs) run(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, k := range c.list() {
				k.turn <- struct{}{}
				k.hangUp()
				<-k.turn
			}
			return nil
		case <-tick.C:
		}
		for _, k := range c.list() {
			c.poll(ctx, k)
		}
	}
}

func (c *catalogs) list() []*catalog {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*catalog, 0, len(c.all))
	for _, k := range c.all {
		all = append(all, k)
	}
	return all
}

// poll looks whether one catalog is still what the server has.
func (c *catalogs) poll(ctx context.Context, k *catalog) {
	c.mu.Lock()
	unused := time.Duration(0)
	if k.users == 0 {
		unused = time.Since(k.idle)
	}
	if unused > forgetAfter {
		delete(c.all, k.key)
	}
	c.mu.Unlock()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	default:
		return // somebody speaks to the server already
	}
	if unused > keepFor {
		k.hangUp()
		k.doubt.Store(true)
		return
	}
	if k.known.Load() == nil || k.client == nil {
		return // nothing was judged yet, or a statement is going to ask
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if _, err := k.check(ctx, nil); err != nil {
		k.doubt.Store(true)
		k.log.Warn("catalog not checked", "database", k.key.resource, "error", err)
	}
}

func (c *catalogs) times() map[string]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]time.Time, len(c.all))
	for key, k := range c.all {
		if at := k.checked.Load(); at != 0 && time.Unix(0, at).After(all[key.resource]) {
			all[key.resource] = time.Unix(0, at)
		}
	}
	return all
}

// suspect makes the next statement wait for a look at the server.
func (k *catalog) suspect() { k.doubt.Store(true); k.version.Add(1) }

// current returns the catalog, loaded if it has to be.
func (k *catalog) current(ctx context.Context) (*sql.Catalog, error) {
	if c := k.sure(); c != nil {
		return c, nil
	}
	return k.refresh(ctx, nil)
}

// sure returns the catalog if it can be used as it is, else nil.
func (k *catalog) sure() *sql.Catalog {
	if c := k.known.Load(); c != nil && !k.doubt.Load() {
		return c
	}
	return nil
}

// refresh returns a catalog that the server has confirmed after the call, or one
// that is newer than seen.
func (k *catalog) refresh(ctx context.Context, seen *sql.Catalog) (*sql.Catalog, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := k.known.Load(); c != nil && !k.doubt.Load() && c != seen {
		return c, nil // somebody else did it meanwhile
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	return k.check(ctx, seen)
}

// check asks the server and loads what is new. The caller has the turn.
func (k *catalog) check(ctx context.Context, seen *sql.Catalog) (*sql.Catalog, error) {
	fresh := k.client == nil
	c, err := k.ask(ctx)
	if err != nil && !fresh && ctx.Err() == nil {
		c, err = k.ask(ctx) // the connection was an old one
	}
	if err != nil {
		k.traffic.CatalogErrors.Add(1)
	}
	return c, err
}

func (k *catalog) ask(ctx context.Context) (*sql.Catalog, error) {
	if k.client == nil {
		conn, err := k.source.dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("reach %s for its catalog: %w", k.key.address, err)
		}
		if k.client, err = postgres.Connect(ctx, conn, k.source.config); err != nil {
			k.client = nil
			return nil, fmt.Errorf("log in to %s for its catalog: %w", k.key.address, err)
		}
	}
	// Doubts that arise from here on are about what is read now.
	k.doubt.Store(false)
	known := k.known.Load()
	epoch, err := sql.Epoch(ctx, k.client)
	if err == nil && (known == nil || known.Epoch != epoch) {
		known, err = sql.LoadCatalog(ctx, k.client)
		if err == nil {
			k.traffic.CatalogLoads.Add(1)
			k.known.Store(known)
			k.version.Add(1)
			if k.loaded != nil {
				k.loaded(k.key.resource, k.key.name, known, time.Now())
			}
		}
	}
	if err != nil {
		k.doubt.Store(true)
		k.hangUp()
		return nil, err
	}
	k.checked.Store(time.Now().UnixNano())
	return known, nil
}

// leave closes the connections to databases of a server that no session uses, so
// that one of them can be dropped or copied.
func (c *catalogs) leave(ctx context.Context, address string) {
	c.mu.Lock()
	if c.left == nil || len(c.left) > 1000 {
		c.left = make(map[string]time.Time)
	}
	c.left[address] = time.Now()
	var unused []*catalog
	for key, k := range c.all {
		if key.address == address && k.users == 0 {
			unused = append(unused, k)
		}
	}
	c.mu.Unlock()
	for _, k := range unused {
		select {
		case k.turn <- struct{}{}:
			k.hangUp()
			k.doubt.Store(true)
			<-k.turn
		case <-ctx.Done():
			return
		}
	}
}

func (k *catalog) hangUp() {
	if k.client != nil {
		k.client.Close()
		k.client = nil
	}
}
