# The commands of this project. `make` alone prints them.

TOOL      := go tool -modfile=tools/go.mod
# 20 minutes: one hanging test must not use up the time of a whole CI run. Add your own with `make test TESTFLAGS=...`,
# for example TESTFLAGS='-run TestOrderStore -v'.
# Two packages at a time: with three it takes as long on two processors, and with more, leases run out and deadlines pass. And
# -count=1, because Go's test cache does not know that a test has built the program, or what a server answered.
# SQLite itself is left out of the race detector: it is C that was translated to Go and works in memory that is not Go's,
# which the detector does not know, so that it would find nothing at a third of the speed. What calls it is watched.
RACE      := -race -gcflags=modernc.org/sqlite/lib=-race=false
# Without vet, which is part of make lint.
GOTEST    := $(RACE) -vet=off -count=1 -p 2 -timeout 20m
TESTFLAGS ?=
PACKAGES  ?= ./...
# What takes longest begins first, or it would be all that still runs at the end.
FIRST     := $(if $(filter ./...,$(PACKAGES)),./test/e2e ./adapters/mongodb ./adapters/kafka ./workshop/lesson ./test/bench)
# These need a MongoDB, a Kafka, a PostgreSQL or a NATS, and so do some lessons, and the subtests of adapters/httpapi that are called mongodb
# and postgres; make quick runs all the rest. Nothing listens at NOSERVER: a test that belongs here and is not on the list is red. test/arch reads the list.
SERVERS   := $(addprefix hexorders/,adapters/kafka% adapters/mongodb% adapters/nats% adapters/postgres% test/bench% test/browser% test/docs% test/e2e% test/faults% test/peers%)
NOSERVER  := HEXORDERS_TEST_MONGODB_URI='mongodb://127.0.0.1:1/?directConnection=true' HEXORDERS_TEST_KAFKA_BROKERS=127.0.0.1:1 \
             HEXORDERS_TEST_POSTGRES_URI=postgres://127.0.0.1:1/hexorders HEXORDERS_TEST_NATS_URL=nats://127.0.0.1:1
# A broker that lives for a minute or two never earns back what its JVM's second compiler costs.
FASTJAVA  := JAVA_TOOL_OPTIONS="$$JAVA_TOOL_OPTIONS -XX:TieredStopAtLevel=1"
# Built and not `go run`, which would end before the lesson does when Ctrl-C is pressed.
LESSONS   := go build -o bin/lesson ./workshop/lesson && exec bin/lesson
BENCH     ?= .
BENCHFLAGS ?=
FUZZTIME  ?= 1m
GOVULNDB  ?= https://vuln.go.dev

.DEFAULT_GOAL := help
.PHONY: help run build quick test check fuzz lessons lesson test-lessons lint vulnerabilities sbom vet bench bench-peers faults mutants test-peers test-alerts test-rights dashboard pictures microbench screenshots test-chromium test-clients fuzz-api up down reset clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start hexorders in the foreground
	go run ./cmd/hexorders

build: ## build bin/hexorders
	go build -o bin/hexorders ./cmd/hexorders

quick: ## run the tests that need no server (less than a minute once compiled; no race detector)
	$(NOSERVER) go test -vet=off -count=1 -timeout 5m -skip '/^(mongodb|postgres)|^TestLessons$$' $(TESTFLAGS) $(filter-out $(SERVERS),$(shell go list ./...))

test: ## run all tests, on servers of their own that are stopped afterwards
	@# Everything is compiled before the first test begins: the compiler takes all that there is of processors, for minutes
	@# when nothing is in its cache, and a broker that has to start meanwhile takes as long.
	go list -export -deps $(PACKAGES) >/dev/null
	go list -export -deps -test $(RACE) $(PACKAGES) >/dev/null
	$(FASTJAVA) SERVICES_IN_MEMORY=1 scripts/with-services $(TOOL) gotestsum --format pkgname-and-test-fails -- $(GOTEST) $(TESTFLAGS) $(FIRST) $(PACKAGES)

check: lint vet test fuzz ## everything that must be green before a commit

lessons: ## list the lessons of the workshop
	@$(LESSONS)

lesson: ## begin or go on with lesson N; HINT=1..3, SOLUTION=1, RESET=1, LANG=th for Thai
	@$(LESSONS) -n '$(or $(N),0)' $(if $(HINT),-hint '$(HINT)') $(if $(SOLUTION),-solution '$(SOLUTION)') \
		$(if $(RESET),-reset) $(if $(ONCE),-once) $(if $(SAVE),-save '$(SAVE)') $(if $(REFRESH),-refresh)

test-lessons: ## prove the lessons: red at their start, green with their solution (LESSON=05 for one); a table of them
	go test ./workshop/lesson -run '^TestLessons$$/$(LESSON)' -v -count=1 -timeout 20m

