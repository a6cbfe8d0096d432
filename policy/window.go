package policy

import "time"

// contains reports whether at is inside the window.
func (w *Window) contains(at time.Time) bool {
	at = at.In(w.Zone)
	midnight := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, w.Zone)
	// A window that goes past midnight may have begun yesterday.
	for back := range 2 {
		day := midnight.AddDate(0, 0, -back)
		if start, end := w.on(day); w.Days[day.Weekday()] && !at.Before(start) && at.Before(end) {
			return true
		}
	}
	return false
}

// on returns the window of one day.
func (w *Window) on(day time.Time) (start, end time.Time) {
	start, end = day.Add(w.From), day.Add(w.To)
	if w.To <= w.From {
		end = end.Add(24 * time.Hour)
	}
	return start, end
}

// next returns the first moment after at when the window may open or close.
func (w *Window) next(at time.Time) time.Time {
	local := at.In(w.Zone)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, w.Zone)
	var first time.Time
	for ahead := -1; ahead <= 8; ahead++ {
		day := midnight.AddDate(0, 0, ahead)
		if !w.Days[day.Weekday()] {
			continue
		}
		start, end := w.on(day)
		first = sooner(first, at, start, end)
	}
	return first
}
