package mongodb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// probeTimeout bounds the question to a single server, once no primary was found.
const probeTimeout = 2 * time.Second

// explain finds out why no primary answered. With replicaSet=rs0 in the URI the driver ignores each server that is
// not a member of rs0 until its time is up, whether that server is down, standalone, a member of another set or does not
// trust this client. So explain asks each server directly.
func explain(ctx context.Context, s *options.ClientOptions, cause error) error {
	if strings.Contains(cause.Error(), "auth error") { // the driver has no public type for it
		return explainUser(s, cause)
	}
	for _, host := range s.Hosts {
		server, err := probe(ctx, s, host)
		if err != nil {
			continue
		}
		if err := server.check(host); err != nil {
			return err
		}
		if s.ReplicaSet != nil && server.SetName != "" && *s.ReplicaSet != server.SetName {
			return fmt.Errorf("connect to MongoDB at %s: it belongs to the replica set %q, and the URI asks for replicaSet=%s: "+
				"correct the URI (HEXORDERS_MONGODB_URI)", host, server.SetName, *s.ReplicaSet)
		}
		return fmt.Errorf("%w: MongoDB at %s answers, but replica set %q has no primary that can be reached from here; its "+
			"members call themselves %s: do these names resolve here, and are most of them up? (%v)",
			ports.ErrUnavailable, host, server.SetName, strings.Join(server.Hosts, ", "), cause)
	}
	for _, host := range s.Hosts {
		// A connection of our own gives a better reason than the driver's long report of all servers.
		up, reason := handshake(ctx, s, host)
		switch {
		case up && reason != nil:
			return fmt.Errorf("%w: %w", ports.ErrUnavailable, reason)
		case reason != nil:
			cause = reason
		}
	}
	return fmt.Errorf("%w: no MongoDB answers at %s: start it (scripts/services up starts one) or correct the address "+
		"(HEXORDERS_MONGODB_URI): %v", ports.ErrUnavailable, hosts(s), cause)
}

func explainUser(s *options.ClientOptions, cause error) error {
	user, remedy := "nobody", "correct the user and the password in HEXORDERS_MONGODB_URI, and authSource, the database in which the "+
		"user was created"
	switch {
	case s.Auth == nil:
	case s.Auth.AuthMechanism != "MONGODB-X509":
		user = fmt.Sprintf("%q", s.Auth.Username)
	default:
		user = "of the certificate" // the cause has its name
		remedy = "create this user in the database $external (docs/secure.md), or set tlsCertificateKeyFile in " +
			"HEXORDERS_MONGODB_URI to the certificate of another"
	}
	return fmt.Errorf("MongoDB at %s refuses the user %s: %s (%w)", hosts(s), user, remedy, cause)
}

func probe(ctx context.Context, s *options.ClientOptions, host string) (*hello, error) {
	direct := *s
	direct.ReplicaSet = nil
	direct.SetHosts([]string{host}).SetDirect(true).
		SetServerSelectionTimeout(min(probeTimeout, *s.ServerSelectionTimeout))
	client, err := mongo.Connect(&direct)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	server := &hello{}
	return server, server.ask(ctx, client.Database("admin"))
}

// handshake connects to a server as the driver does and begins TLS. Without TLS in the URI it tries all the same, to find
// out whether the server wants it. up: the server accepts connections.
func handshake(ctx context.Context, s *options.ClientOptions, host string) (up bool, reason error) {
	address := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		address = net.JoinHostPort(host, "27017") // the default port
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	defer func() { _ = plain.Close() }()            // nothing is sent
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // to find out whether there is TLS
	if s.TLSConfig != nil {
		config = s.TLSConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	connection := tls.Client(plain, config)
	err = connection.HandshakeContext(ctx)
	if s.TLSConfig == nil {
		if connection.ConnectionState().HandshakeComplete {
			return true, fmt.Errorf("MongoDB at %s wants TLS: add tls=true to HEXORDERS_MONGODB_URI, and tlsCAFile", host)
		}
		return true, nil
	}
	if err == nil { // with TLS 1.3 a server that refuses the client's certificate says so after the handshake
		_ = connection.SetReadDeadline(time.Now().Add(probeTimeout / 4))
		if _, err = connection.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			return true, nil // it waits for a command
		}
		return true, explainCertificate(config, host, err)
	}
	return true, explainTLS(host, err)
}

