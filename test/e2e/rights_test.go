package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/postgres/postgrestest"
)

// What docs/secure.md lets each role of the service do, and a flow that does all of it. The tests of the default build show
// that it is enough; `make test-rights` shows that nothing of it is too much (rights_needed_test.go).

// right is one thing that the page lets the user of a role do.
type right struct{ server, role, action, on string }

func (r right) String() string {
	return fmt.Sprintf("%s: %s may %s %s", r.server, r.role, r.action, r.on)
}

const (
	ofMongoDB  = "MongoDB"
	ofKafka    = "Kafka"
	ofPostgres = "PostgreSQL"
	ofNATS     = "NATS"

	laterTables = "TABLES" // a right in PostgreSQL on tables that are made later
)

// listedRights are those of the page.
func listedRights(t testing.TB, server string) (all []right) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", "secure.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	switch server {
	case ofMongoDB:
		all = rightsInMongoDB(t, page)
	case ofKafka:
		for _, match := range regexp.MustCompile(
			`--allow-principal User:(\w+) --((?:topic|group) \S+(?: --resource-pattern-type prefixed)?)((?: --operation \w+)+)`).
			FindAllStringSubmatch(page, -1) {
			for operation := range strings.SplitSeq(strings.TrimPrefix(match[3], " --operation "), " --operation ") {
				all = append(all, right{server, match[1], operation, match[2]})
			}
		}
	case ofPostgres:
		for _, match := range regexp.MustCompile(`GRANT ([^;]+?) ON ([^;]+?) TO ([^;]+?);`).FindAllStringSubmatch(page, -1) {
			for _, role := range regexp.MustCompile(`hexorders_\w+`).FindAllString(match[3], -1) {
				for _, on := range regexp.MustCompile(`,\s+`).Split(match[2], -1) {
					for action := range strings.SplitSeq(match[1], ", ") {
						all = append(all, right{server, strings.TrimPrefix(role, "hexorders_"), action, on})
					}
				}
			}
		}
	case ofNATS:
		for _, match := range regexp.MustCompile(`(?m)^(\w+): \{ publish: \[([^]]+)\], subscribe: \[([^]]+)\] \}`).
			FindAllStringSubmatch(page, -1) {
			for i, action := range []string{"publish", "subscribe"} {
				for _, subject := range regexp.MustCompile(`"(.+?)"`).FindAllStringSubmatch(match[i+2], -1) {
					all = append(all, right{server, match[1], action, subject[1]})
				}
			}
		}
	}
	if want := map[string]int{ofMongoDB: 3, ofKafka: 2, ofPostgres: 2, ofNATS: 2}[server]; len(rolesOf(all)) != want {
		t.Fatalf("docs/secure.md has rights in %s for %v, want %d roles", server, rolesOf(all), want)
	}
	return all
}

func rightsInMongoDB(t testing.TB, page string) (all []right) {
	t.Helper()
	for _, match := range regexp.MustCompile(`db\.runCommand\((\{ "createRole": (?s:.*?\})\s*)\)\n`).FindAllStringSubmatch(page, -1) {
		var role struct {
			Name       string `bson:"createRole"`
			Privileges []struct {
				Resource struct{ DB, Collection string }
				Actions  []string
			}
		}
		if err := bson.UnmarshalExtJSON([]byte(match[1]), false, &role); err != nil {
			t.Fatalf("docs/secure.md: %v in %s", err, match[1])
		}
		for _, p := range role.Privileges {
			if p.Resource.DB != "hexorders" {
				t.Fatalf("docs/secure.md has a right in the database %q", p.Resource.DB)
			}
			for _, action := range p.Actions {
				all = append(all, right{ofMongoDB, strings.TrimPrefix(role.Name, "hexorders-"), action, p.Resource.Collection})
			}
		}
	}
	return all
}

func rolesOf(all []right) (roles []string) {
	for _, r := range all {
		if !slices.Contains(roles, r.role) {
			roles = append(roles, r.role)
		}
	}
	return roles
}

