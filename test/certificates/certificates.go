// Package certificates makes authorities and certificates for tests, as PEM files.
package certificates

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. Its files are in a folder of the test.
type Authority struct {
	File string // its own certificate

	folder      string
	certificate *x509.Certificate
	key         crypto.Signer
}

// Wish is what a certificate is to say. The zero value of each field is usable.
type Wish struct {
	Unit  string        // the organizational unit; "" means services
	Hosts []string      // names and addresses of a server
	Valid time.Duration // from now on; 0 means an hour, and less than that has expired
}

// Files are a certificate and its key. Both has the key and then the certificate in one file, as MongoDB and Kafka want it.
type Files struct{ Certificate, Key, Both string }

// New makes an authority.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &Authority{folder: t.TempDir(), key: key}
	der := sign(t, template, template, key.Public(), key)
	var err error
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.File = a.write(t, name+".pem", block("CERTIFICATE", der))
	return a
}

// Issue signs a certificate for servers and clients. A second one of the same name replaces the files of the first.
func (a *Authority) Issue(t testing.TB, name string, wish Wish) Files {
	t.Helper()
	if wish.Unit == "" {
		wish.Unit = "services"
	}
	if wish.Valid == 0 {
		wish.Valid = time.Hour
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"hexorders"}, OrganizationalUnit: []string{wish.Unit}, CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(wish.Valid),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range wish.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key := newKey(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := block("CERTIFICATE", sign(t, template, a.certificate, key.Public(), a.key))
	private := block("PRIVATE KEY", pkcs8)
	return Files{
		Certificate: a.write(t, name+".crt.pem", certificate), Key: a.write(t, name+".key.pem", private),
		Both: a.write(t, name+".pem", bytes.Join([][]byte{private, certificate}, nil)),
	}
}

// write replaces a file in one step, as a program that renews certificates does.
func (a *Authority) write(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(a.folder, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
