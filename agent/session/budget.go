package session

import (
	"fmt"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// suspendedCode is configuration_limit_exceeded.
const suspendedCode = "53400"

// account adds to the budgets of the subject, and returns the suspension that is
// in force. Spending nothing asks only.
func (g *Gate) account(use policy.Usage, now time.Time) *policy.Suspension {
	budgets := g.view.Budgets()
	if len(budgets) == 0 || g.view.Observe() {
		return nil
	}
	return g.s.spent.Spend(g.payer, budgets, use, now)
}

// spentOut refuses while the subject is suspended.
func (g *Gate) spentOut(now time.Time) *protocol.Refusal {
	return suspended(g.account(policy.Usage{}, now))
}

// spend counts the statements of a run.
func (g *Gate) spend(j *protocol.Judgement, first int) *protocol.Refusal {
	n := int64(1)
	if first == 0 {
		n = int64(len(j.Plans))
	}
	if n == 0 {
		return nil
	}
	return suspended(g.account(policy.Usage{Statements: n}, time.Now()))
}

// suspended tells a workload why nothing runs, and until when.
func suspended(s *policy.Suspension) *protocol.Refusal {
	if s == nil {
		return nil
	}
	why := &protocol.Refusal{
		Code: suspendedCode, Rule: s.Policy + "/budget",
		Message: "the budget of " + s.What + " is used up, so this subject is suspended",
		Detail:  fmt.Sprintf("Policy %s allows %d per %s.", s.Policy, s.Limit, s.Per),
		Hint:    "Statements run again after " + s.Until.UTC().Format(time.RFC3339) + ".",
	}
	if s.What == "subjects" {
		why.Message = "too many subjects spend budgets at this time, so new ones are refused"
		why.Detail = fmt.Sprintf("%d are counted.", s.Limit)
	}
	return why
}
