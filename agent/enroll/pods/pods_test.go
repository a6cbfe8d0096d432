package pods

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/policy"
)

func TestPodUID(t *testing.T) {
	const uid = "22e5c06d-d0cd-4f6b-bc82-77719407bb94"
	tests := []struct{ name, want string }{
		{"pod" + uid, uid},
		{"kubepods-besteffort-pod22e5c06d_d0cd_4f6b_bc82_77719407bb94.slice", uid},
		{"kubepods-pod22e5c06d_d0cd_4f6b_bc82_77719407bb94.slice", uid},
		{"kubelet-kubepods-burstable-pod22e5c06d_d0cd_4f6b_bc82_77719407bb94.slice", uid},
		{"pod0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"}, // a static pod
		{"burstable", ""},
		{"kubepods-burstable.slice", ""},
		{"pod", ""},
		{"podman-22e5c06d", ""},
		{"pod22e5c06d-d0cd-4f6b-bc82-77719407bb94x", ""},
		{"xpod../22e5c06d-d0cd-4f6b-bc82-77719407bb94", ""},
	}
	for _, tt := range tests {
		if got := podUID(tt.name); got != tt.want {
			t.Errorf("podUID(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestContainerID(t *testing.T) {
	const id = "bb05b31c4b068722dd60d62768758f606d016f03738c2c9b75fd78e76ea5609e"
	for path, want := range map[string]string{
		"/kubepods/besteffort/pod53ae3148-f9d1-4243-8919-0983b8419b73/" + id:                                     id,
		"/kubepods.slice/kubepods-pod53ae3148_f9d1_4243_8919_0983b8419b73.slice/cri-containerd-" + id + ".scope": id,
		"/kubepods.slice/x.slice/crio-" + id + ".scope/init":                                                     id,
		"/kubepods/besteffort/pod53ae3148-f9d1-4243-8919-0983b8419b73":                                           "",
	} {
		if got := containerID(path); got != want {
			t.Errorf("containerID(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	for name, want := range map[string]string{
		"/kubepods/burstable/pod1":      "/kubepods/burstable/pod1",
		"kubepods-burstable-pod1.slice": "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice",
		"kubepods.slice":                "/kubepods.slice",
		"a--b.slice":                    "",
		"/a.slice/../../b":              "/b",
	} {
		if got := expand(name); got != want {
			t.Errorf("expand(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	const a, b, c = "11111111-d0cd-4f6b-bc82-77719407bb94", "22222222-d0cd-4f6b-bc82-77719407bb94", "33333333_d0cd_4f6b_bc82_77719407bb94"
	for _, name := range []string{"pod" + a, "burstable/pod" + b, "kubepods-besteffort.slice/kubepods-besteffort-pod" + c + ".slice/cri-x.scope", "burstable/pod" + b + "/burstable"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := look(dir)
	want := tree{
		parents: []string{dir, dir + "/burstable", dir + "/kubepods-besteffort.slice"},
		classes: []string{dir + "/burstable", dir + "/kubepods-besteffort.slice"},
		pods: map[string]string{a: dir + "/pod" + a, b: dir + "/burstable/pod" + b,
			"33333333-d0cd-4f6b-bc82-77719407bb94": dir + "/kubepods-besteffort.slice/kubepods-besteffort-pod" + c + ".slice"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tree{})); diff != "" {
		t.Error(diff)
	}
}

func TestDecide(t *testing.T) {
	yes, no := map[string]string{Label: "true"}, map[string]string{Label: "false"}
	tests := []struct {
		name           string
		pod, namespace map[string]string
		known          bool
		picked         *policy.Enrolment
		want           enroll.Decision
	}{
		{"nothing", nil, nil, true, nil, enroll.Exempt},
		{"nothing is known of the namespace", nil, nil, false, nil, enroll.Undecided},
		{"the pod says so", yes, nil, false, nil, enroll.Enrolled},
		{"the namespace says so", nil, yes, true, nil, enroll.Enrolled},
		{"the pod is taken out", no, yes, true, nil, enroll.Exempt},
		{"the pod is taken in", yes, no, true, nil, enroll.Enrolled},
		{"a Workload picks it", nil, nil, true, &policy.Enrolment{Name: "w"}, enroll.Enrolled},
		{"a Workload picks it, and it is taken out", no, nil, true, &policy.Enrolment{Name: "w"}, enroll.Exempt},
		{"a typing error", map[string]string{Label: "treu"}, nil, true, nil, enroll.Enrolled},
		{"an empty value", map[string]string{Label: ""}, nil, true, nil, enroll.Enrolled},
	}
	for _, tt := range tests {
		if got, _ := decide(&policy.Workload{Labels: tt.pod}, tt.namespace, tt.known, tt.picked); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestJudge(t *testing.T) {
	caps := func(add corev1.Capability, drop ...corev1.Capability) *corev1.SecurityContext {
		return &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{add}, Drop: drop}}
	}
	yes := true
	pod := func(s *corev1.SecurityContext) corev1.PodSpec {
		return corev1.PodSpec{Containers: []corev1.Container{{Name: "c", SecurityContext: s}}}
	}
	host := func(s corev1.PodSpec) corev1.PodSpec { s.HostNetwork = true; return s }
	mount := func(path string, readOnly bool) corev1.PodSpec {
		s := pod(caps("", "ALL"))
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", ReadOnly: readOnly}}
		s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}}}
		return s
	}
	unused := mount("/", false)
	unused.Containers[0].VolumeMounts = nil
	proc := func(own bool) corev1.PodSpec {
		s, no, all := pod(caps("", "ALL")), false, corev1.UnmaskedProcMount
		s.Containers[0].SecurityContext.ProcMount = &all
		if own {
			s.HostUsers = &no
		}
		return s
	}
	pids := pod(caps("", "ALL"))
	pids.HostPID = true
	debug := pod(caps("", "ALL"))
	debug.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debugger", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}}}
	init := pod(caps("", "ALL"))
	init.InitContainers = []corev1.Container{{Name: "i", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}}
	tests := []struct {
		name    string
		spec    corev1.PodSpec
		breaks  bool
		packets bool
	}{
		{"the runtime's default", pod(nil), false, true},
		{"everything dropped", pod(caps("", "ALL")), false, false},
		{"NET_RAW dropped", pod(caps("", "NET_RAW")), false, false},
		{"dropped and added again", pod(caps("CAP_NET_RAW", "ALL")), false, true},
		{"NET_ADMIN", pod(caps("net_admin", "ALL")), false, true},
		{"SYS_ADMIN", pod(caps("SYS_ADMIN", "ALL")), true, false},
		{"all", pod(caps("ALL")), true, true},
		{"privileged", pod(&corev1.SecurityContext{Privileged: &yes}), true, true},
		{"a privileged init container", init, true, true},
		{"the host's network", host(pod(nil)), true, true},
		{"the host's network without packets", host(pod(caps("", "NET_RAW"))), false, false},
		{"a privileged ephemeral container", debug, true, true},
		{"the host's processes", pids, true, false},
		{"files by their handles", pod(caps("DAC_READ_SEARCH", "ALL")), true, false},
		{"the host's root", mount("/", true), true, false},
		{"the host's root, and nobody mounts it", unused, false, false},
		{"the runtime's socket", mount("/run/containerd/containerd.sock", true), true, false},
		{"the same by another name", mount("/var/run/containerd", true), true, false},
		{"the same in a roundabout way", mount("/tmp/..//run/./containerd/", true), true, false},
		{"systemd's sockets", mount("/run/dbus", true), true, false},
		{"cgroups", mount("/sys/fs/cgroup/", true), true, false},
		{"certificates of the host", mount("/etc/ssl/certs", true), false, false},
		{"certificates of the host, to write", mount("/etc/ssl/certs", false), true, false},
		{"cron", mount("/etc/cron.d", false), true, false},
		{"a folder of sockets", mount("/var/run/postgresql", false), false, false},
		{"a folder of logs", mount("/var/log/bot", false), false, false},
		{"logs of all pods", mount("/var/log", true), false, false},
		{"logs of all pods, to write", mount("/var/log", false), true, false},
		{"what the cluster keeps", mount("/var/lib/etcd", true), true, false},
		{"the keys of another distribution", mount("/etc/rancher/k3s", true), true, false},
		{"Sluice's configuration", mount("/etc/sluice", true), true, false},
		{"what the kernel tells of itself", mount("/sys/class/net", true), false, false},
		{"the kernel's settings", mount("/sys/kernel", false), true, false},
		{"all of /proc", proc(false), true, false},
		{"all of /proc, as a user of its own", proc(true), false, false},
	}
	for _, tt := range tests {
		got := judge(&tt.spec)
		breaks := strings.Join(slices.Collect(maps.Values(got.breaks)), "")
		if (breaks != "") != tt.breaks || got.packets != tt.packets {
			t.Errorf("%s: breaks %q, packets %v; want %v, %v", tt.name, breaks, got.packets, tt.breaks, tt.packets)
		}
	}
}

func TestTrust(t *testing.T) {
	env := func(all bool, set ...string) []string {
		var names []string
		for _, e := range trust("/var/lib/sluice/trust.pem", all, set).GetEnv() {
			names = append(names, e.GetKey())
		}
		return names
	}
	if got, want := env(false), []string{"PGSSLROOTCERT", "NODE_EXTRA_CA_CERTS"}; !cmp.Equal(got, want) {
		t.Errorf("without the host's certificates: %v", got)
	}
	got := env(true, "SSL_CERT_FILE=/own.pem", "PGSSLROOTCERT=", "OTHER=1")
	if want := []string{"NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"}; !cmp.Equal(got, want) {
		t.Errorf("beside what is set: %v", got)
	}
}
