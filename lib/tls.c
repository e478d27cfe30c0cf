/* tls.c - OpenSSL contexts and bufferevents over them.  Every context: TLS 1.2 or
 * newer, no compression, no renegotiation, no session cache in memory.  A stream that
 * ends without close_notify is an end like any other: our protocols know from their
 * own framing what is whole.  Certificates are made and pinned in tls_pin.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>

#include "log.h"
#include "mem.h"
#include "tls.h"
#include "tls_pin.h"

#define BEV_OPTIONS (BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS)

/* TLS 1.2 with forward secrecy and an AEAD only; what TLS 1.3 offers is fine. */
#define TLS12_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"

void
tls_explain(char *err, size_t errlen, const char *what)
{
	unsigned long code = ERR_peek_error();	/* the first: the cause */
	const char *reason = ERR_reason_error_string(code);

	if (ERR_SYSTEM_ERROR(code))
		reason = strerror(ERR_GET_REASON(code));
	snprintf(err, errlen, "%s: %s", what, reason == NULL ? "not usable" : reason);
	ERR_clear_error();
}

/* NULL, with why in err[]. */
static SSL_CTX *
give_up(SSL_CTX *ctx, char *err, size_t errlen, const char *what)
{
	tls_explain(err, errlen, what);
	SSL_CTX_free(ctx);
	return NULL;
}

static SSL_CTX *
new_context(const SSL_METHOD *method, int lowest)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL)
		log_fatal("out of memory: a TLS context");
	SSL_CTX_set_min_proto_version(ctx, lowest);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION
	    | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
	    | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_cipher_list(ctx, TLS12_CIPHERS);
	return ctx;
}

static const char *
load_pair(SSL_CTX *ctx, const char *cert_file, const char *key_file)
{
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
		return cert_file;
	if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
		return key_file;
	return SSL_CTX_check_private_key(ctx) == 1 ? NULL : key_file;
}

SSL_CTX *
tls_server_new(const char *cert_file, const char *key_file, char *err, size_t errlen)
{
	SSL_CTX *ctx = new_context(TLS_server_method(), TLS1_2_VERSION);
	const char *bad = load_pair(ctx, cert_file, key_file);

	if (bad != NULL)
		return give_up(ctx, err, errlen, bad);
	/* Tickets of one gate are unknown to the next, which then shakes hands in full. */
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"mailpair", 8);
	SSL_CTX_set_num_tickets(ctx, 1);
	return ctx;
}

SSL_CTX *
tls_peer_new(const char *cert_file, const char *key_file, const struct tls_pin *pins,
    size_t npins, char *err, size_t errlen)
{
	SSL_CTX *ctx = new_context(TLS_method(), TLS1_3_VERSION);
	const char *bad = load_pair(ctx, cert_file, key_file);

	if (bad != NULL)
		return give_up(ctx, err, errlen, bad);
	/* Each connection shows its certificate: nothing is resumed. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0);
	tls_pin_require(ctx, pins, npins);
	return ctx;
}

SSL_CTX *
tls_client_new(bool insecure, char *err, size_t errlen)
{
	SSL_CTX *ctx = new_context(TLS_client_method(), TLS1_2_VERSION);

	if (insecure) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
		return ctx;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_default_verify_paths(ctx) != 1)
		return give_up(ctx, err, errlen, "the system's certificates");
	return ctx;
}

static SSL *
new_ssl(SSL_CTX *ctx)
{
	SSL *ssl = SSL_new(ctx);

	if (ssl == NULL)
		log_fatal("out of memory: a TLS connection");
	return ssl;
}

static struct bufferevent *
wrap(struct event_base *base, SSL *ssl, int fd, enum bufferevent_ssl_state state)
{
	struct bufferevent *bev;

	bev = bufferevent_openssl_socket_new(base, fd, ssl, state, BEV_OPTIONS);
	if (bev == NULL)
		log_fatal("out of memory: a TLS stream");
	bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	return bev;
}

struct bufferevent *
tls_accept(struct event_base *base, SSL_CTX *ctx, int fd)
{
	return wrap(base, new_ssl(ctx), fd, BUFFEREVENT_SSL_ACCEPTING);
}

/* RFC 6066: no addresses in SNI; a certificate is checked against either. */
static void
expect_name(SSL *ssl, const char *name)
{
	unsigned char a[16];
	bool address = inet_pton(AF_INET, name, a) == 1 || inet_pton(AF_INET6, name, a) == 1;
	int ok;

	if (address)
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	else
		ok = SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
	if (ok != 1)
		log_fatal("tls: cannot expect the name %s", log_safe(name));
}

struct bufferevent *
tls_connect(struct event_base *base, SSL_CTX *ctx, int fd, const char *sni)
{
	SSL *ssl = new_ssl(ctx);

	if (sni != NULL && sni[0] != '\0')
		expect_name(ssl, sni);
	return wrap(base, ssl, fd, BUFFEREVENT_SSL_CONNECTING);
}

struct bufferevent *
tls_upgrade(struct bufferevent *plain, SSL_CTX *ctx)
{
	struct evbuffer *out = bufferevent_get_output(plain);
	struct event_base *base = bufferevent_get_base(plain);
	int fd = (int)bufferevent_getfd(plain);

	/* Bytes that came behind STARTTLS in the clear could be anybody's. */
	if (evbuffer_get_length(bufferevent_get_input(plain)) > 0) {
		errno = EPROTO;
		return NULL;
	}
	/* The invitation is a few bytes: a client that leaves no room for them in the
	 * socket is not going to shake hands. */
	bufferevent_disable(plain, EV_READ | EV_WRITE);
	evbuffer_unfreeze(out, 1);
	while (evbuffer_get_length(out) > 0)
		if (evbuffer_write(out, fd) <= 0)
			return NULL;
	bufferevent_setfd(plain, -1);
	bufferevent_free(plain);
	return tls_accept(base, ctx, fd);
}

void
tls_close(struct bufferevent *bev)
{
	SSL *ssl = bev == NULL ? NULL : bufferevent_openssl_get_ssl(bev);

	if (bev == NULL)
		return;
	if (ssl != NULL && SSL_is_init_finished(ssl)) {
		/* Ours goes out; theirs is not waited for. */
		SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
		SSL_shutdown(ssl);
		ERR_clear_error();
	}
	bufferevent_free(bev);
}

const char *
tls_error(struct bufferevent *bev)
{
	unsigned long code, last = 0;
	const char *reason;

	while ((code = bufferevent_get_openssl_error(bev)) != 0)
		last = code;
	reason = last == 0 ? NULL : ERR_reason_error_string(last);
	if (reason != NULL)
		return reason;
	return errno != 0 ? strerror(errno) : "closed";
}

const char *
tls_version(struct bufferevent *bev)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);

	return ssl == NULL ? NULL : SSL_get_version(ssl);
}
