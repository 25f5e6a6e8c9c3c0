package porttest

import "hexorders/ports"

func TopicChecks() []Check[ports.Topic] { return export(topicChecks) }
