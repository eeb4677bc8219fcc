// Command vault-peer is Vault's own core with its engines transit, kv and pki, one whose values are leased, and the logins of
// machines, in memory, for the tests of the clients.
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
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
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
func (noPlugins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

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
		DisableMlock: true,
		Logger:       logger,
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
	return http.Serve(listener, vaulthttp.Handler.Handler(properties))
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
