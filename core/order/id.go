package order

import (
	"errors"
	"strings"
)

// ErrInvalidID is what every IDError unwraps to.
var ErrInvalidID = errors.New("id is invalid")

// IDError is a reason to refuse an id. Ids are printed on terminals, in logs and in paths, so they have no character that
// hides, moves or breaks the text around it.
type IDError string

func (e IDError) Error() string { return "id " + string(e) }
func (e IDError) Unwrap() error { return ErrInvalidID }

// All reasons to refuse an id.
const (
	IDLength        IDError = "must have 1 to 64 characters" // MaxIDLength
	IDEncoding      IDError = "must be valid UTF-8"
	IDControl       IDError = "must not have a control character (U+0000 to U+001F, U+007F to U+009F)"
	IDLineSeparator IDError = "must not have a line or paragraph separator (U+2028, U+2029)"
	IDDirection     IDError = "must not have a character that sets the direction of text " +
		"(U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069)"
	IDInvisible  IDError = "must not have an invisible space (U+200B, U+2060, U+FEFF)"
	IDBlank      IDError = "must not consist of blanks"
	IDBlankAtEnd IDError = "must not begin or end with a blank"
	IDDots       IDError = `must not be "." or ".."`
)

// CheckID tells why an id is refused for a new order, buyer or product: an IDError, or nil. Ids are compared code point by
// code point, without normalization: é as one code point and é as e with an accent are two ids. Orders that were stored
// before a rule came are still read: Restore and Replay do not check ids.
func CheckID(id string) error {
	switch {
	case id == "", longer(id, MaxIDLength):
		return IDLength
	case !validUTF8(id):
		return IDEncoding
	case id == ".", id == "..": // browsers and proxies remove them from paths
		return IDDots
	}
	for _, r := range id {
		if err := checkIDCharacter(r); err != nil {
			return err
		}
	}
	switch strings.TrimFunc(id, isBlank) {
	case id:
		return nil
	case "":
		return IDBlank
	}
	return IDBlankAtEnd
}

func checkIDCharacter(r rune) error {
	switch {
	case isControl(r):
		return IDControl
	case r == 0x2028, r == 0x2029:
		return IDLineSeparator
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return IDDirection
	case r == 0x200b, r == 0x2060, r == 0xfeff:
		return IDInvisible
	}
	return nil
}

// isBlank tells whether a character shows nothing: the spaces of Unicode, characters that show only beside others (soft
// hyphen, joiners), and letters and symbols that are empty (Hangul fillers, an empty Braille pattern).
func isBlank(r rune) bool {
	switch r {
	case 0x20, 0xa0, 0x1680, 0x202f, 0x205f, 0x3000,
		0xad, 0x180e, 0x200c, 0x200d,
		0x115f, 0x1160, 0x3164, 0xffa0, 0x2800:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}

func checkID(field, id string) error {
	if err := CheckID(id); err != nil {
		return invalid(field, err)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }
