//go:build kube

package kube_test

// What an operator writes: a database with a login of its own, and one policy.
const database = `
apiVersion: v1
kind: Namespace
metadata: {name: db}
---
apiVersion: v1
kind: Namespace
metadata: {name: agents}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: bot, namespace: agents}
---
apiVersion: v1
kind: Secret
metadata: {name: pg-login, namespace: db}
stringData: {password: the-real-password}
---
apiVersion: v1
kind: Pod
metadata: {name: pg, namespace: db, labels: {app: pg}}
spec:
  nodeName: n1
  containers:
  - {name: pg, image: db.test/postgres:15, imagePullPolicy: Never, env: [{name: POSTGRES_PASSWORD, value: superuser}],
     startupProbe: {exec: {command: [pg_isready, -h, 127.0.0.1]}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 600}}
---
apiVersion: v1
kind: Service
metadata: {name: pg, namespace: db}
spec: {selector: {app: pg}, clusterIP: 10.96.77.7, ports: [{port: 5432}]}
`

const schema = `
CREATE ROLE shop LOGIN PASSWORD 'the-real-password';
CREATE TABLE customers(id int PRIMARY KEY, name text, ssn text);
INSERT INTO customers VALUES (1, 'Alice', '123-45-6789'), (2, 'Bob', '987-65-4321');
GRANT SELECT ON customers TO shop;
`

const objects = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["*:5432"]
  tls: {mode: disable}
  credential: {username: shop, passwordSecret: {namespace: db, name: pg-login}}
  sensitive: [{tag: ssn, columns: [public.customers.ssn], mask: {keepLast: 4}}]
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: bots}
spec:
  subjects: [{serviceAccount: agents/bot}]
  databases: [shop]
  rules: [{name: read, effect: allow, actions: [select], objects: [public.customers]}]
`

const bad = `
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: bots}
spec:
  subjects: [{serviceAccount: agents/bot}]
  databases: [shop]
  rules: [{name: read, effect: allow, actions: [select], objects: [public.customers]}]
  tests: [{sql: "select ssn from customers", expect: deny}]
`
