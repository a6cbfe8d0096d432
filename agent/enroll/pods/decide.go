package pods

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/policy"
)

// Label on a pod, or on its namespace, says "true" or "false". That of the pod counts
// first: also "false", so that who may label pods may take one out of a namespace.
const Label = "sluicegate.io/enroll"

// Trust is the annotation of a pod that is to be given Sluice's certificate authority.
const Trust = "sluicegate.io/trust"

// decide tells if a pod is enrolled, and because of what. namespace are the labels of its
// namespace, known tells if they are.
func decide(w *policy.Workload, namespace map[string]string, known bool, picked *policy.Enrolment) (enroll.Decision, string) {
	if d, ok := said(w.Labels); ok {
		return d, "its label " + Label
	}
	if d, ok := said(namespace); ok {
		return d, "the label " + Label + " of its namespace"
	}
	if picked != nil {
		return enroll.Enrolled, "Workload " + picked.Name
	}
	if !known {
		return enroll.Undecided, "the labels of its namespace are not known"
	}
	return enroll.Exempt, "no label"
}

// said reads the label. What is neither true nor false asks for something: it is taken
// for true, as a typing error must not open a door.
func said(labels map[string]string) (enroll.Decision, bool) {
	switch v, ok := labels[Label]; {
	case !ok:
		return 0, false
	case strings.EqualFold(v, "false"):
		return enroll.Exempt, true
	}
	return enroll.Enrolled, true
}

// privileges is what the specification of a pod lets it do to get around the redirection.
type privileges struct {
	hostNetwork bool
	breaks      string // why it can, whatever is done; "" if it cannot
	packets     bool   // NET_RAW or NET_ADMIN over its own network: the guard of its veth holds that
}

// breaking are capabilities that nothing holds; see section 6 of docs/threat-model.md.
var breaking = map[corev1.Capability]string{
	"SYS_ADMIN":  "it can detach the programs, leave its cgroup and enter other namespaces",
	"BPF":        "it can attach programs that run before these",
	"ALL":        "it has all capabilities",
	"SYS_MODULE": "it can load code into the kernel", "SYS_RAWIO": "it can write to the kernel's memory",
}

// judge reads the specification of a pod.
func judge(spec *corev1.PodSpec) privileges {
	p := privileges{hostNetwork: spec.HostNetwork}
	all := make([]corev1.Container, 0, len(spec.Containers)+len(spec.InitContainers)+len(spec.EphemeralContainers))
	all = append(append(all, spec.Containers...), spec.InitContainers...)
	for i := range spec.EphemeralContainers {
		all = append(all, corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	for i := range all {
		p.container(spec, &all[i])
	}
	for i := range spec.Volumes {
		if h := spec.Volumes[i].HostPath; h != nil {
			if why := reaches(h.Path); why != "" {
				p.set("it mounts " + h.Path + " of the host: " + why)
			}
		}
	}
	return p
}

func (p *privileges) set(why string) {
	if p.breaks == "" {
		p.breaks = why
	}
}

func (p *privileges) container(spec *corev1.PodSpec, c *corev1.Container) {
	raw := true // of the runtime's default
	admin, ptrace := false, false
	if s := c.SecurityContext; s != nil {
		if s.Privileged != nil && *s.Privileged {
			p.set("container " + c.Name + " is privileged")
		}
		if s.Capabilities != nil {
			for _, d := range s.Capabilities.Drop {
				if d = capability(d); d == "ALL" || d == "NET_RAW" {
					raw = false
				}
			}
			for _, a := range s.Capabilities.Add {
				a = capability(a)
				if why := breaking[a]; why != "" {
					p.set("container " + c.Name + " has CAP_" + string(a) + ": " + why)
				}
				raw = raw || a == "NET_RAW"
				admin = admin || a == "NET_ADMIN"
				ptrace = ptrace || a == "SYS_PTRACE"
			}
		}
	}
	if ptrace && spec.HostPID {
		p.set("container " + c.Name + " has CAP_SYS_PTRACE and sees the processes of the host")
	}
	if raw || admin {
		p.packets = true
		if spec.HostNetwork {
			p.set("container " + c.Name + " has CAP_NET_RAW or CAP_NET_ADMIN over the network of the host, where no veth can be guarded: drop NET_RAW")
		}
	}
}

func capability(c corev1.Capability) corev1.Capability {
	return corev1.Capability(strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"))
}

// open are folders of the host that give their reader more than a pod may have.
var open = []struct{ dir, why string }{
	{"/sys/fs/cgroup/", "it can move itself out of its cgroup"},
	{"/sys/fs/bpf/", "it can remove what holds it"},
	{"/run/containerd/", "it can start containers that are not held"},
	{"/var/run/containerd/", "it can start containers that are not held"},
	{"/run/crio/", "it can start containers that are not held"},
	{"/var/run/crio/", "it can start containers that are not held"},
	{"/run/docker.sock/", "it can start containers that are not held"},
	{"/var/run/docker.sock/", "it can start containers that are not held"},
	{"/run/nri/", "it can change containers as they start"},
	{"/var/run/nri/", "it can change containers as they start"},
	{"/proc/", "it can act through processes of the host"},
	{"/etc/kubernetes/", "it can start pods that are not held"},
	{"/var/lib/kubelet/", "it can read what other pods are given"},
	{"/var/lib/containerd/", "it can change the files of other containers"},
	{"/var/lib/sluice/", "it can read what Sluice keeps"},
}

// reaches says what a folder of the host gives, "" for one that gives nothing.
func reaches(path string) string {
	path = strings.TrimSuffix(path, "/") + "/"
	for _, o := range open {
		if strings.HasPrefix(path, o.dir) || strings.HasPrefix(o.dir, path) {
			return o.why
		}
	}
	return ""
}
