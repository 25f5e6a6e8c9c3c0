package main

import (
	"regexp"
	"strings"
)

var hintBlock = regexp.MustCompile(`(?s)<details><summary>(?:Hint|คำใบ้) \d+</summary>\n(.*?)\n</details>`)

// hints are the texts that a lesson's page folds away.
func hints(page string) (texts []string) {
	for _, found := range hintBlock.FindAllStringSubmatch(page, -1) {
		texts = append(texts, strings.TrimSpace(found[1]))
	}
	return texts
}