// grantInMongoDB makes a user for each role, with rights in the world's database. The user is known by a certificate.
func (w *world) grantInMongoDB(all []right) {
	w.t.Helper()
	for _, role := range rolesOf(all) {
		privileges := bson.A{}
		for _, r := range all {
			if r.role == role {
				privileges = append(privileges, bson.D{
					{Key: "resource", Value: bson.D{{Key: "db", Value: w.source.Database}, {Key: "collection", Value: r.on}}},
					{Key: "actions", Value: bson.A{r.action}},
				})
			}
		}
		if err := w.mongo.Database(w.source.Database).RunCommand(w.t.Context(), bson.D{
			{Key: "createRole", Value: role}, {Key: "privileges", Value: privileges}, {Key: "roles", Value: bson.A{}},
		}).Err(); err != nil {
			w.t.Fatal(err)
		}
		w.mongoUser("CN="+w.userOf(role)+",OU=services,O=hexorders", "",
			bson.A{bson.D{{Key: "role", Value: role}, {Key: "db", Value: w.source.Database}}})
	}
}

// userOf is the name of a role's user in MongoDB, which no other world has.
func (w *world) userOf(role string) string { return role + "-" + w.source.Database }

// grantInKafka lets the users relay and views do something with the world's topic, and with groups of its readers.
func (w *world) grantInKafka(all []right) {
	w.t.Helper()
	types := map[string]kmsg.ACLResourceType{"topic": kmsg.ACLResourceTypeTopic, "group": kmsg.ACLResourceTypeGroup}
	here := strings.NewReplacer("topic orders.events", "topic "+w.source.Topic, "group hexorders.", "group hexorders."+w.source.Topic+".")
	request := kmsg.NewPtrCreateACLsRequest()
	for _, r := range all {
		on, prefixed := strings.CutSuffix(here.Replace(r.on), " --resource-pattern-type prefixed")
		kind, name, _ := strings.Cut(on, " ")
		acl := kmsg.NewCreateACLsRequestCreation()
		acl.Principal, acl.Host, acl.ResourceType, acl.ResourceName = "User:"+r.role, "*", types[kind], name
		acl.ResourcePatternType, acl.PermissionType = kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLPermissionTypeAllow
		if prefixed {
			acl.ResourcePatternType = kmsg.ACLResourcePatternTypePrefixed
		}
		var err error
		if acl.Operation, err = kmsg.ParseACLOperation(r.action); err != nil {
			w.t.Fatal(err)
		}
		request.Creations = append(request.Creations, acl)
	}
	response, err := request.RequestWith(w.t.Context(), w.kafka)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, result := range response.Results {
		if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
			w.t.Fatal(err)
		}
	}
	everything := kmsg.NewPtrDescribeACLsRequest()
	everything.ResourceType, everything.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	everything.Operation, everything.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	eventually(w.t, patience, "the broker knows the rights that its controller has stored", func() bool {
		response, err := everything.RequestWith(w.t.Context(), w.kafka)
		if err != nil {
			w.t.Fatal(err)
		}
		known := 0
		for _, resource := range response.Resources {
			if strings.Contains(resource.ResourceName, w.source.Topic) {
				known += len(resource.ACLs)
			}
		}
		return known == len(all)
	})
}

const lacksARight = "lacks a right"

// refusals are what the servers say to a user who lacks a right.
var refusals = []string{"Unauthorized", "not authorized", "authorization failed", "permission denied", "GRANT USAGE",
	"Permissions Violation"}

