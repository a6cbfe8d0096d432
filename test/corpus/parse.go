package corpus

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Expect is what a correct proxy does with a case.
type Expect string

// The words that a case may use.
const (
	Allow      Expect = "allow"        // runs, unchanged
	Mask       Expect = "mask"         // runs, and shows masks
	Deny       Expect = "deny"         // refused
	Approve    Expect = "approve"      // held for a human; refused where there is none
	MaskOrDeny Expect = "mask-or-deny" // either, but no raw value
	Scope      Expect = "scope"        // runs on a masked view of the data, or is refused
)

// A Case is one attempt, or one ordinary use.
type Case struct {
	ID       string
	Note     string // the comment lines on its top
	Expect   Expect
	Leak     *regexp.Regexp // nil: none
	Effect   string         // SQL for a superuser afterwards; 't' proves the effect
	As       string         // role, default app_rw
	Via      string         // how the text is sent, default "simple"; see [Case.Run]
	Bind     *string        // the one parameter
	Messages []string       // one a wire message
	Line     int            // in its file
}

// Parse reads a file of cases. name appears in errors.
func Parse(name, text string) ([]Case, error) {
	var cases []Case
	var body []string
	flush := func() error {
		if len(cases) == 0 {
			return nil
		}
		c := &cases[len(cases)-1]
		if err := c.setBody(body); err != nil {
			return fmt.Errorf("%s:%d: case %s: %w", name, c.Line, c.ID, err)
		}
		body = nil
		return nil
	}
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "-- @case "):
			if err := flush(); err != nil {
				return nil, err
			}
			c, err := parseHead(strings.TrimPrefix(line, "-- @case "))
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			c.Line = i + 1
			cases = append(cases, c)
		case strings.HasPrefix(line, "-- ===="): // a title between groups
		default:
			if len(cases) > 0 {
				body = append(body, line)
			}
		}
	}
	return cases, flush()
}

// parseHead reads "ID | key=value | ...". Values keep their trailing blanks,
// since a regular expression may end in one.
func parseHead(head string) (Case, error) {
	fields := strings.Split(head, " | ")
	c := Case{ID: strings.TrimSpace(fields[0]), As: "app_rw", Via: "simple"}
	escape := false
	for _, f := range fields[1:] {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return c, fmt.Errorf("case %s: %q is not key=value", c.ID, f)
		}
		switch key {
		case "expect":
			c.Expect = Expect(value)
		case "leak":
			re, err := regexp.Compile(value)
			if err != nil {
				return c, fmt.Errorf("case %s: %w", c.ID, err)
			}
			c.Leak = re
		case "effect":
			c.Effect = value
		case "as":
			c.As = value
		case "via":
			c.Via = value
		case "bind":
			c.Bind = &value
		case "escape":
			escape = value == "1"
		default:
			return c, fmt.Errorf("case %s: unknown key %q", c.ID, key)
		}
	}
	if escape {
		c.Messages = []string{"\\"} // told apart by setBody, which replaces it
	}
	switch c.Expect {
	case Allow, Mask, Deny, Approve, MaskOrDeny, Scope:
		return c, nil
	}
	return c, fmt.Errorf("case %s: unknown expect %q", c.ID, c.Expect)
}

var hexEscape = regexp.MustCompile(`\\x[0-9a-fA-F]{2}`)

func (c *Case) setBody(lines []string) error {
	escape := len(c.Messages) == 1
	for len(lines) > 0 && strings.HasPrefix(lines[0], "--") && lines[0] != "-- @next" {
		c.Note = strings.TrimSpace(c.Note + " " + strings.TrimPrefix(lines[0], "--"))
		lines = lines[1:]
	}
	c.Messages = nil
	for _, text := range strings.Split(strings.Join(lines, "\n"), "\n-- @next\n") {
		text = strings.Trim(text, "\n")
		if escape {
			text = hexEscape.ReplaceAllStringFunc(text, func(s string) string {
				n, _ := strconv.ParseUint(s[2:], 16, 8)
				return string([]byte{byte(n)})
			})
		}
		if text != "" || strings.HasPrefix(c.Via, "fcall:") {
			c.Messages = append(c.Messages, text)
		}
	}
	if len(c.Messages) == 0 {
		return fmt.Errorf("no text")
	}
	return nil
}