fuzz: ## run every fuzz target, each for FUZZTIME
	@found=$$(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z]+' adapters app cmd core ports | sed 's|/[^/]*:func |:|' | sort); \
	test -n "$$found" || { echo 'no fuzz target found' >&2; exit 1; }; \
	for target in $$found; do \
		echo "$$target for $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$${target#*:}\$$" -fuzztime $(FUZZTIME) "./$${target%:*}" || exit 1; \
	done

lint: vulnerabilities ## golangci-lint, formatting included, the alert rules, the dashboard, the pictures, and known holes
	$(TOOL) golangci-lint run $(PACKAGES)
	go -C tools/monitoring test -count=1 ./...
	go -C tools/pictures test -count=1 ./...

vulnerabilities: ## look for known holes in what is called of Go and of modules (govulncheck), where their database answers
	@if curl -fsS -m 20 -o /dev/null '$(GOVULNDB)/index/modules.json'; then \
		$(TOOL) govulncheck -db '$(GOVULNDB)' $(PACKAGES); \
	else \
		echo 'govulncheck is left out: its database $(GOVULNDB) does not answer.' >&2; \
	fi

sbom: build ## write what bin/hexorders is made of to bin/hexorders.cdx.json (CycloneDX)
	$(TOOL) cyclonedx-gomod bin -json -std -output bin/hexorders.cdx.json bin/hexorders

vet: ## go vet
	go vet $(PACKAGES)

bench: ## measure hexorders beside raw loops (40 minutes), write docs/benchmarks.md; BENCHFLAGS='-rows post' only prints
	scripts/with-services go run ./test/bench $(or $(BENCHFLAGS),-out docs/benchmarks.md)

bench-peers: ## the relay beside Debezium and MongoDB's Kafka connector (70 MB of downloads), docs/benchmarks-peers.md
	scripts/with-services go run ./test/bench -rows connectors $(or $(BENCHFLAGS),-out docs/benchmarks-peers.md)

test-peers: ## compare what Debezium publishes with what hexorders does (docs/swap-the-relay.md)
	scripts/with-services go test -tags peers -count=1 -timeout 20m $(TESTFLAGS) ./test/peers

faults: ## break MongoDB, Kafka, services and network under load (16 minutes), write docs/faults.md; FAULTS='-run REGEXP' only prints
	scripts/with-services go run ./test/faults $(or $(FAULTS),-out docs/faults.md)

mutants: ## change a token at a time and expect a red test, where no server is needed (an hour); MUTANTS='-run app/relay'
	$(NOSERVER) nice go run ./test/mutants $(MUTANTS)

microbench: ## run the Go benchmarks of the packages, on servers of their own
	scripts/with-services go test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(TESTFLAGS) $(PACKAGES)

fuzz-api: ## hold the service against its description with more than 2,000 requests, over each store, each time others
	scripts/with-services go test ./test/docs -run TestTheServiceIsAsItsDescriptionSays -v -count=1 -timeout 60m \
		-args -examples 150 -cases 2000 -seed ''

test-clients: ## make clients of the description with six tools, compile them and run them against the service
	go test ./test/docs -run TestGeneratedClients -v -count=1 -timeout 30m $(TESTFLAGS) -args -all-clients

dashboard: ## generate Grafana's dashboard, deploy/grafana/dashboards/hexorders.json
	go generate -C tools/monitoring ./dashboard

pictures: ## draw docs/pictures/*.svg from the texts beside them (D2)
	go run -C tools/pictures .

test-alerts: ## a killed relay becomes a banner, by Prometheus and Alertmanager of Debian 12, and goes when it is back
	scripts/with-services go test -tags prometheus ./test/e2e -run '^TestPrometheus' -count=1 -timeout 20m $(TESTFLAGS)

test-rights: ## take away each right of docs/secure.md and see that something fails (2 minutes)
	$(FASTJAVA) SERVICES_IN_MEMORY=1 scripts/with-services go test -tags rights ./test/e2e -run '^TestRights' -count=1 -timeout 30m $(TESTFLAGS)

test-chromium: ## let a browser use the console and /docs, and open pages of strangers beside the service
	scripts/with-services go test ./test/browser -count=1 -timeout 20m $(TESTFLAGS)

screenshots: ## take the pictures of docs/console
	go test ./test/browser -run TestScreenshots -count=1 -args -screenshots

up: ## start MongoDB and Kafka for development (scripts/services help says more)
	scripts/services up

down: ## stop what `make up` started; the data stays
	scripts/services down

reset: ## stop them and delete their data
	scripts/services reset

clean: ## delete what the build leaves behind (the servers and their downloads stay)
	rm -rf bin coverage.*
