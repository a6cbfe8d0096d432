package mask

// creditCard finds 13 to 19 digits that pass Luhn's check, in groups separated by
// single spaces or dashes.
func creditCard(in []byte, i int) int {
	// sums are Luhn's for an even and for an odd number of digits: which of them
	// count twice depends on how many there are.
	var sums [2]int
	n, best := 0, 0
	same := true
	for at := i; at < len(in); at++ {
		c := in[at]
		if class[c]&digit != 0 {
			if n == 19 {
				// A longer run is no card; one that ended at a separator may be.
				break
			}
			v := int(c - '0')
			sums[1-n&1] += v
			if v *= 2; v > 9 {
				v -= 9
			}
			sums[n&1] += v
			same = same && c == in[i]
			n++
			if n >= 13 && !is(in, at+1, digit) && sums[n&1]%10 == 0 && !same {
				best = at + 1
			}
			continue
		}
		if (c != ' ' && c != '-') || !is(in, at+1, digit) {
			break
		}
	}
	return best
}

// ssn finds 123-45-6789 and 123 45 6789.
func ssn(in []byte, i int) int {
	if i+11 > len(in) || i > 0 && in[i-1] == '-' {
		return 0
	}
	s := in[i : i+11]
	sep := s[3]
	if sep != '-' && sep != ' ' || s[6] != sep {
		return 0
	}
	for at, c := range s {
		if at != 3 && at != 6 && class[c]&digit == 0 {
			return 0
		}
	}
	if is(in, i+11, alnum) || i+11 < len(in) && in[i+11] == '-' && is(in, i+12, digit) {
		return 0
	}
	return i + 11
}

// phone finds +CC and 7 to 14 more digits with separators, and North American
// numbers written (415) 555-2671, 415-555-2671, 415.555.2671.
func phone(in []byte, i int) int {
	if in[i] == '+' {
		return international(in, i)
	}
	at := i
	open := in[at] == '('
	if open {
		at++
	}
	if at = run(in, at, 3); at == 0 {
		return 0
	}
	if open {
		if at >= len(in) || in[at] != ')' {
			return 0
		}
		at++
		if at < len(in) && in[at] == ' ' {
			at++
		}
	} else {
		if at >= len(in) || in[at] != '-' && in[at] != '.' {
			return 0
		}
		at++
	}
	if at = run(in, at, 3); at == 0 || at >= len(in) || in[at] != '-' && in[at] != '.' && in[at] != ' ' {
		return 0
	}
	if at = run(in, at+1, 4); at == 0 || is(in, at, alnum) {
		return 0
	}
	return at
}

// run returns the end of exactly n digits, or 0.
func run(in []byte, at, n int) int {
	for range n {
		if !is(in, at, digit) {
			return 0
		}
		at++
	}
	return at
}

func international(in []byte, i int) int {
	n, end := 0, 0
	gap := 0
	for at := i + 1; at < len(in); at++ {
		c := in[at]
		switch {
		case class[c]&digit != 0:
			if n == 0 && c == '0' {
				return 0
			}
			n++
			gap = 0
			end = at + 1
		case c == ' ' || c == '-' || c == '.' || c == '(' || c == ')' || c == '/':
			if gap++; gap > 2 || n == 0 {
				at = len(in)
			}
		default:
			if class[c]&alnum != 0 && gap == 0 {
				return 0
			}
			at = len(in)
		}
		if n > 15 {
			return 0
		}
	}
	if n < 8 {
		return 0
	}
	return end
}

// lengths are those of each country's IBAN, from the SWIFT registry.
var lengths = map[[2]byte]int{
	{'A', 'D'}: 24, {'A', 'E'}: 23, {'A', 'L'}: 28, {'A', 'T'}: 20, {'A', 'Z'}: 28, {'B', 'A'}: 20, {'B', 'E'}: 16,
	{'B', 'G'}: 22, {'B', 'H'}: 22, {'B', 'I'}: 27, {'B', 'R'}: 29, {'B', 'Y'}: 28, {'C', 'H'}: 21, {'C', 'R'}: 22,
	{'C', 'Y'}: 28, {'C', 'Z'}: 24, {'D', 'E'}: 22, {'D', 'J'}: 27, {'D', 'K'}: 18, {'D', 'O'}: 28, {'E', 'E'}: 20,
	{'E', 'G'}: 29, {'E', 'S'}: 24, {'F', 'I'}: 18, {'F', 'K'}: 18, {'F', 'O'}: 18, {'F', 'R'}: 27, {'G', 'B'}: 22,
	{'G', 'E'}: 22, {'G', 'I'}: 23, {'G', 'L'}: 18, {'G', 'R'}: 27, {'G', 'T'}: 28, {'H', 'R'}: 21, {'H', 'U'}: 28,
	{'I', 'E'}: 22, {'I', 'L'}: 23, {'I', 'Q'}: 23, {'I', 'S'}: 26, {'I', 'T'}: 27, {'J', 'O'}: 30, {'K', 'W'}: 30,
	{'K', 'Z'}: 20, {'L', 'B'}: 28, {'L', 'C'}: 32, {'L', 'I'}: 21, {'L', 'T'}: 20, {'L', 'U'}: 20, {'L', 'V'}: 21,
	{'L', 'Y'}: 25, {'M', 'C'}: 27, {'M', 'D'}: 24, {'M', 'E'}: 22, {'M', 'K'}: 19, {'M', 'N'}: 20, {'M', 'R'}: 27,
	{'M', 'T'}: 31, {'M', 'U'}: 30, {'N', 'I'}: 28, {'N', 'L'}: 18, {'N', 'O'}: 15, {'O', 'M'}: 23, {'P', 'K'}: 24,
	{'P', 'L'}: 28, {'P', 'S'}: 29, {'P', 'T'}: 25, {'Q', 'A'}: 29, {'R', 'O'}: 24, {'R', 'S'}: 22, {'R', 'U'}: 33,
	{'S', 'A'}: 24, {'S', 'C'}: 31, {'S', 'D'}: 18, {'S', 'E'}: 24, {'S', 'I'}: 19, {'S', 'K'}: 24, {'S', 'M'}: 27,
	{'S', 'O'}: 23, {'S', 'T'}: 25, {'S', 'V'}: 28, {'T', 'L'}: 23, {'T', 'N'}: 24, {'T', 'R'}: 26, {'U', 'A'}: 29,
	{'V', 'A'}: 22, {'V', 'G'}: 24, {'X', 'K'}: 20,
}

// iban finds an international bank account number whose check digits are right,
// in groups separated by single spaces or written together.
func iban(in []byte, i int) int {
	if !is(in, i+1, upper) || !is(in, i+2, digit) || !is(in, i+3, digit) {
		return 0
	}
	want := lengths[[2]byte{in[i], in[i+1]}]
	if want == 0 {
		return 0
	}
	var account [34]byte
	n, at := 0, i
	for ; at < len(in) && n < want; at++ {
		c := in[at]
		if c == ' ' && n > 0 && in[at-1] != ' ' {
			continue
		}
		if class[c]&(digit|upper) == 0 {
			return 0
		}
		account[n] = c
		n++
	}
	if n < want || is(in, at, alnum) {
		return 0
	}
	rest := 0
	for k := range n {
		c := account[(k+4)%n]
		if class[c]&digit != 0 {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	if rest != 1 {
		return 0
	}
	return at
}
