package policy

import "time"

// Subject is who is asking: what the kernel knows, always; what the host or the
// cluster knows of the workload; what a verified token says. A field that is not
// proven is empty, and an empty field matches no rule.
type Subject struct {
	Process  Process
	Workload Workload
	Token    *Token // nil: none, or none that is valid
}

// Process is what the kernel said of the connecting process.
type Process struct {
	PID    uint32
	UID    uint32
	User   string // name of UID on the host, "" if it has none
	Exe    string // path of the executable as the host sees it
	Cgroup string // path below the cgroup2 mount
}

// Workload is what enrolled it: a resource, a pod, or a command.
type Workload struct {
	Name           string // kind Workload's name, or "exec"
	Namespace      string
	Pod            string
	PodUID         string // tells it from another one of that name, "" if not known
	ServiceAccount string // name only; Namespace qualifies it
	Container      string
	Labels         map[string]string
}

// Token is a verified OIDC token.
type Token struct {
	Issuer   string
	Subject  string
	Audience []string
	Groups   []string
	Claims   map[string]any
	Expires  time.Time
}

// String names the subject for recordings and audit: the most specific name that
// is proven. It holds no secret.
func (s *Subject) String() string {
	switch {
	case s.Token != nil && s.Token.Subject != "":
		return s.Token.Subject
	case s.Workload.ServiceAccount != "":
		return s.Workload.Namespace + "/" + s.Workload.ServiceAccount
	case s.Workload.Pod != "":
		return s.Workload.Namespace + "/" + s.Workload.Pod
	case s.Process.User != "":
		return s.Process.User
	}
	return s.Workload.Name
}

// Audit names the subject for the server's own audit: who acts, and for whom, if the
// token says that somebody acts for its subject (RFC 8693, section 4.1).
func (s *Subject) Audit() string {
	if s.Token != nil {
		if act, ok := s.Token.Claims["act"].(map[string]any); ok {
			if actor, ok := act["sub"].(string); ok && actor != "" && s.Token.Subject != "" {
				return actor + " for " + s.Token.Subject
			}
		}
	}
	return s.String()
}

// Account names whose budgets a subject spends. Unlike [Subject.String] it tells apart
// what only has the same name: subjects of two issuers, a user and a workload.
func (s *Subject) Account() string {
	const end = "\x00" // in no name
	switch {
	case s.Token != nil && s.Token.Subject != "":
		return "token" + end + s.Token.Issuer + end + s.Token.Subject
	case s.Workload.ServiceAccount != "":
		return "account" + end + s.Workload.Namespace + end + s.Workload.ServiceAccount
	case s.Workload.Pod != "":
		return "pod" + end + s.Workload.Namespace + end + s.Workload.Pod
	case s.Process.User != "":
		return "user" + end + s.Process.User
	}
	return "workload" + end + s.Workload.Name
}
