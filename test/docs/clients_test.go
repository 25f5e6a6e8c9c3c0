package docs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// `make test-clients` makes all of them.
var allClients = flag.Bool("all-clients", false, "make every client, also those that take long to compile")

// generator is OpenAPI Generator, as Maven Central has it.
const (
	generatorVersion  = "7.25.0"
	generatorChecksum = "41ce4f6b07f196676439d710759fa1ced7a08066d06ff1bf314681470289efae"
)

// client is a client that a tool makes of the description, and the program in test/clients that uses it.
type client struct {
	name  string // the folder of the program
	slow  bool   // left to make test-clients
	build func(t *testing.T, dir string)
	run   []string
}

var clients = []client{
	{name: "oapi-codegen", build: oapiCodegen, run: []string{"./client"}},
	{name: "openapi-typescript", build: openAPITypeScript, run: []string{"node", "built/main.js"}},
	{name: "openapi-generator-go", build: generatedGo, run: []string{"./client"}},
	{name: "openapi-generator-python", build: generatedPython, run: []string{"python3", "main.py"}},
	{name: "openapi-generator-typescript", slow: true, build: generatedTypeScript, run: []string{"node", "built/main.js"}},
	{name: "openapi-generator-java", slow: true, build: generatedJava, run: []string{"java", "-cp", "built:lib/*", "Main"}},
}

// Each program says when it is through with one of these.
var clientSteps = []string{"flow", "errors", "precondition", "page", "retry", "cancel", "description"}

// A client that a tool makes of docs/api/openapi.yaml compiles, and does what README.md shows: an order from its creation
// to its payment, the lists, a refusal with errors[], a precondition that fails, a page and its successor, an idempotent
// retry, a command without its optional body.
func TestGeneratedClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, embedded)
	w.start()
	made := 0
	for _, c := range clients {
		if c.slow && !*allClients {
			continue
		}
		made++
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(repository, "test", "clients", c.name))); err != nil {
				t.Fatal(err)
			}
			c.build(t, dir)
			built := time.Since(start)
			output := runIn(t, dir, c.run[0], append(c.run[1:], "http://"+w.addr, "buyer-of-"+c.name)...)
			if want := "ok " + strings.Join(clientSteps, "\nok ") + "\n"; output != want {
				t.Errorf("it says\n%swant\n%s", output, want)
			}
			t.Logf("made and compiled in %.1f s", built.Seconds())
		})
	}
	if made < 4 {
		t.Errorf("%d clients were made", made)
	}
}

func oapiCodegen(t *testing.T, dir string) {
	mustMkdir(t, filepath.Join(dir, "hexorders"))
	runIn(t, dir, "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "hexorders",
		"-o", "hexorders/client.go", filepath.Join(repository, openAPI))
	runIn(t, dir, "go", "build", "-o", "client", ".")
}

func openAPITypeScript(t *testing.T, dir string) {
	modules := nodeModules(t, dir)
	runIn(t, dir, "node", modules+"/openapi-typescript/bin/cli.js", filepath.Join(repository, openAPI), "-o", "hexorders.ts")
	runIn(t, dir, "node", modules+"/typescript/bin/tsc", "-p", ".")
}

func generatedGo(t *testing.T, dir string) {
	generate(t, dir, "go", "hexorders", "packageName=hexorders,withGoMod=false")
	runIn(t, dir, "go", "build", "-o", "client", ".")
}

func generatedPython(t *testing.T, dir string) {
	generate(t, dir, "python", "generated", "packageName=hexorders")
	folder, err := pipInstalled("test/clients")
	if err != nil {
		t.Fatal(err)
	}
	// Python finds what stands beside the program.
	if err := os.Rename(filepath.Join(dir, "generated", "hexorders"), filepath.Join(dir, "hexorders")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := os.Symlink(filepath.Join(folder, entry.Name()), filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func generatedTypeScript(t *testing.T, dir string) {
	generate(t, dir, "typescript-fetch", "hexorders", "")
	runIn(t, dir, "node", nodeModules(t, dir)+"/typescript/bin/tsc", "-p", ".")
}

func generatedJava(t *testing.T, dir string) {
	generate(t, dir, "java", "generated", "library=native,invokerPackage=hexorders,apiPackage=hexorders.api,modelPackage=hexorders.model")
	folder, err := mavenInstalled()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(folder, "client"), filepath.Join(dir, "lib")); err != nil {
		t.Fatal(err)
	}
	runIn(t, dir, "javac", "-d", "built", "-cp", "lib/*", "-sourcepath", "generated/src/main/java", "Main.java")
}

func generate(t *testing.T, dir, language, folder, properties string) {
	t.Helper()
	jars, err := mavenInstalled()
	if err != nil {
		t.Fatal(err)
	}
	runIn(t, dir, "java", "-jar", filepath.Join(jars, "generator", "openapi-generator-cli-"+generatorVersion+".jar"),
		"generate", "-i", filepath.Join(repository, openAPI), "-g", language, "-o", folder,
		"--additional-properties=hideGenerationTimestamp=true,"+properties,
		"--global-property=apiTests=false,modelTests=false,apiDocs=false,modelDocs=false")
}

// mavenInstalled is a folder with the generator and with the libraries that its client in Java needs.
var mavenInstalled = sync.OnceValues(func() (folder string, err error) {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("install Java 17 or later and Maven: OpenAPI Generator needs them: %w", err)
		}
	}
	const plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:"
	folder, err = installed("test/clients", []string{"pom.xml"}, "sh", "-ec",
		"mvn --batch-mode --quiet --strict-checksums "+plugin+"copy-dependencies -DoutputDirectory=client -DincludeScope=runtime\n"+
			"mvn --batch-mode --quiet --strict-checksums "+plugin+"copy -DoutputDirectory=generator "+
			"-Dartifact=org.openapitools:openapi-generator-cli:"+generatorVersion+":jar")
	if err != nil {
		return "", err
	}
	jar, err := os.ReadFile(filepath.Join(folder, "generator", "openapi-generator-cli-"+generatorVersion+".jar"))
	if err != nil {
		return "", err
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(jar)); sum != generatorChecksum {
		return "", fmt.Errorf("the checksum of OpenAPI Generator is %s, want %s", sum, generatorChecksum)
	}
	return folder, nil
})

// nodeModules puts what test/clients/package-lock.json names beside a program.
func nodeModules(t *testing.T, dir string) string {
	t.Helper()
	folder, err := npmInstalled("test/clients")
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "node_modules")
	if err := os.Symlink(filepath.Join(folder, "node_modules"), link); err != nil {
		t.Fatal(err)
	}
	return link
}

func mustMkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// runIn is what a command that succeeds prints.
func runIn(t *testing.T, dir, name string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, arguments...)
	if strings.HasPrefix(name, "./") {
		c.Path = filepath.Join(dir, name)
	}
	c.Dir = dir
	c.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "no_proxy=*", "PYTHONUTF8=1")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("install %s: the generated clients need it", name)
	}
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(arguments, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}
