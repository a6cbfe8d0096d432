package policy

import (
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// kubernetes returns a decoder of the block of kind Agent. An empty one turns it on.
func (d *decoder) kubernetes(to **Kubernetes) func(ast.Node) {
	return func(n ast.Node) {
		k := &Kubernetes{NRI: NRI{Socket: "/run/nri/nri.sock", Index: "10"}, Drain: 20 * time.Second,
			Token: PodToken{Path: PodTokenPath}}
		d.mapping(n, "kubernetes", nil,
			field{"node", func(n ast.Node) {
				d.into(&k.Node, "node")(n)
				if k.Node != "" && !kubernetesName.MatchString(k.Node) {
					d.errorf(n, "node %q is no name of a node", clip(k.Node))
				}
			}},
			field{"kubeconfig", d.path(&k.Kubeconfig, "kubeconfig")},
			field{"resources", choice(d, &k.NoResources, "resources", word[bool]{"cluster", false}, word[bool]{"files", true})},
			field{"pods", choice(d, &k.NoPods, "pods", word[bool]{"labelled", false}, word[bool]{"none", true})},
			field{"cgroup", func(n ast.Node) {
				d.path(&k.Cgroup, "cgroup")(n)
				if strings.Contains(k.Cgroup+"/", "/../") || strings.HasPrefix(k.Cgroup, "/sys/fs/cgroup") {
					d.errorf(n, "cgroup is a path below the cgroup2 mount, such as /kubepods.slice")
				}
			}},
			field{"nri", func(n ast.Node) {
				d.mapping(n, "nri", nil,
					field{"mode", choice(d, &k.NRI.Disabled, "mode", word[bool]{"on", false}, word[bool]{"off", true})},
					field{"socket", d.path(&k.NRI.Socket, "socket")},
					field{"index", func(n ast.Node) {
						d.into(&k.NRI.Index, "index")(n)
						if !pluginIndex.MatchString(k.NRI.Index) {
							d.errorf(n, "index %q must be two digits, such as \"10\"", clip(k.NRI.Index))
						}
					}})
			}},
			field{"undecided", choice(d, &k.PassUndecided, "undecided", word[bool]{"refuse", false}, word[bool]{"pass", true})},
			field{"unenforced", choice(d, &k.EnrollUnenforced, "unenforced", word[bool]{"refuse", false}, word[bool]{"enroll", true})},
			field{"token", func(n ast.Node) {
				d.mapping(n, "token", nil,
					field{"path", d.path(&k.Token.Path, "path")},
					field{"audience", d.into(&k.Token.Audience, "audience")},
					field{"issuer", d.into(&k.Token.Issuer, "issuer")},
					field{"mode", func(n ast.Node) {
						var mode tokenMode
						choice(d, &mode, "mode", word[tokenMode]{"verify", tokenVerify},
							word[tokenMode]{"require", tokenRequire}, word[tokenMode]{"ignore", tokenIgnore})(n)
						k.Token.Required, k.Token.Ignored = mode == tokenRequire, mode == tokenIgnore
					}})
			}},
			field{"trust", choice(d, &k.Trust, "trust", word[bool]{"annotated", true}, word[bool]{"none", false})},
			field{"drain", d.duration(&k.Drain, "drain")},
		)
		*to = k
	}
}

var pluginIndex = regexp.MustCompile(`^[0-9]{2}$`)

type tokenMode uint8

const (
	tokenVerify tokenMode = iota
	tokenRequire
	tokenIgnore
)
