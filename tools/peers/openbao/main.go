// Command openbao-peer is OpenBao's own core with its engines transit, kv and pki, one whose values are leased, and the
// logins of machines, in memory, for the tests of the clients.
//
// It starts sealed and not initialised: who uses it does both over HTTP. The first argument is the address to listen
// on; the address it got is the first line it prints. With a certificate and its key as two more arguments it speaks
// TLS and asks for a client's certificate.
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"

	log "github.com/hashicorp/go-hclog"
	"github.com/openbao/openbao/builtin/credential/approle"
	"github.com/openbao/openbao/builtin/credential/cert"
	jwt "github.com/openbao/openbao/builtin/credential/jwt"
	kubernetes "github.com/openbao/openbao/builtin/credential/kubernetes"
	"github.com/openbao/openbao/builtin/logical/kv"
	"github.com/openbao/openbao/builtin/logical/pki"
	"github.com/openbao/openbao/builtin/logical/transit"
	baohttp "github.com/openbao/openbao/http"
	"github.com/openbao/openbao/internalshared/configutil"
	"github.com/openbao/openbao/sdk/v2/helper/consts"
	"github.com/openbao/openbao/sdk/v2/logical"
	"github.com/openbao/openbao/sdk/v2/physical/inmem"
	"github.com/openbao/openbao/vault"
)

// noPlugins has no plugin: the engines that are needed are given to the core directly.
type noPlugins struct{}

func (noPlugins) Contains(string, consts.PluginType) bool { return false }
func (noPlugins) Get(string, consts.PluginType) (func() (interface{}, error), bool) {
	return nil, false
}
func (noPlugins) Keys(consts.PluginType) []string { return nil }
func (noPlugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}

func main() {
	if err := serve(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address string, pair []string) error {
	logger := log.New(&log.LoggerOptions{Level: log.Error, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:        storage,
		BuiltinRegistry: noPlugins{},
		LogicalBackends: map[string]logical.Factory{
			"transit": transit.Factory,
			"kv":      kv.Factory,
			"pki":     pki.Factory,
			"leased":  vault.LeasedPassthroughBackendFactory,
		},
		CredentialBackends: map[string]logical.Factory{
			"approle":    approle.Factory,
			"cert":       cert.Factory,
			"jwt":        jwt.Factory,
			"kubernetes": kubernetes.Factory,
		},
		Logger: logger,
	})
	if err != nil {
		return err
	}
	listener, scheme, err := listen(address, pair)
	if err != nil {
		return err
	}
	fmt.Printf("%s://%s\n", scheme, listener.Addr())
	properties := &vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}}
	return http.Serve(listener, baohttp.Handler.Handler(properties))
}

func listen(address string, pair []string) (net.Listener, string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil || len(pair) != 2 {
		return listener, "http", err
	}
	certificate, err := tls.LoadX509KeyPair(pair[0], pair[1])
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert}
	return tls.NewListener(listener, config), "https", err
}
