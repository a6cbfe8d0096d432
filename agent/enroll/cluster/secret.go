package cluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/policy"
)

// secretTimeout bounds how long a login waits for the API server.
const secretTimeout = 5 * time.Second

// Secrets reads Secrets one by one, with get: an agent needs neither list nor watch,
// and asks for a Secret only when a session of its node logs in with it.
type Secrets struct {
	get func(ctx context.Context, namespace, name string) (map[string][]byte, error)

	mu    sync.Mutex
	files map[policy.SecretKey][]byte // authorities that were read, which are no secret
}

func newSecrets(get func(ctx context.Context, namespace, name string) (map[string][]byte, error)) *Secrets {
	return &Secrets{get: get, files: map[policy.SecretKey][]byte{}}
}

// Source returns the source of the password that ref names.
func (s *Secrets) Source(ref policy.SecretKey) *credential.Remote {
	return &credential.Remote{What: "secret " + ref.String(), Get: func(ctx context.Context) ([]byte, error) {
		return s.value(ctx, ref)
	}}
}

// File returns what ref names now, or what it named when the API server last answered.
func (s *Secrets) File(ctx context.Context, ref policy.SecretKey) ([]byte, error) {
	data, err := s.value(ctx, ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.files[ref] = data
	case errors.Is(err, credential.ErrNone):
		delete(s.files, ref)
	case s.files[ref] != nil:
		return s.files[ref], nil
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", ref, err)
	}
	return data, nil
}

func (s *Secrets) value(ctx context.Context, ref policy.SecretKey) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	data, err := s.get(ctx, ref.Namespace, ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no such Secret: %w", credential.ErrNone)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("the agent may not get this Secret: allow it by name, in a Role of its namespace: %w", credential.ErrNone)
	case err != nil:
		return nil, fmt.Errorf("API server: %w", err)
	}
	value, ok := data[ref.Key]
	for key, other := range data {
		if key != ref.Key {
			clear(other)
		}
	}
	if !ok {
		return nil, fmt.Errorf("the Secret has no key %q: %w", ref.Key, credential.ErrNone)
	}
	return value, nil
}

// secret asks the API server.
func (s *Source) secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	u, err := s.dynamic.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	texts, _, err := unstructured.NestedStringMap(u.Object, "data")
	if err != nil {
		return nil, errors.New("not readable as a Secret")
	}
	data := make(map[string][]byte, len(texts))
	for key, text := range texts {
		if data[key], err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("not readable as a Secret")
		}
	}
	return data, nil
}
