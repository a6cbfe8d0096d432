package record_test

import (
	"testing"

	"sluicegate.io/sluice/agent/record"
)

// BenchmarkStatement is what each statement of pgbench costs: the append that
// precedes it.
func BenchmarkStatement(b *testing.B) {
	s := open(b, b.TempDir(), record.Options{MaxBytes: 512 << 20})
	l := begin(b, s, "bench")
	e := statement(1)
	b.ReportAllocs()
	for b.Loop() {
		e.Statement.Number++
		if err := l.Append(e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStatementParallel has as many sessions as there are CPUs.
func BenchmarkStatementParallel(b *testing.B) {
	s := open(b, b.TempDir(), record.Options{MaxBytes: 512 << 20})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		l := begin(b, s, "bench")
		e := statement(1)
		for pb.Next() {
			e.Statement.Number++
			if err := l.Append(e); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkOutcome(b *testing.B) {
	s := open(b, b.TempDir(), record.Options{MaxBytes: 512 << 20})
	l := begin(b, s, "bench")
	e := outcome(1)
	b.ReportAllocs()
	for b.Loop() {
		l.Buffer(e)
	}
}

func BenchmarkAlways(b *testing.B) {
	s := open(b, b.TempDir(), record.Options{Sync: record.Always, MaxBytes: 512 << 20})
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		l := begin(b, s, "bench")
		for pb.Next() {
			if err := l.Append(statement(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkBegin(b *testing.B) {
	s := open(b, b.TempDir(), record.Options{MaxBytes: 512 << 20})
	b.ReportAllocs()
	for b.Loop() {
		l := begin(b, s, "bench")
		l.End("terminate", "")
	}
}

// BenchmarkOpen is what `sluice exec` pays at start and end.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := record.Open(dir, record.Options{SegmentBytes: 8 << 20})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
