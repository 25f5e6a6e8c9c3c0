package order

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits that hold for every order. Lengths are in characters, not bytes.
const (
	MaxAmount       = 1_000_000 // pieces a line
	MaxItems        = 500       // lines an order
	MaxIDLength     = 64
	MaxReasonLength = 500
)

// Status says where an order stands. An order starts as pending; paid and cancelled are final.
type Status string

const (
	StatusPending   Status = "pending"
	StatusSubmitted Status = "submitted"
	StatusPaid      Status = "paid"
	StatusCancelled Status = "cancelled"
)

// Statuses are all of them. Tests walk them and name each place that counts, lists or describes orders by status.
func Statuses() []Status {
	return []Status{StatusPending, StatusSubmitted, StatusPaid, StatusCancelled}
}

// CancelledBy says who has cancelled an order.
type CancelledBy string

const (
	ByBuyer  CancelledBy = "buyer"
	BySystem CancelledBy = "system" // a rule of the business, such as a payment that never came
)

// What a command may be refused with. Errors carry detail: compare with errors.Is.
var (
	ErrAlreadySubmitted   = errors.New("order is already submitted")
	ErrAlreadyPaid        = errors.New("order is already paid")
	ErrAlreadyCancelled   = errors.New("order is already cancelled")
	ErrEmpty              = errors.New("order has no items")
	ErrNoSuchItem         = errors.New("order has no such item")
	ErrTooManyItems       = fmt.Errorf("order may have at most %d items", MaxItems)
	ErrInvalidAmount      = fmt.Errorf("amount must be from 1 to %d", MaxAmount)
	ErrInvalidCancelledBy = fmt.Errorf("by must be %s or %s", ByBuyer, BySystem)
	ErrInvalidReason      = fmt.Errorf("reason may have at most %d characters of valid UTF-8, "+
		"no control characters but line breaks and tabs", MaxReasonLength)
)

// action groups the commands that share a row of the rules.
type action string

const (
	editItems action = "edit items"
	submit    action = "submit"
	pay       action = "pay"
	cancel    action = "cancel"
)

// rules is the whole life of an order: what an action gets in each status, nil where it is allowed.
var rules = map[action]map[Status]error{
	editItems: {StatusPending: nil, StatusSubmitted: ErrAlreadySubmitted, StatusPaid: ErrAlreadyPaid, StatusCancelled: ErrAlreadyCancelled},
	submit:    {StatusPending: nil, StatusSubmitted: ErrAlreadySubmitted, StatusPaid: ErrAlreadyPaid, StatusCancelled: ErrAlreadyCancelled},
	pay:       {StatusPending: nil, StatusSubmitted: nil, StatusPaid: ErrAlreadyPaid, StatusCancelled: ErrAlreadyCancelled},
	cancel:    {StatusPending: nil, StatusSubmitted: nil, StatusPaid: ErrAlreadyPaid, StatusCancelled: ErrAlreadyCancelled},
}

func (o *Order) allow(a action) error {
	refusal, known := rules[a][o.status]
	if !known {
		return fmt.Errorf("no rule for %s in status %q: %w", a, o.status, ErrInvalidHistory) // an Order that no constructor made
	}
	return refusal
}

// InputError says which of the values passed in broke a limit. It unwraps to the limit's own error.
type InputError struct {
	Field string // "id", "buyer", "product", "amount", "items", "by" or "reason"
	Line  int    // which item passed to New it was, from 0; -1 when it was none of them
	Err   error
}

func (e *InputError) Error() string {
	if e.Line >= 0 {
		return fmt.Sprintf("item %d, %s: %v", e.Line+1, e.Field, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Field, e.Err)
}

func (e *InputError) Unwrap() error { return e.Err }

func invalid(field string, err error) error { return &InputError{Field: field, Line: -1, Err: err} }

func atLine(line int, err error) error {
	for _, input := range InputErrors(err) {
		input.Line = line
	}
	return err
}

// InputErrors are all the values that a command was refused for.
func InputErrors(err error) (inputs []*InputError) {
	var all interface{ Unwrap() []error }
	if errors.As(err, &all) {
		for _, err := range all.Unwrap() {
			inputs = append(inputs, InputErrors(err)...)
		}
		return inputs
	}
	var input *InputError
	if errors.As(err, &input) {
		inputs = append(inputs, input)
	}
	return inputs
}

// all joins the refusals among these errors; a single one stays what it is.
func all(refusals ...error) error {
	refusals = slices.DeleteFunc(refusals, func(err error) bool { return err == nil })
	if len(refusals) == 1 {
		return refusals[0]
	}
	return errors.Join(refusals...)
}

func checkAmount(amount int) error {
	if amount < 1 || amount > MaxAmount {
		return invalid("amount", ErrInvalidAmount)
	}
	return nil
}

func checkCancelledBy(by CancelledBy) error {
	if by != ByBuyer && by != BySystem {
		return invalid("by", ErrInvalidCancelledBy)
	}
	return nil
}

func checkReason(reason string) error {
	if longer(reason, MaxReasonLength) || !validUTF8(reason) || strings.ContainsFunc(reason, isControlInText) {
		return invalid("reason", ErrInvalidReason)
	}
	return nil
}

// checkJoin tells whether an item may join the lines.
func checkJoin(lines []Item, item Item) error {
	if err := all(checkID("product", item.Product), checkAmount(item.Amount)); err != nil {
		return err
	}
	if i := find(lines, item.Product); i >= 0 {
		// Both amounts are at most MaxAmount, so the sum cannot overflow.
		return checkAmount(lines[i].Amount + item.Amount)
	}
	if len(lines) >= MaxItems {
		return invalid("items", ErrTooManyItems)
	}
	return nil
}

// longer counts characters, and no further than it has to.
func longer(s string, limit int) bool {
	n := 0
	for range s {
		if n++; n > limit {
			return true
		}
	}
	return false
}

func validUTF8(s string) bool { return strings.ToValidUTF8(s, "") == s }

// isControlInText tells whether a character has no place in text of several lines.
func isControlInText(r rune) bool { return isControl(r) && r != '\n' && r != '\r' && r != '\t' }
