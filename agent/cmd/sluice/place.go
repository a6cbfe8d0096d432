package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"sluicegate.io/sluice/agent"
)

// place says where an agent keeps things.
type place struct{ config, state, socket string }

func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.state, "state", "", "state directory (default: as --config says, or /var/lib/sluice)")
	cmd.Flags().StringVar(&p.config, "config", "", "file or directory of resources, to find the state directory")
	cmd.MarkFlagDirname("state")
	cmd.MarkFlagFilename("config")
}

// dirs returns the state directory and that of recordings.
func (p *place) dirs() (state, records string, err error) {
	if p.config == "" {
		state = p.state
		if state == "" {
			state = "/var/lib/sluice"
		}
		return state, filepath.Join(state, "sessions"), nil
	}
	set, _, err := agent.LoadConfig(p.config)
	if err != nil {
		return "", "", errors.New(agent.Explain(err))
	}
	state, records = agent.StateDirs(set, p.state)
	return state, records, nil
}

// recordings returns the directory of recordings. A place where no agent has been is
// wrong, and not empty; one from which they were taken is not whole.
func (p *place) recordings() (string, error) {
	state, records, err := p.dirs()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(records); !errors.Is(err, fs.ErrNotExist) {
		return records, nil // what is wrong with it otherwise, reading will tell
	}
	if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no state directory %s: name that of the agent with --state, or its configuration with --config", state)
	}
	if _, err := os.Stat(filepath.Join(state, "mask.key")); err == nil {
		return "", fmt.Errorf("the recordings are gone: an agent has been in %s, and there is no %s", state, records)
	}
	return records, nil
}

// admin asks the admin socket of a daemon and decodes its answer into v.
func (p *place) admin(ctx context.Context, path string, v any) error {
	socket := p.socket
	if socket == "" {
		socket = filepath.Join(defaultRun, "admin.sock")
		if p.config != "" {
			set, _, err := agent.LoadConfig(p.config)
			if err != nil {
				return errors.New(agent.Explain(err))
			}
			socket = set.Agent().Admin.Socket
		}
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sluice"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no agent answers at %s (or it does not serve this user): %w", socket, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent at %s answers %s", socket, strings.ToLower(resp.Status))
	}
	return json.NewDecoder(resp.Body).Decode(v)
}
