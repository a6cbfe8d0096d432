package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
)

func TestStatusTellsMisfits(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	printStatus(cmd, &agent.Status{Ready: true, Misfits: map[string][]string{
		"b": {"x.yaml:3:4: no column matches app.t.c"}, "a": {"app.t.n reads as NULL"}}})
	want := "misfit      database a: app.t.n reads as NULL\nmisfit      database b: x.yaml:3:4: no column matches app.t.c\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("%s\nwant %s", &out, want)
	}
}
