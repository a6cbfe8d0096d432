package corpus

import (
	"fmt"
	"regexp"
	"strings"
)

// canaries are values of setup.sql that no workload may see in any message,
// whatever the case says about leaks.
var canaries = regexp.MustCompile(`123-45-6789|987-65-4321|555-12-3456|alice@example\.com|bob@example\.com|` +
	`carol@example\.com|4111-1111-1111-1111|5500-0000-0000-0004|3400-000000-00009|TOPSECRET-42`)

// refusals are the SQLSTATEs that a refusal may carry. A wrong answer of the
// server itself must not pass for a refusal, except where a statement ran on
// masks and its error was withheld.
var refusals = map[string]bool{
	"42501": true, // insufficient privilege
	"0A000": true, // feature not supported
	"08P01": true, // protocol violation
	"22021": true, // text that cannot be read
	"22023": true, // a parameter that may not be changed
	"25P02": true, // in a transaction that a refusal ended
	"26000": true, // a prepared statement that was refused
	"28000": true, // the session itself
	"34000": true, // a cursor that was refused
	"42601": true, // syntax error
	"42704": true, // a setting that was not made
	"42883": true, // no such function, operator
	"42P01": true, // no such relation
	"53400": true, // over a limit
}

// withheld marks an error of the server from which values were taken out.
const withheld = "details withheld"

// harmless are the commands that leave a database as it was.
var harmless = regexp.MustCompile(`^(SELECT|COPY|FETCH|SHOW|SET|RESET|BEGIN|COMMIT|ROLLBACK|PREPARE|DEALLOCATE|DECLARE CURSOR|CLOSE CURSOR|EXPLAIN|DISCARD)\b`)

// Harmless reports whether nothing completed that could have changed the database.
func (t *Transcript) Harmless() bool {
	for line := range strings.Lines(t.Text) {
		if tag, ok := strings.CutPrefix(line, "CommandComplete "); ok && !harmless.MatchString(tag) {
			return false
		}
	}
	return true
}

// Check says what is wrong with the way a proxy answered a bypass case, "" if
// nothing is. effect is the answer to c.Effect.
func (c Case) Check(t *Transcript, effect string) string {
	if c.Expect != Allow {
		if c.Leak != nil {
			if m := c.Leak.FindString(t.Text); m != "" {
				return fmt.Sprintf("LEAK: %q", clip(m))
			}
		}
		if m := canaries.FindString(t.Text); m != "" {
			return fmt.Sprintf("LEAK: raw value %q", m)
		}
	}
	if effect == "t" && c.Expect != Allow {
		return "the effect took place"
	}
	refused := len(t.Codes) > 0 || t.Closed
	switch c.Expect {
	case Allow, Mask:
		if refused {
			return "refused: " + strings.Join(t.Errors, "; ")
		}
		if t.Rows == 0 {
			return "no rows came back"
		}
	case Deny, Approve:
		if !refused {
			return "was not refused"
		}
		fallthrough
	case MaskOrDeny, Scope:
		for i, code := range t.Codes {
			// What a refused message would have made is not there for the next one.
			if !refusals[code] && !strings.Contains(t.Errors[i], withheld) && (code != "42703" || len(t.Codes) == 1) {
				return fmt.Sprintf("ended in SQLSTATE %s, which is the server's error and no refusal: %s", code, strings.Join(t.Errors, "; "))
			}
		}
	}
	return ""
}

// CheckBenign says what is wrong with the way a proxy answered a case that must
// keep working: Leak then is what has to come back.
func (c Case) CheckBenign(t *Transcript) string {
	if len(t.Codes) > 0 || t.Closed {
		return "refused: " + strings.Join(t.Errors, "; ")
	}
	if c.Leak != nil && !c.Leak.MatchString(t.Text) {
		return fmt.Sprintf("nothing matches %v in %q", c.Leak, clip(t.Text))
	}
	if c.Expect != Allow {
		if m := canaries.FindString(t.Text); m != "" {
			return fmt.Sprintf("LEAK: raw value %q", m)
		}
	}
	return ""
}

// CheckDirect says whether a case shows what it claims on a bare server.
func (c Case) CheckDirect(t *Transcript, effect string) string {
	if c.Leak != nil && !c.Leak.MatchString(t.Text) {
		return fmt.Sprintf("%v does not match %q", c.Leak, clip(t.Text))
	}
	if c.Effect != "" && effect != "t" {
		return fmt.Sprintf("effect is %q, the server said %q", effect, clip(t.Text))
	}
	return ""
}

func clip(s string) string {
	if len(s) > 400 {
		return s[:400] + "..."
	}
	return s
}
