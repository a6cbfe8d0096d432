package sql

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed settings.txt
var settingsText string

// SettingRule is what a session may do with one configuration parameter. The
// zero value is one that it may neither set nor show.
type SettingRule struct {
	Name   string // as PostgreSQL spells it
	Show   bool
	Set    bool
	Path   bool // changes how names resolve
	Reason string
	values []string
}

// BuiltinSetting returns the rule for a parameter; its name is matched without case.
func BuiltinSetting(setting string) SettingRule {
	if r := settingRules()[strings.ToLower(setting)]; r != nil {
		return *r
	}
	return SettingRule{}
}

// Allows reports whether the parameter may be set to value, given as it is
// between the quotes of SET or in a startup packet.
func (r *SettingRule) Allows(value string) bool {
	if !r.Set || strings.ContainsRune(value, 0) {
		return false
	}
	v := strings.ToLower(strings.TrimSpace(value))
	for _, want := range r.values {
		switch {
		case want == "*":
			return true
		case want == "bool" && boolean(v):
			return true
		case want == "utf8" && utf8Name(v):
			return true
		case strings.Contains(want, ".."):
			if inRange(v, want) {
				return true
			}
		case want == v:
			return true
		}
	}
	return false
}

// Values says in words what it may be set to, for a hint.
func (r *SettingRule) Values() string { return strings.Join(r.values, ", ") }

// boolean reports whether v is a boolean, which the server lets abbreviate.
func boolean(v string) bool {
	switch v {
	case "on", "of", "off", "1", "0":
		return true
	case "":
		return false
	}
	for _, w := range []string{"true", "false", "yes", "no"} {
		if strings.HasPrefix(w, v) {
			return true
		}
	}
	return false
}

// utf8Name compares names of encodings as the server does: letters and digits only.
func utf8Name(v string) bool {
	v = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		if c < 0x80 {
			return -1
		}
		return c
	}, v)
	return v == "utf8" || v == "unicode"
}

// inRange reports whether v is in a range such as -15..3 or 1ms..30s.
func inRange(v, want string) bool {
	lo, hi, _ := strings.Cut(want, "..")
	if from, err := strconv.ParseInt(lo, 10, 64); err == nil {
		to, _ := strconv.ParseInt(hi, 10, 64)
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && n >= from && n <= to
	}
	from, _ := duration(lo)
	to, _ := duration(hi)
	d, ok := duration(v)
	return ok && d >= from && d <= to
}

// duration reads what the server reads as a time with whole numbers; without a
// unit it is in milliseconds.
func duration(v string) (time.Duration, bool) {
	digits := strings.TrimLeft(v, "0123456789")
	n, err := strconv.ParseInt(v[:len(v)-len(digits)], 10, 32)
	if err != nil {
		return 0, false
	}
	unit := map[string]time.Duration{"": time.Millisecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour}[strings.TrimSpace(digits)]
	return time.Duration(n) * unit, unit != 0
}

var settingRules = sync.OnceValue(func() map[string]*SettingRule {
	rules := make(map[string]*SettingRule)
	var set, path bool
	var why string
	entries(settingsText, func(words []string, group, reason string) {
		set, path, why = words[0] == "set", group == "names", reason
	}, func(line string) {
		f := strings.Fields(line)
		key := strings.ToLower(f[0])
		if rules[key] != nil || set != (len(f) > 1) {
			panic("settings.txt: bad line: " + line)
		}
		r := &SettingRule{Name: f[0], Show: true, Set: set, Path: path, Reason: why}
		for _, v := range f[1:] {
			r.values = append(r.values, strings.ToLower(v))
		}
		rules[key] = r
	})
	return rules
})

// BuiltinSettings calls f with every listed parameter.
func BuiltinSettings(f func(SettingRule)) {
	for _, r := range settingRules() {
		f(*r)
	}
}

// StartupParameter reports whether a workload may send a parameter in its startup
// packet. The value of "options" is taken apart: each setting in it must be allowed.
// Parameters that begin with "_pq_." are extensions of the protocol, and for the
// codec to negotiate.
func StartupParameter(parameter, value string) bool {
	switch parameter {
	case "user", "database":
		return true
	case "options":
		settings, ok := StartupOptions(value)
		if !ok {
			return false
		}
		for _, s := range settings {
			if r := BuiltinSetting(s[0]); !r.Allows(s[1]) {
				return false
			}
		}
		return true
	}
	r := BuiltinSetting(parameter)
	return r.Allows(value)
}

// StartupOptions takes the command line in a startup packet's "options" apart,
// as the server does (pg_split_opts and process_postgres_switches), into names and
// values of settings. It is not ok if there is anything else in it.
func StartupOptions(options string) (settings [][2]string, ok bool) {
	words := splitOptions(options)
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case strings.HasPrefix(w, "--") && len(w) > 2:
			w = w[2:]
		case w == "-c" && i+1 < len(words):
			i++
			w = words[i]
		case strings.HasPrefix(w, "-c") && len(w) > 2:
			w = w[2:]
		default:
			return nil, false
		}
		key, value, found := strings.Cut(w, "=")
		if !found || key == "" {
			return nil, false
		}
		settings = append(settings, [2]string{strings.ReplaceAll(key, "-", "_"), value})
	}
	return settings, true
}

// splitOptions splits at white space that no backslash stands before.
func splitOptions(s string) []string {
	var words []string
	for i := 0; i < len(s); {
		if space(s[i]) {
			i++
			continue
		}
		var w []byte
		for ; i < len(s) && !space(s[i]); i++ {
			if s[i] == '\\' {
				i++
				if i == len(s) {
					break
				}
			}
			w = append(w, s[i])
		}
		words = append(words, string(w))
	}
	return words
}

func space(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r'
}
