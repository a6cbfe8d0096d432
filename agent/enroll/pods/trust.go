package pods

import (
	"slices"
	"strings"

	"github.com/containerd/nri/pkg/api"
)

// trustPath is where a container finds the certificates. The folder is Sluice's own, so
// that it hides nothing of the image.
const trustPath = "/run/sluice/ca.pem"

// variables tell libraries which certificates to trust beside others: libpq and Node.js.
var variables = []string{"PGSSLROOTCERT", "NODE_EXTRA_CA_CERTS"}

// replacing are those that are in place of the image's: OpenSSL and Go, Python's requests,
// curl, AWS's SDKs.
var replacing = []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"}

// trust mounts the certificates at path, and sets the variables that are not set. all tells
// if they may replace those of an image.
func trust(path string, all bool, env []string) *api.ContainerAdjustment {
	set := map[string]bool{}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		set[name] = true
	}
	a := &api.ContainerAdjustment{}
	a.AddMount(&api.Mount{Source: path, Destination: trustPath, Type: "bind", Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"}})
	names := variables
	if all {
		names = slices.Concat(variables, replacing)
	}
	for _, name := range names {
		if !set[name] {
			a.AddEnv(name, trustPath)
		}
	}
	return a
}
