// Package harden makes a database hold on its own what mode role promises: a
// login that has rights on nothing but a generated shadow schema of masked views.
//
// [New] computes the desired state of one database from its catalog and the
// policies. [Load] reads what is there. [Plan.Diff] compares the two and returns
// the statements that lead from one to the other, [Plan.Script] those that make
// everything, and [Plan.Drop] those that remove it again; [Plan.Apply] and
// [Plan.Remove] run them in one transaction. docs/harden.md says what is made and
// why.
//
// The package opens no connection: its caller does, with an administrator's
// rights. It decides nothing either: what may be read, written and
// seen is for package policy to say, and how a view masks for policy/mask.
package harden
