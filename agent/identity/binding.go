package identity

import (
	"fmt"
	"strings"

	"sluicegate.io/sluice/policy"
)

const (
	accountClaim  = "kubernetes.io"
	accountPrefix = "system:serviceaccount:"
)

// checkBinding refuses a Kubernetes token that does not name the pod that the
// kernel says its bearer is in: one that was copied out of another pod is worth
// nothing. Tokens that say nothing of Kubernetes are bound to no pod.
// See https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
func checkBinding(subject string, claims map[string]any, w *policy.Workload) error {
	raw, bound := claims[accountClaim]
	account, isAccount := strings.CutPrefix(subject, accountPrefix)
	if !bound && !isAccount {
		return nil
	}
	k, ok := raw.(map[string]any)
	if !ok || w == nil {
		return ErrBinding
	}
	namespace, name := text(k, "namespace"), text(k, "serviceaccount", "name")
	if namespace == "" || name == "" || isAccount && account != namespace+":"+name {
		return fmt.Errorf("%w: it contradicts itself", ErrBinding)
	}
	if namespace != w.Namespace || name != w.ServiceAccount {
		return fmt.Errorf("%w: its service account is another one", ErrBinding)
	}
	pod, uid := text(k, "pod", "name"), text(k, "pod", "uid")
	if pod != w.Pod || w.PodUID != "" && uid != w.PodUID {
		return fmt.Errorf("%w: its pod is another one", ErrBinding)
	}
	return nil
}

// text returns the string at a path of claims, "" if there is none.
func text(m map[string]any, path ...string) string {
	for i, name := range path {
		switch v := m[name].(type) {
		case map[string]any:
			m = v
		case string:
			if i == len(path)-1 {
				return v
			}
			return ""
		default:
			return ""
		}
	}
	return ""
}
