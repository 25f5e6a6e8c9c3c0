package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hexorders/test/certificates"
)

// secured are a MongoDB that wants TLS and a user, and a Kafka with a listener for each protocol. Their certificates are for
// 127.0.0.1. The embedded URI is that of a member of the replica set, which may do everything; the embedded brokers are
// Kafka's own listener, without TLS, on which everybody may do everything.
type secured struct {
	*private
	ca *certificates.Authority

	mongo, ssl, saslSSL, saslPlaintext string // host:port
}

func newSecured(t testing.TB) *secured {
	t.Helper()
	folder := t.TempDir()
	s := &secured{private: newPrivate(t, "SERVICES_SECURE="+folder), ca: certificates.New(t, "authority")}
	server := s.ca.Issue(t, "server", certificates.Wish{Unit: "servers", Hosts: []string{"127.0.0.1"}})
	for name, from := range map[string]string{"ca.pem": s.ca.File, "server.pem": server.Both} {
		if err := os.Symlink(from, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, listener := range []*string{&s.ssl, &s.saslSSL, &s.saslPlaintext} {
		*listener = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	}
	users := []string{"SCRAM-SHA-256=[name=relay,password=relay-secret]"}
	for _, name := range []string{"relay", "views"} {
		users = append(users, fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s-secret]", name, name))
	}
	_, port, _ := strings.Cut(s.brokers, ":")
	for name, lines := range map[string][]string{"kafka.users": users, "kafka.properties": s.kafkaSettings(port, server)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.mongo = strings.TrimSuffix(strings.TrimPrefix(s.mongoURI, "mongodb://"), "/?replicaSet=rs0")
	s.mongoURI = s.uri(server)
	return s
}

func (s *secured) kafkaSettings(port string, server certificates.Files) []string {
	var controller int
	_, _ = fmt.Sscan(port, &controller) // it came from freePort
	more := fmt.Sprintf("SSL://%s,SASL_SSL://%s,SASL_PLAINTEXT://%s", s.ssl, s.saslSSL, s.saslPlaintext)
	settings := []string{
		fmt.Sprintf("listeners=CLIENTS://%s,CONTROLLER://127.0.0.1:%d,%s", s.brokers, controller+1, more),
		"advertised.listeners=CLIENTS://" + s.brokers + "," + more,
		"listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + server.Both,
		"ssl.truststore.type=PEM", "ssl.truststore.location=" + s.ca.File,
		"listener.name.ssl.ssl.client.auth=required",
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users=User:ANONYMOUS", // without a user, on the listener of the broker itself
	}
	const modules = "org.apache.kafka.common.security."
	for _, listener := range []string{"sasl_ssl", "sasl_plaintext"} {
		name := "listener.name." + listener + "."
		settings = append(settings,
			name+"plain.sasl.jaas.config="+modules+`plain.PlainLoginModule required user_relay="plain-secret";`,
			name+"scram-sha-256.sasl.jaas.config="+modules+"scram.ScramLoginModule required;",
			name+"scram-sha-512.sasl.jaas.config="+modules+"scram.ScramLoginModule required;")
	}
	return settings
}

// uri is for a user who is known by a certificate.
func (s *secured) uri(own certificates.Files) string {
	return "mongodb://" + s.mongo + "/?replicaSet=rs0&serverSelectionTimeoutMS=2000&authMechanism=MONGODB-X509&tls=true&tlsCAFile=" +
		s.ca.File + "&tlsCertificateKeyFile=" + own.Both
}

// uriFor is for a user who is known by a password.
func (s *secured) uriFor(user, password string) string {
	return fmt.Sprintf("mongodb://%s:%s@%s/?replicaSet=rs0&serverSelectionTimeoutMS=2000&tls=true&tlsCAFile=%s",
		user, password, s.mongo, s.ca.File)
}

// kafkaUser is the environment of a user who is known by a password, over TLS.
func (s *secured) kafkaUser(env environment, user string) environment {
	return env.with("HEXORDERS_KAFKA_BROKERS", s.saslSSL).with("HEXORDERS_KAFKA_SECURITY_PROTOCOL", "sasl_ssl").
		with("HEXORDERS_KAFKA_SASL_USERNAME", user).with("HEXORDERS_KAFKA_SASL_PASSWORD", user+"-secret").
		with("HEXORDERS_KAFKA_SSL_CA", s.ca.File)
}
