package channel

import (
	"maps"
	"slices"
	"strings"
)

// Labels writes the labels of a pod as Accepted carries them. It is not ok if there is no
// room for them: a part of them might be what a rule denies by.
func Labels(all map[string]string) (text string, ok bool) {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(k + "=" + all[k] + "\n")
	}
	return b.String(), b.Len() <= maxLabels
}

// ReadLabels reads them again.
func ReadLabels(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			all[k] = v
		}
	}
	return all
}
