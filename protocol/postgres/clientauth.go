package postgres

import (
	"context"
	"time"

	"sluicegate.io/sluice/protocol"
)

// authenticate asks the client for what auth wants of it, and says AuthenticationOk
// where it asked. Without anything to ask, AuthenticationOk comes with the session.
func authenticate(ctx context.Context, h *hello, auth *ClientAuth, limit time.Duration) error {
	if auth.Token == nil && auth.SCRAM == nil {
		return nil
	}
	h.conn.SetReadDeadline(time.Now().Add(limit))
	defer h.conn.SetReadDeadline(time.Time{})
	if auth.SCRAM != nil {
		if err := h.proveSCRAM(auth.SCRAM); err != nil {
			return err
		}
	} else {
		if _, err := h.conn.Write(appendMessage(nil, 'R', []byte{0, 0, 0, 3}, "", "")); err != nil {
			return errClosedEarly
		}
		body, err := h.password()
		if err != nil {
			return err
		}
		password, rest, ok := cstring(body)
		if !ok || len(rest) > 0 {
			return badPassword
		}
		if why := auth.Token(ctx, string(password)); why != nil {
			return why
		}
	}
	if _, err := h.conn.Write(appendMessage(nil, 'R', []byte{0, 0, 0, 0}, "", "")); err != nil {
		return errClosedEarly
	}
	return nil
}

var badPassword = &protocol.Refusal{Code: "08P01", Message: "invalid password packet"}

// password reads one message of type 'p', and no byte more.
func (h *hello) password() ([]byte, error) {
	var head [header]byte
	if err := h.read(head[:]); err != nil {
		return nil, err
	}
	kind, size, _ := frame(head[:])
	if kind != 'p' || size < header || size > smallMessage {
		return nil, badPassword
	}
	body := make([]byte, size-header)
	return body, h.read(body)
}
