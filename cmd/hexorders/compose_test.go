package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// The compose file names this program's variables, addresses and ports. No container is started here; what can be
// known without one is checked: that the file loads, and that it says what the program really reads.
func TestTheComposeFileFitsTheProgram(t *testing.T) {
	for _, problem := range composeProblems(t, readFile(t, "../../docker-compose.yml")) {
		t.Error(problem)
	}
}

// Each row breaks the file in one place, and the check must say so.
func TestTheComposeCheckFindsWhatIsWrong(t *testing.T) {
	good := readFile(t, "../../docker-compose.yml")
	for _, x := range []struct{ replace, by, want string }{
		{"HEXORDERS_STORE:-mongodb}", "HEXORDERS_STORE:-mongo}", "HEXORDERS_STORE=mongo: must be "},
		{"HEXORDERS_STORE: $", "HEXORDERS_STROE: $", "did you mean HEXORDERS_STORE?"},
		{"HEXORDERS_BROKER: ${HEXORDERS_BROKER:-kafka}", "HEXORDERS_BROKER: inproc", "the whole compose file is for mongodb and kafka"},
		{"HEXORDERS_HTTP_ADDR: 0.0.0.0:8080", "HEXORDERS_HTTP_ADDR: 127.0.0.1:8080", "nobody outside the container reaches 127.0.0.1:8080"},
		{"HEXORDERS_HTTP_ADDR: 0.0.0.0:8080", "HEXORDERS_HTTP_ADDR: 0.0.0.0:8181",
			"service hexorders publishes 8080 of the container, where nothing listens"},
		{`"127.0.0.1:8080:8080"`, `"127.0.0.1:8000:8080"`, "service hexorders is not published on 8080"},
		{"mongodb://mongo:${SERVICES_MONGODB_PORT:-27017}/?directConnection=true\n      HEXORDERS",
			"mongodb://db:27017/\n      HEXORDERS", `no service "db"`},
		{"mongodb://mongo:${SERVICES_MONGODB_PORT:-27017}/?directConnection=true\n      HEXORDERS",
			"mongodb://mongo:27018/\n      HEXORDERS", "nothing says that service mongo listens on 27018"},
		{"HEXORDERS_KAFKA_BROKERS: kafka:19092", "HEXORDERS_KAFKA_BROKERS: kafka:9092", "Kafka does not advertise kafka:9092"},
		{":${SERVICES_KAFKA_PORT:-9092}:9092", ":9192:9092", "service kafka is not published on 9092"},
		{"127.0.0.1:${SERVICES_KAFKA_PORT:-9092}:9092", "${SERVICES_KAFKA_PORT:-9092}:9092", "service kafka is open to the network"},
		{"image: apache/kafka:4.1.0", "image: apache/kafka", "image apache/kafka of service kafka has no fixed tag"},
		{"image: apache/kafka:4.1.0", "image: apache/kafka:latest", "image apache/kafka:latest of service kafka has no fixed tag"},
		{"      mongo:\n        condition: service_healthy", "      mongo:\n        condition: service_started",
			"hexorders must wait until mongo is healthy"},
		{"HEXORDERS_NATS_URL: nats://nats:4222", "HEXORDERS_NATS_URL: nats://nats:4223",
			"the hexorders of the compose file connects to nats:4223"},
		{"127.0.0.1:${SERVICES_NATS_PORT:-4222}:4222", "127.0.0.1:4223:4222", "service nats is not published on 4222"},
		{"./deploy/nats:", "./deploy/broker:", "deploy/broker of service nats is not there"},
		{"/etc/nats/nats.conf", "/etc/nats/server.conf", "service nats has no file /etc/nats/server.conf"},
		{"- nats-data:/data", "- /data", "data of service nats are not in a named volume"},
		{"  mongo-data:\n", "", "mongo-data"},
		{"- mongo-data:/data/db", "- /data/db", "data of service mongo are not in a named volume"},
		{"stop_grace_period: 15s", "stop_grace_period: 5s", "stop_grace_period"},
		{"profiles: [tools]", "profiles: []", "must be in the profile tools"},
		{"profiles: [postgres]", "profiles: []", "must be in the profile postgres"},
		{"profiles: [observability]", "profiles: []", "must be in the profile observability"},
		{"./deploy/prometheus:", "./deploy/prom:", "deploy/prom of service prometheus is not there"},
		{"=/etc/alertmanager/alertmanager.yaml", "=/etc/alertmanager/alertmanager.yml", "no file /etc/alertmanager/alertmanager.yml"},
		{"dashboards/hexorders.json", "dashboards/home.json", "no file /etc/grafana/dashboards/home.json"},
		{`"127.0.0.1:9093:9093"`, `"127.0.0.1:9093:9094"`, "prometheus.yaml names alertmanager:9093, and no service publishes that"},
	} {
		bad := strings.Replace(good, x.replace, x.by, 1)
		if bad == good {
			t.Errorf("the compose file has no %q to break: correct this test", x.replace)
			continue
		}
		if got := strings.Join(composeProblems(t, bad), "\n"); !strings.Contains(got, x.want) {
			t.Errorf("%q instead of %q: found\n%s\nwant %q", x.by, x.replace, got, x.want)
		}
	}
}

