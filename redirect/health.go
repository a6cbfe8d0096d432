package redirect

// A ProblemCode names a kind of [Problem].
type ProblemCode string

// What can be wrong with an installation.
const (
	ProblemDetached  ProblemCode = "detached"   // a program is not attached where it was put
	ProblemNoParent  ProblemCode = "no-parent"  // the parent cgroup is gone
	ProblemNotActive ProblemCode = "not-active" // attached, but not among the effective programs
	ProblemStranger  ProblemCode = "stranger"   // somebody else's program can steer our connections
	ProblemNoListen  ProblemCode = "no-listener"
	ProblemNoSteer   ProblemCode = "no-steer" // a namespace lacks its sk_lookup program
	ProblemPressure  ProblemCode = "pressure" // a table is nearly full
	ProblemUnknown   ProblemCode = "unknown"  // the kernel did not answer
)

// A Problem is one way in which the kernel is not as this process left it.
type Problem struct {
	Code  ProblemCode
	Netns uint64 // the cookie of the namespace, or 0
	Text  string // one sentence
}

// Health asks the kernel what it runs. No problem means that every program is
// effective where it belongs and every listener is reachable.
func (k *Kernel) Health() []Problem {
	return []Problem{{Code: ProblemUnknown, Text: "not opened"}}
}
