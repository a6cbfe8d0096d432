package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// client is this program under a path: it times one statement, or holds idle
// sessions until its standard input ends.
//
//	client time SQL
//	client idle N
//	client processor PIDS COMMAND...
func client(args []string) error {
	if len(args) > 2 && args[0] == "processor" {
		return processorTime(args[1], args[2:])
	}
	if len(args) != 2 {
		return fmt.Errorf("usage: client time SQL | idle N")
	}
	ctx := context.Background()
	if args[0] == "time" {
		return timeStatement(ctx, args[1])
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return idle(ctx, n)
}

// timeStatement prints the seconds from sending sql to the end of its result,
// reading values but making nothing of them.
func timeStatement(ctx context.Context, sql string) error {
	conn, err := pgconn.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
		return err
	}
	began := time.Now()
	rows := 0
	if strings.HasPrefix(sql, "COPY") {
		tag, err := conn.CopyTo(ctx, io.Discard, sql)
		if err != nil {
			return err
		}
		rows = int(tag.RowsAffected())
	} else {
		r := conn.ExecParams(ctx, sql, nil, nil, nil, nil)
		for r.NextRow() {
			rows++
		}
		if _, err := r.Close(); err != nil {
			return err
		}
	}
	took := time.Since(began)
	if rows < 500_000 {
		return fmt.Errorf("only %d rows came", rows)
	}
	fmt.Printf("%.4f\n", took.Seconds())
	return nil
}

// idle opens n sessions, uses each once, says so, and waits.
func idle(ctx context.Context, n int) error {
	for range n {
		conn, err := pgconn.Connect(ctx, "")
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
			return err
		}
		defer conn.Close(ctx)
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
