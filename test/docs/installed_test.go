package docs

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// npmInstalled is a folder in which npm has put what a place's package-lock.json names.
func npmInstalled(place string) (folder string, err error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("install Node.js 20 or later, with npm: the tests of docs/api need it: %w", err)
		}
	}
	return installed(place, []string{"package-lock.json", "package.json", ".npmrc"},
		"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
}

// pipInstalled is a folder in which pip has put what a place's requirements.txt names, for PYTHONPATH.
func pipInstalled(place string) (folder string, err error) {
	newEnough := exec.Command("python3", "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))")
	if output, err := newEnough.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install Python 3.11 or later, with pip: the tests of docs/api need it: %w\n%s", err, output)
	}
	return installed(place, []string{"requirements.txt"},
		"python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes",
		"--target", ".", "-r", "requirements.txt")
}

// installed is a folder in which a command was run beside copies of the place's files, once for each state of the first
// of them. The folder above it begins with a dot, so that `go list ./...` does not look into it.
func installed(place string, files []string, command ...string) (folder string, err error) {
	place = filepath.Join(repository, place)
	content := map[string][]byte{}
	for _, name := range files {
		if content[name], err = os.ReadFile(filepath.Join(place, name)); err != nil {
			return "", err
		}
	}
	folder = filepath.Join(place, ".installed", fmt.Sprintf("%x", sha256.Sum256(content[files[0]]))[:12])
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", err
	}
	// Beside it first: a folder of that name is whole, also when this is interrupted or another run does the same.
	half, err := os.MkdirTemp(filepath.Dir(folder), "half-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(half) }()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(half, name), text, 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, command[0], command[1:]...)
	install.Dir = half
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s beside the files of %s: %w\n%s", install, place, err, output)
	}
	if err := os.Rename(half, folder); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return folder, nil
}

// A lock file that names where packages were downloaded from would send everyone there.
func TestTheLockFilesNameNoRegistry(t *testing.T) {
	for _, place := range []string{"test/asyncapi", "test/clients", "test/newman", "test/redocly", "test/spectral"} {
		lock := read(t, place+"/package-lock.json")
		if strings.Contains(lock, `"resolved"`) || strings.Contains(lock, "://registry") {
			t.Errorf("%s/package-lock.json names a registry: "+
				"write it with `npm install --package-lock-only` there, where .npmrc leaves that out",
				place)
		}
		var packages struct {
			Packages map[string]struct{ Version, Integrity string }
		}
		if err := json.Unmarshal([]byte(lock), &packages); err != nil {
			t.Fatal(err)
		}
		for name, p := range packages.Packages {
			if name != "" && (p.Version == "" || p.Integrity == "") {
				t.Errorf("%s: %s is not pinned: version %q, integrity %q", place, name, p.Version, p.Integrity)
			}
		}
		if len(packages.Packages) < 2 {
			t.Errorf("%s/package-lock.json names %d packages", place, len(packages.Packages))
		}
	}
	// pip itself sees to the hashes.
	for _, place := range []string{"test/clients", "test/schemathesis"} {
		if list := read(t, place+"/requirements.txt"); strings.Contains(list, "://") || strings.Contains(list, "--index") {
			t.Errorf("%s/requirements.txt names a registry", place)
		}
	}
}
