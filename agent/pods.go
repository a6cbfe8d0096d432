package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/agent/enroll/cluster"
	"sluicegate.io/sluice/agent/enroll/pods"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/policy"
)

// openPods makes the registry of this node's pods, if kind Agent wants it.
func (r *redirector) openPods() error {
	k := r.rules.Load().set.Agent().Kubernetes
	if k == nil || k.NoPods {
		return nil
	}
	o, err := cluster.Options{}.Connect(k)
	if err != nil {
		return err
	}
	api, err := pods.NewAPI(o.Client, o.Node, r.log)
	if err != nil {
		return err
	}
	r.pods.Store(pods.New(pods.Options{Log: r.log, Mount: r.mount, Settings: k, Set: r.set, API: api,
		Rules: func() *policy.Set { return r.rules.Load().set }, Authorities: r.trustFile}))
	return nil
}

// podsTold are the pods of which status and the objects of the cluster tell.
func (r *redirector) podsTold() []enroll.Pod {
	p := r.pods.Load()
	if p == nil {
		return nil
	}
	all := p.Pods()
	open, refused := r.activity()
	for i := range all {
		all[i].Open, all[i].Refused = open(all[i].CgroupID), refused[all[i].CgroupID]
	}
	return all
}

// podFacts adds what is known of a pod to what the proxy is told of a connection, and gives
// it the pod's token. Why it is refused, if it is, is what it returns.
func (r *redirector) podFacts(p *enroll.Pod, f identity.Facts, a *channel.Accepted, g *granted) (why string) {
	if p == nil {
		return ""
	}
	a.Namespace, a.Account, a.Pod, a.PodUID = p.Namespace, p.ServiceAccount, p.Pod, p.PodUID
	if registry := r.pods.Load(); registry != nil {
		a.Container = registry.Container(a.Cgroup)
	}
	var ok bool
	if a.Labels, ok = channel.Labels(p.Labels); !ok {
		a.Labels = ""
		return "its pod has more labels than Sluice can hold it to"
	}
	k := r.rules.Load().set.Agent().Kubernetes
	if k == nil || k.Token.Ignored || k.Token.Issuer == "" {
		if k != nil && k.Token.Required {
			return "the tokens of pods can't be verified: kubernetes.token.issuer of kind Agent is not known"
		}
		return ""
	}
	root, err := identity.Root(f)
	if err != nil {
		if k.Token.Required {
			return "the token of its pod can't be read, since its process is gone"
		}
		return ""
	}
	src := &identity.Source{Path: k.Token.Path, Root: root}
	if _, _, err := src.Read(); err != nil && !k.Token.Required {
		src.Close()
		if errors.Is(err, identity.ErrNoToken) && errors.Is(err, os.ErrNotExist) {
			return "" // it shows none
		}
		return "the token of its pod can't be read"
	}
	a.Token, g.token = true, src
	return ""
}

// Where a pod finds who it is.
const (
	ownToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	ownCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// podIssuer completes who signs the tokens of pods: if nothing is said, it is who signed
// the agent's own, and they are for whom that is.
func podIssuer(a *policy.Agent) error {
	k := a.Kubernetes
	if k == nil || k.Token.Ignored || k.NoPods {
		return nil
	}
	issuer, audience := own()
	if k.Token.Issuer == "" {
		k.Token.Issuer = issuer
	}
	if k.Token.Audience == "" {
		k.Token.Audience = audience
	}
	if k.Token.Issuer == "" {
		return nil // this is no pod
	}
	if k.Token.Audience == "" {
		return errors.New("kubernetes.token.audience: give the audience of the tokens of pods: that of the agent's own is not known")
	}
	if slices.ContainsFunc(a.Issuers, func(i policy.Issuer) bool { return i.Issuer == k.Token.Issuer }) {
		return nil
	}
	i := policy.Issuer{Issuer: k.Token.Issuer, Audience: k.Token.Audience}
	if _, err := os.Stat(ownCA); err == nil {
		i.CAFile = ownCA
	}
	a.Issuers = append(a.Issuers, i)
	return nil
}

// own returns issuer and audience of the agent's own token, which nobody has to verify.
func own() (issuer, audience string) {
	data, err := os.ReadFile(ownToken)
	if err != nil {
		return "", ""
	}
	parts := strings.Split(strings.TrimSpace(string(data)), ".")
	if len(parts) != 3 {
		return "", ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", ""
	}
	var claims struct {
		Issuer   string   `json:"iss"`
		Audience []string `json:"aud"`
	}
	if json.Unmarshal(raw, &claims) != nil || len(claims.Audience) == 0 {
		return claims.Issuer, ""
	}
	return claims.Issuer, claims.Audience[0]
}

// apiAddress returns where the API server is reached that issues tokens by a name of the
// cluster's, which the node's resolver may not know; "" if host is another one.
func apiAddress(host string) string {
	server, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if server == "" || host != "kubernetes.default.svc" && !strings.HasPrefix(host, "kubernetes.default.svc.") {
		return ""
	}
	if strings.Contains(server, ":") {
		server = "[" + server + "]"
	}
	return server + ":" + port
}

// trustFile writes the certificates that pods are given: the agent's own authority, and
// those that the host trusts. all tells if the latter are there: what replaces the
// certificates of an image must hold them.
func (r *redirector) trustFile() (path string, all bool, err error) {
	own, err := os.ReadFile(filepath.Join(r.state.private, "ca.pem"))
	if err != nil {
		return "", false, fmt.Errorf("certificate authority: %w", err)
	}
	for _, root := range []string{"/proc/1/root", "/"} {
		for _, name := range systemRoots {
			if data, err := os.ReadFile(filepath.Join(root, name)); err == nil && !all {
				own, all = append(append(own, '\n'), data...), true
			}
		}
	}
	path = filepath.Join(r.state.dir, "trust.pem")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, own) {
		return path, all, nil
	}
	// Containers have the file itself mounted: it is written in place, as a new one by the
	// same name would not reach them.
	if err := os.WriteFile(path, own, 0o644); err != nil {
		return "", false, fmt.Errorf("certificates for pods: %w", err)
	}
	return path, all, nil
}