// refusal is the first line in which a server refuses something, "" when there is none.
func refusal(output string) string {
	for line := range strings.Lines(output) {
		if slices.ContainsFunc(refusals, func(r string) bool { return strings.Contains(line, r) }) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// employee does the work of a shop with a process for each role, each with the environment of its own user. It fails the
// test as soon as a server refuses something.
type employee struct {
	t    testing.TB
	w    *world
	envs map[string]environment
}

// start starts a role and waits until it is ready.
func (e *employee) start(role string, settings ...string) *process {
	e.t.Helper()
	env := e.as(role, settings)
	if role != "api" {
		env = env.with("HEXORDERS_HTTP_ADDR", e.w.newAddr())
	}
	return e.launch(role, env, "serve", "--roles", role).ready()
}

// as is the environment of a role's user, with other settings: names and values.
func (e *employee) as(role string, settings []string) environment {
	env := e.envs[role]
	for i := 0; i < len(settings); i += 2 {
		env = env.with(settings[i], settings[i+1])
	}
	return env
}

// launch watches what the process says, to its end.
func (e *employee) launch(name string, env environment, args ...string) *process {
	e.t.Helper()
	var watching sync.WaitGroup
	e.t.Cleanup(watching.Wait)
	p := launch(e.t, name, env, args...)
	watching.Go(func() {
		for ended := false; !ended && refusal(p.output.String()) == ""; {
			select {
			case <-p.ended:
				ended = true
			case <-time.After(50 * time.Millisecond):
			}
		}
		e.looksAt(p)
	})
	return p
}

func (e *employee) looksAt(p *process) {
	e.t.Helper()
	if refused := refusal(p.output.String()); refused != "" {
		e.t.Errorf("%s %s: %s", p.name, lacksARight, refused)
	}
}

func (e *employee) stop(p *process) {
	e.t.Helper()
	code := p.stop()
	e.looksAt(p)
	if code != 0 {
		e.t.Errorf("exit code of %s is %d, want 0", p.name, code)
	}
}

// runs runs a command that succeeds, as the user of a role.
func (e *employee) runs(role, args string, settings ...string) (output string) {
	e.t.Helper()
	p := e.launch(role, e.as(role, settings), strings.Fields(args)...)
	code := p.wait(patience)
	e.looksAt(p)
	output = p.output.String()
	if code != 0 {
		e.t.Fatalf("hexorders %s, with the rights of %s: exit code %d\n%s", args, role, code, output)
	}
	return output
}

func (e *employee) asks(method, path, body string, status int, header ...string) answer {
	e.t.Helper()
	a, err := e.w.client().do(e.t.Context(), method, path, body, header...)
	if err != nil || a.status != status {
		e.t.Fatalf("%s %s: answer %.500s, error %v, want %d", method, path, a, err, status)
	}
	return a
}

// reads asks for everything that the views have of an order.
func (e *employee) reads(id string, version int) {
	e.t.Helper()
	for _, path := range []string{
		"/orders?buyerId=9999&atLeastVersion=%s/%d", "/orders/%s/timeline?atLeastVersion=%d",
		"/buyers/9999/activity?atLeastVersion=%s/%d", "/products/1111/sales?atLeastVersion=%s/%d",
	} {
		path = fmt.Sprintf(path, id, version)
		eventually(e.t, patience, path+" has the order", func() bool {
			return e.asks("GET", path, "", http.StatusOK).header.Get("View-Version") == strconv.Itoa(version)
		})
	}
}

// works does everything that a right is for. The topic takes messages of up to 4096 bytes at first; unwell makes the store
// refuse one save, if it can, as a full disk does.
func (e *employee) works(unwell func() (well func())) {
	w := e.w
	api, relay, views := e.start("api"), e.start("relay"), e.start("views")
	placeAndPay(e.t, w)

	// A request that is sent twice; the history of its order.
	key := []string{"Idempotency-Key", `"once"`}
	first := e.asks("POST", "/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":1}]}`, http.StatusCreated, key...)
	e.asks("POST", "/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":1}]}`, http.StatusCreated, key...)
	o, err := first.order()
	if err != nil {
		e.t.Fatal(err)
	}
	e.asks("POST", "/orders/"+o.ID+"/pay", "", http.StatusOK)
	e.asks("GET", "/orders/"+o.ID+"/events", "", http.StatusOK)
	e.reads(o.ID, 2)

	// The store takes no writes for a while. Then the api finds out by itself that it does again.
	if unwell != nil {
		well := unwell()
		e.asks("POST", "/orders", `{"buyerId":"9999"}`, http.StatusServiceUnavailable)
		well()
		api.ready()
	}

	// A message that is too large is parked, and sent again: first in vain, then with success.
	e.runs("relay", "outbox status")
	large, err := e.asks("POST", "/orders", `{"buyerId":"9999","items":[`+lines(150)+`]}`, http.StatusCreated).order()
	if err != nil {
		e.t.Fatal(err)
	}
	parked := func() string {
		e.t.Helper()
		list := e.runs("relay", "outbox parked")
		if !strings.Contains(list, large.ID) {
			e.t.Fatalf("`hexorders outbox parked` does not show order %s:\n%s", large.ID, list)
		}
		return list
	}
	relay.says("its order is parked", patience)
	parked()
	const again = "the broker refuses a parked message again"
	e.runs("relay", "outbox retry "+large.ID)
	relay.says(again, patience)
	eventually(e.t, patience, "nobody asks for another try any more", func() bool { return !strings.Contains(parked(), "asked for") })
	w.setMaxMessageBytes("1048588")
	e.runs("relay", "outbox retry "+large.ID)
	refused := 1
	eventually(e.t, patience, "the large message is sent", func() bool {
		if n := strings.Count(relay.output.String(), again); n > refused { // a broker may need a moment to know its new limit
			refused = n
			e.runs("relay", "outbox retry "+large.ID)
		}
		return relay.output.contains("a parked order has been sent again")
	})

	// The views are made again, and the api reads the new ones.
	for _, args := range []string{"views status", "views parked", "views rebuild", "events tail --from start --count 1"} {
		e.runs("views", args)
	}
	e.reads(o.ID, 2)

	// The next relay gets the lease at once and deletes what is old.
	e.stop(relay)
	relay = e.start("relay", "HEXORDERS_OUTBOX_RETENTION", "1s", "HEXORDERS_LOG_LEVEL", "debug")
	e.asks("POST", "/orders/"+large.ID+"/pay", "", http.StatusOK)
	relay.says("old messages were deleted from the outbox", patience)
	e.reads(large.ID, 2)

	// Without a broker the topic is in the store.
	e.stop(relay)
	relay = e.start("relay", "HEXORDERS_BROKER", "inproc")
	e.asks("POST", "/orders", `{"buyerId":"9999"}`, http.StatusCreated)
	e.runs("views", "events tail --from start --count 1", "HEXORDERS_BROKER", "inproc")
	for _, p := range []*process{api, relay, views} {
		e.stop(p)
	}
}

