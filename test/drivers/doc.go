// Package drivers runs a session of each driver that people use, against a
// database directly and through Sluice, with the same connection string, and
// compares what the program saw.
//
// The programs are below: each does the same steps as an application would, and
// prints a line "step: what came". They take the connection from PGHOST, PGPORT,
// PGUSER, PGPASSWORD and PGDATABASE, as such programs do.
//
//	connect-MODE  sslmode disable, prefer, require
//	select        a simple query
//	prepared      a prepared statement with a parameter
//	masked        three columns that Sluice masks
//	transaction   rows of a table before, in and after a transaction that is rolled back
//	batch         several statements sent at once, where the driver can
//	copy-out      lines of a COPY TO STDOUT
//	copy-in       rows after a COPY FROM STDIN
//	listen        a notification to itself
//	error-*       SQLSTATE, and DETAIL where there is one
//	denied        a table that Sluice's policy does not grant
//	cancel        SQLSTATE of a cancelled statement
//	large         100,000 rows: their number and sum
//	cursor        5,000 rows through a cursor or with a fetch size
//	types         one value of each common type
package drivers