// explainTLS says what to do about a handshake that failed.
func explainTLS(host string, err error) error {
	var (
		stranger x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		plain    tls.RecordHeaderError
		remedy   = "look at the server's log"
	)
	switch {
	case errors.Is(err, errExpired):
		return fmt.Errorf("no TLS with MongoDB at %s: %w", host, err)
	case errors.As(err, &stranger):
		remedy = "set tlsCAFile in HEXORDERS_MONGODB_URI to the file with the certificate of the authority that signed the server's"
	case errors.As(err, &name):
		remedy = "connect by a name in the server's certificate (HEXORDERS_MONGODB_URI, and the members of the replica set), or give " +
			"the server a certificate with this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		remedy = fmt.Sprintf("the server's certificate is valid from %s to %s: renew it, or correct this machine's clock",
			invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
	case errors.As(err, &plain), errors.Is(err, io.EOF):
		remedy = "it takes no TLS: remove tls=true from HEXORDERS_MONGODB_URI, or start mongod with --tlsMode requireTLS"
	}
	return fmt.Errorf("no TLS with MongoDB at %s (%w): %s", host, err, remedy)
}

// explainCertificate says what to do about a server that ends the connection after it has seen the client's certificate.
func explainCertificate(config *tls.Config, host string, err error) error {
	remedy := "the server's log says why it does not accept the certificate of tlsCertificateKeyFile in HEXORDERS_MONGODB_URI"
	if len(config.Certificates) == 0 {
		remedy = "it wants a certificate of its clients: set tlsCertificateKeyFile in HEXORDERS_MONGODB_URI"
	}
	return fmt.Errorf("MongoDB at %s ends the connection (%w): %s", host, err, remedy)
}

var errExpired = errors.New("the client's certificate has expired")

// keepCertificateFresh makes each new connection use the certificate that is in the file then, so that a renewed one counts
// without a restart, and an expired one is named: the driver reads the file once, and a server only hangs up. A file whose
// key has a password is left to the driver.
func keepCertificateFresh(s *options.ClientOptions, uri string) {
	_, query, _ := strings.Cut(uri, "?")
	file, locked := "", false
	for option := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(option, "=")
		switch strings.ToLower(name) {
		case "tlscertificatekeyfile", "sslclientcertificatekeyfile":
			file, _ = url.QueryUnescape(value) // the driver has read it
		case "tlscertificatekeyfilepassword", "sslclientcertificatekeypassword":
			locked = true
		}
	}
	if s.TLSConfig != nil && file != "" && !locked {
		s.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := tls.LoadX509KeyPair(file, file)
			if err == nil && time.Now().After(own.Leaf.NotAfter) {
				err = fmt.Errorf("%w: %s (tlsCertificateKeyFile in HEXORDERS_MONGODB_URI) expired at %s: renew it", errExpired, file,
					own.Leaf.NotAfter.Format(time.RFC3339))
			}
			return &own, err
		}
	}
}

var userInfo = regexp.MustCompile(`://.*@`)

// explainURI never quotes the user info: the driver's message may hold a piece of a password that is not percent-encoded.
func explainURI(uri string, err error) error {
	if userInfo.MatchString(uri) {
		another := "://user@"
		if strings.Count(userInfo.FindString(uri), ":") > 1 {
			another = "://user:password@"
		}
		if err = options.Client().ApplyURI(userInfo.ReplaceAllLiteralString(uri, another)).Validate(); err == nil {
			return errors.New("the MongoDB URI cannot be read: are all of : / ? # [ ] @ % in its user name and password percent-encoded?")
		}
	}
	return fmt.Errorf("the MongoDB URI cannot be read (HEXORDERS_MONGODB_URI): %w", err)
}