// The image sets variables too.
func TestTheDockerfileSetsOnlyVariablesThatTheProgramReads(t *testing.T) {
	set := regexp.MustCompile(`(HEXORDERS_\w+)=(\S+)`).FindAllStringSubmatch(readFile(t, "../../Dockerfile"), -1)
	if len(set) == 0 {
		t.Fatal("the Dockerfile sets no variable: without HEXORDERS_HTTP_ADDR nobody outside reaches the service")
	}
	for _, s := range set {
		for _, problem := range variableProblems(map[string]string{s[1]: s[2]}) {
			t.Error(problem)
		}
	}
}

func composeProblems(t *testing.T, content string) (problems []string) {
	t.Helper()
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	details := types.ConfigDetails{
		WorkingDir:  "../..",
		ConfigFiles: []types.ConfigFile{{Filename: "docker-compose.yml", Content: []byte(content)}},
		Environment: types.Mapping{},
	}
	project, err := loader.LoadWithContext(t.Context(), details, func(o *loader.Options) {
		o.Profiles = []string{"tools", "observability", "nats", "postgres"}
	})
	if err != nil {
		return []string{err.Error()}
	}

	for name, want := range map[string][]string{"mongo": nil, "kafka": nil, "hexorders": nil, "nats": {"nats"}, "kafka-ui": {"tools"},
		"mongo-express": {"tools"}, "prometheus": {"observability"}, "alertmanager": {"observability"},
		"grafana": {"observability"}, "jaeger": {"observability"}, "postgres": {"postgres"}} {
		service, ok := project.Services[name]
		if !ok {
			return []string{"no service " + name}
		}
		switch {
		case len(want) > 0 && !slices.Equal(service.Profiles, want):
			complain("service %s must be in the profile %s", name, want[0])
		case len(want) == 0 && len(service.Profiles) > 0:
			complain("service %s must start without a profile", name)
		}
	}

	for name, service := range project.Services {
		_, tag, _ := strings.Cut(service.Image[strings.LastIndex(service.Image, "/")+1:], ":")
		if service.Build == nil && (tag == "" || tag == "latest") {
			complain("image %s of service %s has no fixed tag", service.Image, name)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				complain("service %s is open to the network, and has no password", name)
			}
		}
		for dependency, condition := range service.DependsOn {
			if condition.Condition != types.ServiceConditionHealthy {
				complain("%s must wait until %s is healthy", name, dependency)
			}
			if project.Services[dependency].HealthCheck == nil {
				complain("service %s has no healthcheck, and %s waits for it", dependency, name)
			}
		}
	}
	for _, name := range []string{"mongo", "kafka", "nats"} {
		service := project.Services[name]
		if !slices.ContainsFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool {
			_, declared := project.Volumes[v.Source]
			return v.Type == types.VolumeTypeVolume && declared
		}) {
			complain("data of service %s are not in a named volume", name)
		}
		if _, waits := project.Services["hexorders"].DependsOn[name]; !waits && len(service.Profiles) == 0 {
			complain("hexorders does not wait for %s", name)
		}
	}

	hexorders := project.Services["hexorders"]
	if grace := hexorders.StopGracePeriod; grace == nil || time.Duration(*grace) < stopWithin {
		complain("stop_grace_period must leave hexorders the %s that a stop may take", stopWithin)
	}
	environment := map[string]string{}
	for name, value := range hexorders.Environment {
		if value != nil {
			environment[name] = *value
		}
	}
	problems = append(problems, variableProblems(environment)...)
	problems = append(problems, addressProblems(t, project, environment)...)
	return append(problems, deployProblems(t, project)...)
}

