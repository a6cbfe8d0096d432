package mask

import "bytes"

// email finds the address around the @ at i. It looks back no further than done,
// and 64 bytes, which is as long as the local part may be.
func email(in []byte, done, i int) (start, end int) {
	start = i
	for start > done && i-start < 64 && class[in[start-1]]&local != 0 {
		start--
	}
	for start < i && in[start] == '.' {
		start++
	}
	if start == i {
		return 0, 0
	}
	at, label, dot := i+1, 0, 0
	for ; at < len(in) && at-i <= 254; at++ {
		c := in[at]
		if c == '.' {
			if label == 0 {
				break
			}
			dot, label = at, 0
			continue
		}
		if class[c]&alnum == 0 && c != '-' {
			break
		}
		label++
	}
	// "me@example.com." ends before the full stop.
	if label == 0 {
		if at = dot; dot == 0 {
			return 0, 0
		}
		if dot = bytes.LastIndexByte(in[i:at], '.'); dot < 0 {
			return 0, 0
		}
		dot += i
	}
	if dot == 0 || at-dot-1 < 2 || class[in[dot+1]]&digit != 0 {
		return 0, 0
	}
	return start, at
}

// jwt finds three parts of base64url with dots between, of which the first two
// begin as the JSON of a token does. The third may be empty.
func jwt(in []byte, i int) int {
	if i > 0 && class[in[i-1]]&base64 != 0 {
		return 0 // inside a longer word, which must not be read again at each dash
	}
	at := i
	for range 2 {
		if !bytes.HasPrefix(in[at:], []byte("eyJ")) {
			return 0
		}
		from := at
		for is(in, at, base64) {
			at++
		}
		if at-from < 10 || at >= len(in) || in[at] != '.' {
			return 0
		}
		at++
	}
	for is(in, at, base64) {
		at++
	}
	return at
}

var (
	pemBegin = []byte("-----BEGIN ")
	pemEnd   = []byte("-----END ")
	pemKey   = []byte("PRIVATE KEY")
	dashes   = []byte("-----")
)

// privateKey finds a PEM block whose label speaks of a private key, up to its
// end or, if it has none, that of the value.
func privateKey(in []byte, i int) int {
	rest := in[i:]
	if !bytes.HasPrefix(rest, pemBegin) {
		return 0
	}
	label := rest[len(pemBegin):min(len(rest), len(pemBegin)+64)]
	stop := bytes.Index(label, dashes)
	if stop < 0 || !bytes.Contains(label[:stop], pemKey) {
		return 0
	}
	body := len(pemBegin) + stop + len(dashes)
	end := bytes.Index(rest[body:], pemEnd)
	if end < 0 {
		return len(in)
	}
	at := body + end + len(pemEnd)
	if tail := bytes.Index(rest[at:min(len(rest), at+64)], dashes); tail >= 0 {
		return i + at + tail + len(dashes)
	}
	return i + at
}

// keyFormats are the keys and tokens that announce themselves.
var keyFormats = []struct {
	prefix string
	least  int // bytes of charset that must follow
	exact  bool
	only   uint8 // classes of those bytes
}{
	{"AKIA", 16, true, upper | digit}, // AWS access keys
	{"ASIA", 16, true, upper | digit},
	{"ABIA", 16, true, upper | digit},
	{"ACCA", 16, true, upper | digit},
	{"AIza", 35, true, base64}, // Google API key
	{"GOCSPX-", 28, false, base64},
	{"ya29.", 30, false, base64},
	{"ghp_", 36, false, upper | lower | digit}, // GitHub
	{"gho_", 36, false, upper | lower | digit},
	{"ghu_", 36, false, upper | lower | digit},
	{"ghs_", 36, false, upper | lower | digit},
	{"ghr_", 36, false, upper | lower | digit},
	{"github_pat_", 22, false, base64},
	{"glpat-", 20, false, base64},
	{"xoxb-", 10, false, base64}, // Slack
	{"xoxp-", 10, false, base64},
	{"xoxa-", 10, false, base64},
	{"xoxr-", 10, false, base64},
	{"xoxs-", 10, false, base64},
	{"xoxe-", 10, false, base64},
	{"xapp-", 10, false, base64},
	{"sk_live_", 16, false, base64}, // Stripe
	{"rk_live_", 16, false, base64},
	{"sk-ant-", 20, false, base64},
	{"sk-proj-", 20, false, base64},
	{"npm_", 36, false, upper | lower | digit},
	{"hvs.", 20, false, base64}, // Vault
	{"dop_v1_", 64, false, lower | digit},
	{"AccountKey=", 60, false, base64 | standard}, // Azure storage
}

// keyIndex are the numbers of keyFormats by their first byte.
var keyIndex = func() (t [256][]uint8) {
	for i, k := range keyFormats {
		t[k.prefix[0]] = append(t[k.prefix[0]], uint8(i))
	}
	return t
}()

func keyBegins() (all []byte) {
	for _, k := range keyFormats {
		if !bytes.Contains(all, []byte{k.prefix[0]}) {
			all = append(all, k.prefix[0])
		}
	}
	return all
}

func cloudKey(in []byte, i int) int {
	for _, n := range keyIndex[in[i]] {
		k := &keyFormats[n]
		if len(in)-i < len(k.prefix)+k.least || in[i+1] != k.prefix[1] || string(in[i:i+len(k.prefix)]) != k.prefix {
			continue
		}
		from := i + len(k.prefix)
		at := from
		for is(in, at, k.only) && !(k.exact && at-from > k.least) {
			at++
		}
		if at-from < k.least || k.exact && at-from != k.least {
			continue
		}
		return at
	}
	return 0
}
