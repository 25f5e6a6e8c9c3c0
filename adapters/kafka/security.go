//go:build cgo

package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

func (s Security) encrypts() bool      { return strings.HasSuffix(s.Protocol, "ssl") }
func (s Security) authenticates() bool { return strings.HasPrefix(s.Protocol, "sasl_") }

// withUser is the protocol that adds a user.
func (s Security) withUser() string {
	if s.encrypts() {
		return "sasl_ssl"
	}
	return "sasl_plaintext"
}

// refused finds out why a broker that accepts connections does not serve this client, and says what to do; nil means that
// it does not know. said is librdkafka's reason. librdkafka has one sentence for every certificate that it does not accept,
// so refused makes a TLS handshake of its own.
func (o Options) refused(ctx context.Context, said string) error {
	s := o.Security
	if strings.Contains(said, "SASL authentication error") || strings.Contains(said, "SASL mechanism") {
		return fmt.Errorf("Kafka at %s refuses the user %q with %s: correct HEXORDERS_KAFKA_SASL_USERNAME, "+
			"HEXORDERS_KAFKA_SASL_PASSWORD or HEXORDERS_KAFKA_SASL_MECHANISM (%s)", o.Brokers, s.Username, s.Mechanism, said)
	}
	for _, address := range o.brokers() {
		plain, err := dial(ctx, address, requestTimeout)
		if err != nil {
			continue // this one is down
		}
		encrypted, err := o.handshake(ctx, plain, address)
		switch {
		case err != nil:
			return err
		case encrypted && !s.encrypts():
			return fmt.Errorf("Kafka at %s wants TLS: set HEXORDERS_KAFKA_SECURITY_PROTOCOL to ssl or sasl_ssl", address)
		}
	}
	return nil
}

// handshake begins TLS with a broker as this client does, and closes the connection. Without TLS in the settings it tries
// all the same, to find out whether the broker wants it.
func (o Options) handshake(ctx context.Context, plain net.Conn, address string) (encrypted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	defer func() { _ = plain.Close() }() // nothing is sent
	config, err := o.Security.tlsConfig(address)
	if err != nil {
		return false, err
	}
	connection := tls.Client(plain, config)
	err = connection.HandshakeContext(ctx)
	if !o.Security.encrypts() {
		return connection.ConnectionState().HandshakeComplete, nil
	}
	if err == nil { // with TLS 1.3 a broker that refuses a client's certificate says so after the handshake
		_ = connection.SetReadDeadline(time.Now().Add(requestTimeout / 4))
		if _, err = connection.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			return true, nil // it waits for a request
		}
	}
	return true, o.Security.explainTLS(address, err)
}

func (s Security) tlsConfig(address string) (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: !s.encrypts()} //nolint:gosec // to find out whether there is TLS
	config.ServerName, _, _ = net.SplitHostPort(address)     // Options.check has looked at it
	if s.CA != "" {
		ca, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(ca)
	}
	if s.Certificate != "" {
		own, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
		if err != nil {
			return nil, fmt.Errorf("HEXORDERS_KAFKA_SSL_CERTIFICATE and HEXORDERS_KAFKA_SSL_KEY: %w", err)
		}
		if now := time.Now(); now.After(own.Leaf.NotAfter) {
			return nil, fmt.Errorf("the certificate in %s (HEXORDERS_KAFKA_SSL_CERTIFICATE) expired at %s: renew it", s.Certificate,
				own.Leaf.NotAfter.Format(time.RFC3339))
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}

// explainTLS says what to do about a handshake that failed.
func (s Security) explainTLS(address string, err error) error {
	var (
		stranger x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		plain    tls.RecordHeaderError
		remedy   string
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stranger):
		remedy = "set HEXORDERS_KAFKA_SSL_CA to the file with the certificate of the authority that signed the broker's"
	case errors.As(err, &name):
		remedy = "connect by a name in the broker's certificate (HEXORDERS_KAFKA_BROKERS, and the broker's advertised.listeners), " +
			"or give the broker a certificate with this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		remedy = fmt.Sprintf("the broker's certificate is valid from %s to %s: renew it, or correct this machine's clock",
			invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
	case errors.As(err, &plain), errors.Is(err, io.EOF) && s.Certificate == "":
		remedy = "this port takes no TLS: name the broker's TLS port in HEXORDERS_KAFKA_BROKERS, or set " +
			"HEXORDERS_KAFKA_SECURITY_PROTOCOL to " + strings.Replace(s.Protocol, "ssl", "plaintext", 1)
	default:
		remedy = "does the broker want a certificate of its clients? Set HEXORDERS_KAFKA_SSL_CERTIFICATE and HEXORDERS_KAFKA_SSL_KEY to one " +
			"that it trusts"
	}
	return fmt.Errorf("no TLS with Kafka at %s (%w): %s", address, err, remedy)
}
