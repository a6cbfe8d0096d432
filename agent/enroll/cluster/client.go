package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sluicegate.io/sluice/policy"
)

// namespaceFile is where a pod finds its own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Connect fills in how an agent with these settings reaches the API server, and who it is.
func (o Options) Connect(k *policy.Kubernetes) (Options, error) {
	var err error
	if k.Kubeconfig != "" {
		o.Client, err = clientcmd.BuildConfigFromFlags("", k.Kubeconfig)
	} else {
		o.Client, err = rest.InClusterConfig()
	}
	if errors.Is(err, rest.ErrNotInCluster) {
		err = errors.New("this is no pod: give kubernetes.kubeconfig in kind Agent")
	}
	if err != nil {
		return o, fmt.Errorf("reach the API server: %w", err)
	}
	o.Client.UserAgent = "sluice"
	o.Client.QPS, o.Client.Burst = 20, 40
	if o.Node = cmp.Or(k.Node, os.Getenv("NODE_NAME")); o.Node == "" {
		return o, errors.New("the name of this node is not known: give NODE_NAME, or kubernetes.node in kind Agent")
	}
	o.Namespace = os.Getenv("POD_NAMESPACE")
	if data, err := os.ReadFile(namespaceFile); err == nil && o.Namespace == "" {
		o.Namespace = strings.TrimSpace(string(data))
	}
	return o, nil
}
