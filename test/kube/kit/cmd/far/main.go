// Command far runs commands on another machine: the virtual one that holds the nodes.
//
//	far serve ADDRESS           runs whatever it is asked to; only for a network of one's own
//	far run ADDRESS COMMAND...  prints what the command printed there, and ends with its status
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// order is a command, and the directory to run it in.
type order struct {
	Dir  string
	Argv []string
}

const statusHeader = "Exit-Status"

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = http.ListenAndServe(os.Args[2], http.HandlerFunc(serve))
	case len(os.Args) > 3 && os.Args[1] == "run":
		err = run(os.Args[2], os.Args[3:])
	default:
		err = errors.New("usage: far serve ADDRESS, far run ADDRESS COMMAND...")
	}
	fmt.Fprintln(os.Stderr, "far:", err)
	os.Exit(125)
}

func serve(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil || len(o.Argv) == 0 {
		http.Error(w, "no order", http.StatusBadRequest)
		return
	}
	cmd := exec.Command(o.Argv[0], o.Argv[1:]...)
	cmd.Dir = o.Dir
	out, err := cmd.CombinedOutput()
	status := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		out, status = fmt.Appendln(out, err), 127
	}
	w.Header().Set(statusHeader, strconv.Itoa(status))
	w.Write(out)
}

// run ends the process with the status of the command, unless there is an error.
func run(address string, argv []string) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	body, err := json.Marshal(order{dir, argv})
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}
	answer, err := client.Post("http://"+address, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	status, err := strconv.Atoi(answer.Header.Get(statusHeader))
	if err != nil {
		return fmt.Errorf("%s: %s", address, answer.Status)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	os.Exit(status)
	return nil
}
