package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/rest"
)

// AwaitDaemonSet waits until every pod of a DaemonSet is ready, as a pod of the cluster.
func AwaitDaemonSet(ctx context.Context, namespace, name string) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("reach the API server: %w", err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("reach the API server: %w", err)
	}
	url := config.Host + "/apis/apps/v1/namespaces/" + namespace + "/daemonsets/" + name
	for {
		d, err := daemonSet(ctx, client, url)
		if err == nil && d.Status.ObservedGeneration >= d.Generation && d.Status.NumberReady == d.Status.DesiredNumberScheduled {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("%d of %d pods are ready", d.Status.NumberReady, d.Status.DesiredNumberScheduled)
			}
			return fmt.Errorf("daemonset %s: %w", name, err)
		case <-time.After(time.Second):
		}
	}
}

func daemonSet(ctx context.Context, client *http.Client, url string) (d appsv1.DaemonSet, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return d, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return d, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(body, &d)
}
