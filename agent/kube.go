package agent

import (
	"context"

	"sluicegate.io/sluice/agent/enroll/pods"
)

// AwaitDaemonSet waits until every pod of a DaemonSet is ready.
func AwaitDaemonSet(ctx context.Context, namespace, name string) error {
	return pods.AwaitDaemonSet(ctx, namespace, name)
}
