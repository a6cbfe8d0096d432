package policy_test

import (
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
)

func TestLedger(t *testing.T) {
	budgets := []policy.Budget{
		{Policy: "p", Per: time.Hour, Rows: 100, Statements: 10, Denials: 2},
		{Policy: "q", Per: time.Minute, Statements: 5},
	}
	one := policy.Usage{Statements: 1}
	t.Run("within", func(t *testing.T) {
		l := policy.NewLedger(0)
		for i := range 10 {
			if s := l.Spend("a", budgets, one, now.Add(time.Duration(i)*5*time.Minute)); s != nil {
				t.Fatalf("statement %d: %+v", i, s)
			}
		}
		s := l.Spend("a", budgets, one, now.Add(50*time.Minute))
		if s == nil || s.What != "statements" || s.Policy != "p" || s.Limit != 10 {
			t.Fatalf("11th statement: %+v", s)
		}
		if s := l.Spend("b", budgets, one, now.Add(50*time.Minute)); s != nil {
			t.Errorf("another subject: %+v", s)
		}
		if s := l.Spend("a", budgets, policy.Usage{}, now.Add(60*time.Minute)); s == nil {
			t.Error("asking does not show the suspension")
		}
		if s := l.Spend("a", budgets, one, now.Add(111*time.Minute)); s != nil {
			t.Errorf("after the suspension: %+v", s)
		}
	})
	t.Run("short window", func(t *testing.T) {
		l := policy.NewLedger(0)
		for range 5 {
			l.Spend("a", budgets, one, now)
		}
		if s := l.Spend("a", budgets, one, now.Add(time.Second)); s == nil || s.Policy != "q" || !s.Until.Equal(now.Add(61*time.Second)) {
			t.Errorf("6th in a minute: %+v", s)
		}
	})
	t.Run("slides", func(t *testing.T) {
		l := policy.NewLedger(0)
		for i := range 100 { // 4 a minute never are more than 5 in any minute
			if s := l.Spend("a", budgets[1:], one, now.Add(time.Duration(i)*15*time.Second)); s != nil {
				t.Fatalf("statement %d: %+v", i, s)
			}
		}
	})
	t.Run("denials and rows", func(t *testing.T) {
		l := policy.NewLedger(0)
		if s := l.Spend("a", budgets, policy.Usage{Denials: 3}, now); s == nil || s.What != "denials" {
			t.Errorf("%+v", s)
		}
		if s := l.Spend("b", budgets, policy.Usage{Rows: 101}, now); s == nil || s.What != "rows" {
			t.Errorf("%+v", s)
		}
		l.Resume("a")
		if s := l.Spend("a", budgets, one, now); s != nil {
			t.Errorf("after Resume: %+v", s)
		}
	})
	t.Run("a full ledger refuses who is new", func(t *testing.T) {
		l := policy.NewLedger(2)
		l.Spend("a", budgets, one, now)
		if s := l.Spend("b", budgets, one, now); s == nil || s.What != "subjects" {
			t.Errorf("%+v", s)
		}
		if s := l.Spend("a", budgets, one, now); s != nil {
			t.Errorf("%+v", s)
		}
		if s := l.Spend("b", budgets, one, now.Add(3*time.Hour)); s != nil {
			t.Errorf("after old accounts are swept: %+v", s)
		}
	})
}
