package main

import "strings"

// greet says what runs here, what to type next, and what this combination of store, broker and roles cannot do.
func (s *Service) greet() {
	c := &s.config
	s.log.Info("hexorders listens on "+s.URL(), "roles", strings.Join(s.roles, ","), "store", c.Store.name, "broker", c.Broker.name)
	s.log.Info(c.Store.where(c) + ", " + c.Broker.where(c))
	if s.storage.beside != "" {
		s.log.Warn(s.storage.beside)
	}
	if s.has(roleAPI) {
		s.log.Info(`try: curl ` + s.URL() + `/orders -H 'content-type: application/json' ` +
			`-d '{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}'`)
	}
	if c.Store.shared {
		return // other processes can have the roles that are missing here
	}
	if !s.has(roleAPI) {
		s.log.Warn("there is nothing to publish: no other process can write to the " + c.Store.name +
			" store of this one; add the role api")
	}
	if !s.has(roleRelay) {
		s.log.Warn("nothing publishes events: only the process that opened the " + c.Store.name +
			" store can relay them; add the role relay")
	}
	if s.has(roleAPI) && !s.has(roleViews) {
		s.log.Warn("lists stay empty: only the process that opened the " + c.Store.name +
			" store can fill its views; add the role views")
	}
}
