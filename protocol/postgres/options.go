package postgres

import (
	"strings"

	"sluicegate.io/sluice/protocol"
)

// harmless are the startup parameters that HarmlessSetting knows.
var harmless = map[string]bool{
	"application_name": true, "datestyle": true, "intervalstyle": true, "timezone": true,
	"extra_float_digits": true, "bytea_output": true, "client_min_messages": true,
	"lc_messages": true, "lc_monetary": true, "lc_numeric": true, "lc_time": true, "geqo": true,
	"search_path": true,
}

// HarmlessSetting reports whether a startup parameter may be set by anyone: it
// changes how values look, what a session is called, or how names resolve (which
// is asked of the server before a name is judged), and no limit or right.
func HarmlessSetting(name string) bool { return harmless[strings.ToLower(name)] }

// UnknownSetting is the refusal of a startup parameter that is not on the list.
func UnknownSetting(name string) *protocol.Refusal {
	return &protocol.Refusal{Code: "42501", Fatal: true,
		Message: "the startup parameter " + printable([]byte(name)) + " is not allowed",
		Hint:    "Connect without it."}
}

// pins are the settings that the analysis of statements relies on. They are sent
// in each startup packet, and those that the server reports are watched.
var pins = []Setting{
	{"client_encoding", "UTF8"},
	{"standard_conforming_strings", "on"},
	{"backslash_quote", "safe_encoding"},
}

// pinned tells why a reported setting ends the session, nil if it does not.
func pinned(name, value string) *protocol.Refusal {
	switch {
	case name == "client_encoding" && value != "UTF8",
		name == "standard_conforming_strings" && value != "on":
		return &protocol.Refusal{Code: "42501", Fatal: true,
			Message: "the setting " + name + " has been changed, and statements could no longer be read safely"}
	}
	return nil
}

// acceptPin tells what to do with a client's own value for a pinned setting:
// known is false for others, and ok false if it is another value.
func acceptPin(name, value string) (known, ok bool) {
	switch strings.ToLower(name) {
	case "client_encoding":
		// A client in the C locale asks for SQL_ASCII, and learns from
		// ParameterStatus that it is UTF8.
		switch strings.ToLower(strings.NewReplacer("-", "", "_", "", "'", "").Replace(value)) {
		case "utf8", "unicode", "sqlascii":
			return true, true
		}
		return true, false
	case "standard_conforming_strings":
		switch strings.ToLower(value) {
		case "on", "true", "yes", "1":
			return true, true
		}
		return true, false
	case "backslash_quote":
		return true, strings.EqualFold(value, "safe_encoding")
	}
	return false, false
}

// splitOptions splits the "options" parameter as the server does: at white
// space, where a backslash makes the next character an ordinary one.
func splitOptions(s string) []string {
	var words []string
	var word strings.Builder
	in := false
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == '\\' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			in = true
		case b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\v' || b == '\f':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteByte(b)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}

// parseOptions returns the settings of an "options" parameter. Only -c name=value
// and --name=value are known.
func parseOptions(s string) ([]Setting, *protocol.Refusal) {
	words := splitOptions(s)
	var list []Setting
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "-c" && i+1 < len(words):
			i++
			word = words[i]
		case strings.HasPrefix(word, "-c"):
			word = word[2:]
		case strings.HasPrefix(word, "--"):
			word = word[2:]
		default:
			return nil, &protocol.Refusal{Code: "42501", Fatal: true,
				Message: "only -c name=value and --name=value are allowed in the startup parameter options"}
		}
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return nil, &protocol.Refusal{Code: "42601", Fatal: true, Message: "a setting in the startup parameter options has no value"}
		}
		list = append(list, Setting{strings.ReplaceAll(name, "-", "_"), value})
	}
	return list, nil
}

// judgeSettings returns the settings to send for those that a client asked for.
func judgeSettings(asked, ours []Setting, judge func(name, value string) *protocol.Refusal) ([]Setting, *protocol.Refusal) {
	out := make([]Setting, 0, len(asked)+len(ours)+len(pins))
	at := map[string]int{}
	set := func(s Setting) {
		key := strings.ToLower(s.Name)
		if i, ok := at[key]; ok {
			out[i] = s
			return
		}
		at[key] = len(out)
		out = append(out, s)
	}
	for _, s := range asked {
		if known, ok := acceptPin(s.Name, s.Value); known {
			if !ok {
				return nil, &protocol.Refusal{Code: "42501", Fatal: true,
					Message: "the startup parameter " + printable([]byte(s.Name)) + " cannot have that value",
					Hint:    "client_encoding has to be UTF8, standard_conforming_strings on, and backslash_quote safe_encoding."}
			}
			continue
		}
		if judge != nil {
			if why := judge(s.Name, s.Value); why != nil {
				return nil, why
			}
		} else if !HarmlessSetting(s.Name) {
			return nil, UnknownSetting(s.Name)
		}
		set(s)
	}
	for _, s := range ours {
		set(s)
	}
	for _, s := range pins {
		set(s)
	}
	return out, nil
}
