package porttest

func SubscriberChecks() []Check[Feed] { return export(subscriberChecks) }
