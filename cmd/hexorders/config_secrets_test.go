package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hexorders/test/certificates"
)

func TestASecretComesFromItsFile(t *testing.T) {
	cleanEnvironment(t)
	uri, password := secretIn(t, "mongodb://root:hunter2@db/\n"), secretIn(t, "hunter 3\r\n")
	t.Setenv("HEXORDERS_MONGODB_URI_FILE", uri)
	t.Setenv("HEXORDERS_KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
	t.Setenv("HEXORDERS_KAFKA_SASL_USERNAME", "relay")
	t.Setenv("HEXORDERS_KAFKA_SASL_PASSWORD_FILE", password)
	c, warnings, err := loadConfig()
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	if c.MongoDB.URI != "mongodb://root:hunter2@db/" || c.Kafka.Security.Password != "hunter 3" {
		t.Errorf("URI %q, password %q", c.MongoDB.URI, c.Kafka.Security.Password)
	}
	out, errOut, code := runCommand(t, "config")
	for _, want := range []string{"mongodb://***@db/", "file " + uri, "***", "file " + password} {
		if !strings.Contains(out, want) {
			t.Errorf("`hexorders config` does not print %q:\n%s", want, out)
		}
	}
	if code != exitOK || errOut != "" || strings.Contains(out, "hunter") {
		t.Errorf("exit code %d, errors %q, output\n%s", code, errOut, out)
	}
}

func TestASecretThatCannotBeReadIsNamed(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for name, test := range map[string]struct{ set, file, want string }{
		"both":       {"mongodb://a/", secretIn(t, "mongodb://b/"), "HEXORDERS_MONGODB_URI and HEXORDERS_MONGODB_URI_FILE are both set"},
		"no file":    {"", nowhere, "HEXORDERS_MONGODB_URI_FILE cannot be read: open " + nowhere},
		"empty file": {"", secretIn(t, "\n"), "(HEXORDERS_MONGODB_URI_FILE) is empty"},
		"not a URI":  {"", secretIn(t, "hunter2"), "HEXORDERS_MONGODB_URI=***: must look like mongodb://"},
	} {
		cleanEnvironment(t)
		t.Setenv("HEXORDERS_MONGODB_URI_FILE", test.file)
		if test.set != "" {
			t.Setenv("HEXORDERS_MONGODB_URI", test.set)
		}
		if _, _, err := loadConfig(); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

func TestSettingsOfKafkasSecurityBelongTogether(t *testing.T) {
	ca := certificates.New(t, "authority")
	own, other := ca.Issue(t, "relay", certificates.Wish{}), ca.Issue(t, "views", certificates.Wish{})
	const protocol = "HEXORDERS_KAFKA_SECURITY_PROTOCOL"
	for _, test := range []struct {
		set  map[string]string
		want string // "": it is right
	}{
		{map[string]string{protocol: "ssl"}, ""},
		{map[string]string{protocol: "ssl", "HEXORDERS_KAFKA_SSL_CERTIFICATE": own.Certificate, "HEXORDERS_KAFKA_SSL_KEY": own.Key}, ""},
		{map[string]string{protocol: "ssl", "HEXORDERS_KAFKA_SSL_CERTIFICATE": own.Certificate},
			"HEXORDERS_KAFKA_SSL_KEY=none: is needed with HEXORDERS_KAFKA_SSL_CERTIFICATE"},
		{map[string]string{protocol: "ssl", "HEXORDERS_KAFKA_SSL_CERTIFICATE": own.Certificate, "HEXORDERS_KAFKA_SSL_KEY": other.Key},
			"private key does not match"},
		{map[string]string{"HEXORDERS_NATS_TLS_CERTIFICATE": own.Certificate, "HEXORDERS_NATS_TLS_KEY": own.Key}, ""},
		{map[string]string{"HEXORDERS_NATS_TLS_CERTIFICATE": own.Certificate},
			"HEXORDERS_NATS_TLS_KEY=none: is needed with HEXORDERS_NATS_TLS_CERTIFICATE"},
		{map[string]string{"HEXORDERS_NATS_CREDENTIALS": own.Key}, "must be the path of a file of credentials"},
		{map[string]string{protocol: "ssl", "HEXORDERS_KAFKA_SSL_CA": own.Key}, "begins with a certificate"},
		{map[string]string{protocol: "ssl", "HEXORDERS_KAFKA_SSL_CA": own.Key + ".none"}, "no such file"},
		{map[string]string{protocol: "sasl_ssl"}, "HEXORDERS_KAFKA_SASL_USERNAME=none: is needed with " + protocol + "=sasl_ssl"},
		{map[string]string{protocol: "sasl_ssl", "HEXORDERS_KAFKA_SASL_USERNAME": "relay"}, "SASL_PASSWORD=none: is needed"},
		{map[string]string{"HEXORDERS_KAFKA_SASL_PASSWORD": "hunter2"}, "HEXORDERS_KAFKA_SASL_PASSWORD=***: counts only with"},
	} {
		cleanEnvironment(t)
		for name, value := range test.set {
			t.Setenv(name, value)
		}
		_, _, err := loadConfig()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v, want %q", test.set, err, test.want)
		}
	}
}

func secretIn(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