// grantInPostgres makes a user for each role but views, which is the owner. It runs the page's statements as they stand
// there, and takes one right away if it is given.
func grantInPostgres(t testing.TB, uri, schema string, without ...right) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs", "secure.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := regexp.MustCompile("(?s)```sql\n(.*?)```").FindSubmatch(page)
	if listed == nil {
		t.Fatal("docs/secure.md has no list of rights in PostgreSQL")
	}
	here := strings.NewReplacer("SCHEMA public", "SCHEMA "+schema, "hexorders_", schema+"_")
	for _, role := range []string{"api", "relay"} {
		user := schema + "_" + role // users belong to the server, and others test on it too
		postgrestest.Execute(t, uri, "CREATE ROLE "+user+" LOGIN")
		t.Cleanup(func() { postgrestest.Execute(t, uri, "DROP OWNED BY "+user+"; DROP ROLE "+user) })
	}
	postgrestest.Execute(t, uri, here.Replace(string(listed[1])))
	for _, r := range without {
		revoke := fmt.Sprintf("REVOKE %s ON %s FROM hexorders_%s", r.action, r.on, r.role)
		if r.on == laterTables {
			revoke = "ALTER DEFAULT PRIVILEGES IN SCHEMA public " + revoke
		}
		postgrestest.Execute(t, uri, here.Replace(revoke))
	}
}
