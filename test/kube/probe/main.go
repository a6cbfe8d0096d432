// Command probe is what pods of the test run: its first instructions are socket, connect,
// write and read. It prints where its connection ended: "sluice" (which offers TLS),
// "database" (which has none), "refused", or "timeout" if nothing came of it.
//
//	probe first ADDRESS    once, at once; then it waits to be deleted
//	probe once ADDRESS     once, and ends
//	probe loop ADDRESS     up to five times a second, and prints what changes
//	probe hold ADDRESS     connects, and prints when the connection is cut
//	probe packets ADDRESS  sends packets past all sockets, and prints what changes; see packets
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// sslRequest asks a PostgreSQL server if it has TLS: 'S' or 'N'.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// patience is long, as machines that are emulated are slow.
const patience = 30 * time.Second

func ask(to string) (net.Conn, string) {
	failed := func(err error) string {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "timeout"
		}
		return "refused"
	}
	c, err := net.DialTimeout("tcp", to, patience)
	if err != nil {
		return nil, failed(err)
	}
	answer := make([]byte, 1)
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(sslRequest); err != nil {
		return c, failed(err)
	}
	if _, err := c.Read(answer); err != nil {
		return c, failed(err)
	}
	return c, map[byte]string{'S': "sluice", 'N': "database"}[answer[0]]
}

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	to := os.Args[2]
	if os.Args[1] == "packets" {
		packets(to)
		return
	}
	c, where := ask(to)
	fmt.Println(where)
	switch os.Args[1] {
	case "first":
		time.Sleep(time.Hour)
	case "loop":
		for took := time.Duration(0); ; {
			if c != nil {
				c.Close()
			}
			// Where a connection takes long, as on an emulated machine, others want the time.
			time.Sleep(max(200*time.Millisecond, 4*took))
			began := time.Now()
			var now string
			c, now = ask(to)
			took = time.Since(began)
			if now != where {
				where = now
				fmt.Println(where)
			}
		}
	case "hold":
		if c == nil {
			os.Exit(1)
		}
		c.SetDeadline(time.Time{})
		c.Read(make([]byte, 1))
		fmt.Println("cut")
		time.Sleep(time.Hour)
	}
}
