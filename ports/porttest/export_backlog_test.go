package porttest

func BacklogChecks() []Check[Storage] { return export(backlogChecks) }
