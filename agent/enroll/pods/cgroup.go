package pods

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// roots are where kubelet keeps its pods, by the drivers cgroupfs and systemd.
// "kubelet" comes before them with --cgroup-root.
var roots = []string{"kubepods", "kubepods.slice", "kubelet/kubepods", "kubelet.slice/kubelet-kubepods.slice"}

// errNoRoot means that kubelet has made no cgroup for pods yet.
var errNoRoot = errors.New("kubelet has no cgroup for pods: name it by kubernetes.cgroup in kind Agent")

// root returns the cgroup below mount in which kubelet keeps its pods.
func root(mount, configured string) (string, error) {
	if configured != "" {
		path := filepath.Join(mount, configured)
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("kubernetes.cgroup %s: %w", configured, err)
		}
		return path, nil
	}
	for _, name := range roots {
		if info, err := os.Stat(filepath.Join(mount, name)); err == nil && info.IsDir() {
			return filepath.Join(mount, name), nil
		}
	}
	return "", errNoRoot
}

// Names of folders: those of a pod and of a class of quality of service, by either driver.
// A UID is written with '_' for '-' in the name of a slice. That of a static pod is a hash.
var (
	podName   = regexp.MustCompile(`^(?:[a-z0-9-]+-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$`)
	className = regexp.MustCompile(`^(?:[a-z0-9-]+-)?(?:burstable|besteffort)(?:\.slice)?$`)
	container = regexp.MustCompile(`^(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?$`)
)

// podUID returns the UID that the name of a pod's cgroup has, "" if it is none.
func podUID(name string) string {
	m := podName.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	return strings.ReplaceAll(m[1], "_", "-")
}

// containerID returns the container's id in a path below that of its pod, "" if there is
// none.
func containerID(path string) string {
	for name := range strings.SplitSeq(path, "/") {
		if m := container.FindStringSubmatch(name); m != nil {
			return m[1]
		}
	}
	return ""
}

// tree is what lies below kubelet's cgroup.
type tree struct {
	parents []string          // folders in which cgroups of pods are made
	pods    map[string]string // path by UID
	classes []string          // those of parents that were children of another
}

// look reads the tree below a root.
func look(root string) tree {
	t := tree{parents: []string{root}, pods: map[string]string{}}
	for i := 0; i < len(t.parents) && i < 3; i++ {
		entries, err := os.ReadDir(t.parents[i])
		if err != nil {
			continue
		}
		for _, e := range entries {
			path := filepath.Join(t.parents[i], e.Name())
			switch {
			case !e.IsDir():
			case podUID(e.Name()) != "":
				t.pods[podUID(e.Name())] = path
			case i == 0 && className.MatchString(e.Name()):
				t.parents = append(t.parents, path)
				t.classes = append(t.classes, path)
			}
		}
	}
	return t
}

// expand returns the path below the mount of a cgroup that a runtime names: a path, or a
// slice, which lies in those that its name is made of (systemd.slice(5)).
func expand(name string) string {
	if !strings.HasSuffix(name, ".slice") || strings.Contains(name, "/") {
		return filepath.Clean("/" + name)
	}
	path, prefix := "", ""
	for part := range strings.SplitSeq(strings.TrimSuffix(name, ".slice"), "-") {
		if part == "" {
			return ""
		}
		prefix += part
		path += "/" + prefix + ".slice"
		prefix += "-"
	}
	return path
}
