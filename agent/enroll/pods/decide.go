package pods

import (
	"path/filepath"
	"slices"
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
	packets     bool              // NET_RAW or NET_ADMIN over its own network: the guard of its veth holds that
	breaks      map[string]string // by container that was judged: why it can, whatever is done; "" if it cannot
}

// breaking are capabilities that nothing holds; see section 6 of docs/threat-model.md.
var breaking = map[corev1.Capability]string{
	"SYS_ADMIN":       "it can detach the programs, leave its cgroup and enter other namespaces",
	"BPF":             "it can attach programs that run before these",
	"ALL":             "it has all capabilities",
	"SYS_MODULE":      "it can load code into the kernel",
	"SYS_RAWIO":       "it can write to the kernel's memory",
	"PERFMON":         "it can read the memory of other processes",
	"DAC_READ_SEARCH": "it can open any file of the host's file systems by its handle",
}

// has reports whether a container was judged.
func (p *privileges) has(container string) bool {
	_, judged := p.breaks[container]
	return judged
}

// judge reads the specification of a pod.
func judge(spec *corev1.PodSpec) privileges {
	p := privileges{hostNetwork: spec.HostNetwork, breaks: map[string]string{}}
	for _, c := range containersOf(spec) {
		p.breaks[c.Name] = p.container(spec, c)
	}
	return p
}

// containersOf returns all that run in a pod, ephemeral ones among them.
func containersOf(spec *corev1.PodSpec) []*corev1.Container {
	var all []*corev1.Container
	for _, part := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range part {
			all = append(all, &part[i])
		}
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		all = append(all, &c)
	}
	return all
}

// container tells why a container could get around the redirection, "" if it could not, and
// notes if it has packets.
func (p *privileges) container(spec *corev1.PodSpec, c *corev1.Container) (why string) {
	packets := true // NET_RAW is of the runtime's default
	if s := c.SecurityContext; s != nil {
		if s.Capabilities != nil {
			for _, d := range s.Capabilities.Drop {
				if d = capability(d); d == "ALL" || d == "NET_RAW" {
					packets = false
				}
			}
			for _, a := range s.Capabilities.Add {
				a = capability(a)
				if is := breaking[a]; is != "" {
					why = "it has CAP_" + string(a) + ": " + is
				}
				packets = packets || a == "NET_RAW" || a == "NET_ADMIN"
			}
		}
		if s.Privileged != nil && *s.Privileged {
			packets, why = true, "it is privileged"
		}
		if s.ProcMount != nil && *s.ProcMount == corev1.UnmaskedProcMount && (spec.HostUsers == nil || *spec.HostUsers) && why == "" {
			why = "it can write to /proc/sys, and so say what the kernel runs when a process crashes"
		}
	}
	p.packets = p.packets || packets
	for _, m := range c.VolumeMounts {
		for i := range spec.Volumes {
			v := &spec.Volumes[i]
			if v.Name != m.Name || v.HostPath == nil {
				continue
			}
			if is := reaches(v.HostPath.Path, !m.ReadOnly); is != "" && why == "" {
				why = "it mounts " + v.HostPath.Path + " of the host: " + is
			}
		}
	}
	switch {
	case why != "":
	case spec.HostPID:
		// ptrace(2) asks for the same user and no more capabilities: other pods have such.
		why = "it sees the processes of the host, and can act through those that run as its user"
	case packets && spec.HostNetwork:
		why = "it has CAP_NET_RAW or CAP_NET_ADMIN over the network of the host, where no veth can be guarded: drop NET_RAW"
	}
	return why
}

func capability(c corev1.Capability) corev1.Capability {
	return corev1.Capability(strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"))
}

// Folders of the host that give who has them more than a pod may have: also read-only, as a
// socket is a socket and a key a key, or only to who can write.
var (
	read = []struct{ dir, why string }{
		{"/sys/fs/cgroup/", "it can move itself out of its cgroup"},
		{"/sys/fs/bpf/", "it can remove what holds it"},
		{"/run/containerd/", "it can start containers that are not held"},
		{"/run/crio/", "it can start containers that are not held"},
		{"/run/docker.sock/", "it can start containers that are not held"},
		{"/run/k3s/", "it can start containers that are not held"},
		{"/run/podman/", "it can start containers that are not held"},
		{"/run/nri/", "it can change containers as they start"},
		{"/run/systemd/", "it can have systemd start processes that are not held"},
		{"/run/dbus/", "it can have systemd start processes that are not held"},
		{"/proc/", "it can act through processes of the host"},
		{"/etc/kubernetes/", "it can start pods that are not held"},
		{"/etc/rancher/", "it can start pods that are not held"},
		{"/etc/sluice/", "it can read what Sluice is configured with, passwords among it"},
		{"/var/lib/etcd/", "it can read all that the cluster keeps"},
		{"/var/lib/k0s/", "it can start pods that are not held"},
		{"/var/snap/microk8s/", "it can start pods that are not held"},
		{"/var/lib/kubelet/", "it can read what other pods are given"},
		{"/var/lib/containerd/", "it can change the files of other containers"},
		{"/var/lib/docker/", "it can change the files of other containers"},
		{"/var/lib/rancher/", "it can start pods that are not held"},
		{"/var/lib/sluice/", "it can read what Sluice keeps"},
		{"/root/", "it can read the keys of root"},
	}
	write = []struct{ dir, why string }{
		{"/etc/", "it can change what the host starts"},
		{"/usr/", "it can change what the host runs"},
		{"/bin/", "it can change what the host runs"},
		{"/sbin/", "it can change what the host runs"},
		{"/lib/", "it can change what the host runs"},
		{"/lib64/", "it can change what the host runs"},
		{"/opt/", "it can change what the host runs"},
		{"/boot/", "it can change what the host starts"},
		{"/home/", "it can change who may log in to the host"},
		{"/var/spool/cron/", "it can change what the host starts"},
		{"/var/log/pods/", "it can have kubelet read any file of the host, as a log"},
		{"/sys/", "it can change settings of the kernel, such as what it runs"},
	}
)

// reaches says what a folder of the host gives, "" for one that gives nothing.
func reaches(path string, writable bool) string {
	path = strings.TrimSuffix(filepath.Clean("/"+path), "/") + "/"
	if rest, ok := strings.CutPrefix(path, "/var/run/"); ok {
		path = "/run/" + rest
	}
	all := read
	if writable {
		all = slices.Concat(read, write)
	}
	for _, o := range all {
		if strings.HasPrefix(path, o.dir) || strings.HasPrefix(o.dir, path) {
			return o.why
		}
	}
	return ""
}
