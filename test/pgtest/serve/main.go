// Command serve runs one PostgreSQL of package pgtest until its standard input
// ends, for scripts. It prints what a shell needs to reach it.
//
//	serve [-auth scram-sha-256] [-password P] [-database NAME]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"sluicegate.io/sluice/test/pgtest"
)

func main() {
	auth := flag.String("auth", "scram-sha-256", "method for TCP in pg_hba.conf")
	password := flag.String("password", pgtest.DefaultPassword, "password of every login role")
	database := flag.String("database", "shop", "name of the corpus database")
	flag.Parse()
	if err := serve(*auth, *password, *database); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func serve(auth, password, database string) error {
	s, err := pgtest.New(pgtest.Options{Auth: auth, Password: password})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.CreateDatabase(database); err != nil {
		return err
	}
	fmt.Printf("PORT=%d\nSOCKET=%s\nready=1\n", s.Port, s.Dir)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
