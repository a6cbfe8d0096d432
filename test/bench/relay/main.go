// Command relay copies bytes between two TCP connections and does nothing else.
// It is what a proxy in Go costs before it has looked at a single byte.
//
//	relay LISTEN TARGET
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: relay LISTEN TARGET")
		os.Exit(2)
	}
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go relay(c.(*net.TCPConn), os.Args[2])
	}
}

func relay(client *net.TCPConn, target string) {
	defer client.Close()
	c, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	done := make(chan struct{})
	go func() {
		copyBytes(server, client)
		server.CloseWrite()
		close(done)
	}()
	copyBytes(client, server)
	client.CloseWrite()
	<-done
}

// copyBytes reads and writes in user space, as a proxy that looks at the bytes
// has to; io.Copy between two sockets would have the kernel splice them.
func copyBytes(to io.Writer, from io.Reader) {
	io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 32<<10))
}
