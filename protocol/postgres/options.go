package postgres

// HarmlessSetting reports whether a startup parameter may be set by anyone: it
// changes how values look or what a session is called, and no limit, name
// resolution or right.
func HarmlessSetting(name string) bool { return false }