// deployProblems follows what the services read from deploy: the folders, the files in them, and the addresses in those.
func deployProblems(t *testing.T, project *types.Project) (problems []string) {
	t.Helper()
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for name, service := range project.Services {
		words := slices.Clone([]string(service.Command))
		for _, v := range service.Environment {
			words = append(words, value(v))
		}
		for _, mount := range service.Volumes {
			if mount.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(mount.Source); err != nil {
				complain("%s of service %s is not there", mount.Source, name)
			}
			for _, word := range words {
				_, file, named := strings.Cut(word, mount.Target+"/")
				if _, err := os.Stat(filepath.Join(mount.Source, file)); named && err != nil {
					complain("service %s has no file %s/%s", name, mount.Target, file)
				}
			}
		}
	}
	for _, file := range []string{"prometheus/prometheus.yaml", "alertmanager/alertmanager.yaml",
		"grafana/provisioning/datasources/prometheus.yaml"} {
		addresses := regexp.MustCompile(`(?m)^[^#\n]*["/]([a-z]+):(\d+)`).FindAllStringSubmatch(readFile(t, "../../deploy/"+file), -1)
		if len(addresses) == 0 {
			complain("%s names no address: the search is broken", file)
		}
		for _, a := range addresses {
			if !slices.ContainsFunc(project.Services[a[1]].Ports, func(p types.ServicePortConfig) bool {
				return strconv.Itoa(int(p.Target)) == a[2]
			}) {
				complain("%s names %s:%s, and no service publishes that", file, a[1], a[2])
			}
		}
	}
	return problems
}

// variableProblems holds variables against what the program reads.
func variableProblems(set map[string]string) (problems []string) {
	settings := variables(&environment{}, &Config{})
	entries := make([]string, 0, len(set))
	for name, value := range set {
		entries = append(entries, name+"="+value)
	}
	for _, v := range settings {
		if value, isSet := set[v.name]; isSet {
			if err := v.parse(value); err != nil {
				problems = append(problems, v.name+"="+value+": "+err.Error())
			}
		}
	}
	return append(problems, unknownVariables(settings, entries)...)
}

// addressProblems follows every address that hexorders is given to the service that must listen there, and every port
// that a program on this machine expects by default to the service that publishes it.
func addressProblems(t *testing.T, project *types.Project, environment map[string]string) (problems []string) {
	t.Helper()
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if environment["HEXORDERS_STORE"] != "mongodb" || environment["HEXORDERS_BROKER"] != "kafka" {
		complain("the whole compose file is for mongodb and kafka")
	}

	host, port, _ := net.SplitHostPort(environment["HEXORDERS_HTTP_ADDR"])
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		complain("nobody outside the container reaches %s", net.JoinHostPort(host, port))
	}
	listens := map[string]string{"hexorders": port, "postgres": "5432"}

	uri, err := url.Parse(environment["HEXORDERS_MONGODB_URI"])
	if err != nil {
		return append(problems, err.Error())
	}
	if mongo, ok := project.Services[uri.Hostname()]; !ok {
		complain("no service %q", uri.Hostname())
	} else if i := slices.Index(mongo.Command, "--port"); i < 0 || i+1 == len(mongo.Command) || mongo.Command[i+1] != uri.Port() {
		complain("nothing says that service %s listens on %s", uri.Hostname(), uri.Port())
	} else {
		listens["mongo"] = uri.Port()
	}

	kafka := project.Services["kafka"].Environment
	if advertised := value(kafka["KAFKA_ADVERTISED_LISTENERS"]); !strings.Contains(advertised,
		"://"+environment["HEXORDERS_KAFKA_BROKERS"]) {
		complain("Kafka does not advertise %s", environment["HEXORDERS_KAFKA_BROKERS"])
	}
	if m := regexp.MustCompile(`HOST://[^:,]*:(\d+)`).FindStringSubmatch(value(kafka["KAFKA_LISTENERS"])); m != nil {
		listens["kafka"] = m[1]
	}

	if got := environment["HEXORDERS_NATS_URL"]; got != "nats://nats:4222" { // the port of deploy/nats/nats.conf
		complain("the hexorders of the compose file connects to %s", strings.TrimPrefix(got, "nats://"))
	}

	for name, expected := range expectedPorts(t) {
		for _, p := range project.Services[name].Ports {
			if target := strconv.Itoa(int(p.Target)); listens[name] != "" && target != listens[name] {
				complain("service %s publishes %s of the container, where nothing listens", name, target)
			}
			if p.Published != expected {
				complain("service %s is not published on %s, where hexorders and its users expect it by default", name, expected)
			}
		}
		if len(project.Services[name].Ports) != 1 {
			complain("service %s is to publish one port", name)
		}
	}
	return problems
}

// expectedPorts are the ports in the defaults of the settings.
func expectedPorts(t *testing.T) map[string]string {
	t.Helper()
	cleanEnvironment(t)
	c, _, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	port := func(address string) string { return regexp.MustCompile(`:(\d+)`).FindStringSubmatch(address)[1] }
	return map[string]string{
		"hexorders": port(c.HTTP.Addr), "mongo": port(c.MongoDB.URI), "kafka": port(c.Kafka.Brokers), "nats": port(c.NATS.URL),
		"postgres": port(c.Postgres.URI),
	}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
