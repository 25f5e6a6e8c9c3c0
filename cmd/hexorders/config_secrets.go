package main

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// secrets are the settings that no log and no screen may show, with what is shown in place of each. A secret may also come
// from a file: HEXORDERS_MONGODB_URI_FILE is the path of the file with the value of HEXORDERS_MONGODB_URI.
var secrets = map[string]func(value string) string{
	"HEXORDERS_MONGODB_URI":  masked,
	"HEXORDERS_POSTGRES_URI": masked,
	"HEXORDERS_NATS_URL":     masked,
	"HEXORDERS_KAFKA_SASL_PASSWORD": func(value string) string {
		if value == "none" {
			return value
		}
		return "***"
	},
}

// shown is the value of a setting as it may be shown.
func shown(name, value string) string {
	mask, secret := secrets[name]
	switch {
	case !secret:
		return masked(value)
	case secretFile(name) != "" && !strings.Contains(value, "://"): // perhaps the password alone
		return "***"
	default:
		return mask(value)
	}
}

var (
	// Greedy, up to the last @: a password that should have been escaped and was not is masked all the same. Without a
	// scheme, or with a mistyped one, all text with a colon before the @ may be a password.
	userInfo     = regexp.MustCompile(`(?s)://.*@`)
	noScheme     = regexp.MustCompile(`(?s)^.*:.*@`)
	secretOption = regexp.MustCompile(`(?i)([?&](?:[^=&]*password|authMechanismProperties)=)[^&]*`)
)

// masked is a value without what a URI in it keeps secret.
func masked(value string) string {
	if userInfo.MatchString(value) {
		value = userInfo.ReplaceAllString(value, "://***@")
	} else {
		value = noScheme.ReplaceAllString(value, "***@")
	}
	return secretOption.ReplaceAllString(value, "$1***")
}

// secretFile is the path of the file that holds a setting, "" when none does.
func secretFile(name string) string {
	if _, secret := secrets[name]; !secret {
		return ""
	}
	return os.Getenv(name + "_FILE")
}

// readSecretFiles replaces the texts of settings by what is in their files. A file that cannot be read makes the parser of
// its setting fail.
func readSecretFiles(settings []variable) {
	for i, v := range settings {
		path := secretFile(v.name)
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		settings[i].text = strings.TrimRight(string(text), "\r\n")
		_, both := os.LookupEnv(v.name)
		switch {
		case both:
			err = fmt.Errorf("%s and %s_FILE are both set: unset one of them", v.name, v.name)
		case err != nil:
			err = fmt.Errorf("%s_FILE cannot be read: %w", v.name, err)
		case settings[i].text == "":
			err = fmt.Errorf("the file %s (%s_FILE) is empty", path, v.name)
		default:
			continue
		}
		settings[i].parse = func(string) error { return err }
	}
}

// parseSASL parses the user or the password of the SASL protocols.
func parseSASL(c *Config) func(text string) (string, error) {
	return func(text string) (string, error) {
		protocol := c.Kafka.Security.Protocol // it was parsed before
		switch sasl := strings.HasPrefix(protocol, "sasl_"); {
		case sasl && (text == "none" || text == ""):
			return "", fmt.Errorf("is needed with HEXORDERS_KAFKA_SECURITY_PROTOCOL=%s", protocol)
		case !sasl && text != "none":
			return "", errors.New("counts only with HEXORDERS_KAFKA_SECURITY_PROTOCOL=sasl_ssl or sasl_plaintext")
		case !sasl:
			return "", nil
		}
		return text, nil
	}
}

// parseCertificates parses the path of a file with certificates, "" when the text is the word for none.
func parseCertificates(none string) func(path string) (string, error) {
	return func(path string) (string, error) {
		if path == none {
			return "", nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("must be the path of a PEM file: %w", err)
		}
		if block, _ := pem.Decode(text); block == nil || block.Type != "CERTIFICATE" {
			return "", errors.New("must be the path of a PEM file that begins with a certificate (-----BEGIN CERTIFICATE-----)")
		}
		return path, nil
	}
}

// withKafkasTLS refuses what the parser accepts unless Kafka's protocol has TLS.
func withKafkasTLS(c *Config, parse func(path string) (string, error)) func(path string) (string, error) {
	return func(path string) (string, error) {
		parsed, err := parse(path)
		if (parsed != "" || err != nil) && !strings.HasSuffix(c.Kafka.Security.Protocol, "ssl") { // it was parsed before
			return "", errors.New("counts only with HEXORDERS_KAFKA_SECURITY_PROTOCOL=ssl or sasl_ssl")
		}
		return parsed, err
	}
}

// parseCredentials parses the path of a file with a JWT and its key.
func parseCredentials(path string) (string, error) {
	if path == "none" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("must be the path of a file of credentials: %w", err)
	}
	if !strings.Contains(string(text), "-----BEGIN NATS USER JWT-----") {
		return "", errors.New("must be the path of a file of credentials (-----BEGIN NATS USER JWT-----)")
	}
	return path, nil
}

// parseKey parses the path of the file with the key of the client's certificate, which the variable named sets.
func parseKey(named string, file *string) func(path string) (string, error) {
	return func(path string) (string, error) {
		certificate := *file // it was parsed before
		switch {
		case path == "none" && certificate == "":
			return "", nil
		case path == "none":
			return "", errors.New("is needed with " + named)
		case certificate == "":
			return "", errors.New("counts only with " + named)
		}
		if _, err := tls.LoadX509KeyPair(certificate, path); err != nil {
			return "", fmt.Errorf("must be the PEM file with the key of %s: %w", certificate, err)
		}
		return path, nil
	}
}
