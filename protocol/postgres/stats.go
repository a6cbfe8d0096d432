package postgres

import "sync/atomic"

// Stats counts events of all sessions since the Server was made. Each field is
// read with Load.
type Stats struct {
	Sessions        atomic.Int64 // open now, past login
	Opened          atomic.Int64 // sessions that got past login
	Failed          atomic.Int64 // connections that did not, CancelRequests aside
	BytesFromClient atomic.Int64
	BytesToClient   atomic.Int64
	BytesFromServer atomic.Int64
	BytesToServer   atomic.Int64
	Cancels         atomic.Int64 // CancelRequests that found their session at work
	CancelsIgnored  atomic.Int64 // others
	Refusals        atomic.Int64 // statements that were not forwarded
	Limited         atomic.Int64 // statements ended for a limit
	Violations      atomic.Int64 // sessions ended for a protocol violation, by either side
	PoolIdle        atomic.Int64 // sessions of servers that wait for a client now, or are being reset
	PoolHits        atomic.Int64 // clients served by one of them
	PoolMisses      atomic.Int64 // clients for whom there was none
	PoolDiscards    [Discards]atomic.Int64
}
