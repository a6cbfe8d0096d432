package redirect

// A Level says how bad a [Finding] is.
type Level int

// Levels, worst first: the zero value is the one that stops.
const (
	Fatal    Level = iota // redirection cannot run here
	Degraded              // it runs, and something is weaker or missing
	Good
)

// A Finding is one line of what this host can do.
type Finding struct {
	Name  string // "kernel", "btf", "program sk_lookup", …
	Level Level
	Text  string // what was found, and what follows from it
}

// Probe finds out what this kernel and host offer. It changes nothing.
func Probe() []Finding {
	return []Finding{{Name: "probe", Level: Fatal, Text: "not built yet"}}
}
