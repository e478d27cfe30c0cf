/* tls.h - OpenSSL contexts with our settings, and bufferevents over them. */
#ifndef LIB_TLS_H
#define LIB_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <openssl/ssl.h>

struct bufferevent;
struct event_base;

/* A server context for mail clients: TLS 1.2 and 1.3, the certificate chain and key
 * of these PEM files.  NULL with a message that names the file in err[]. */
SSL_CTX *tls_server_new(const char *cert_file, const char *key_file, char *err,
    size_t errlen);
/* Both directions between the nodes: TLS 1.3 only, own certificate shown, the
 * peer's certificate required and accepted only when the SHA-256 of its DER form
 * is one of the pins.  No CA, no names, no dates. */
struct tls_pin { uint8_t sha256[32]; };
SSL_CTX *tls_peer_new(const char *cert_file, const char *key_file,
    const struct tls_pin *pins, size_t npins, char *err, size_t errlen);
/* "sha256:" and 64 hex digits; -1 and EINVAL otherwise. */
int tls_pin_parse(const char *, struct tls_pin *);
/* The pin of a PEM certificate file. */
int tls_pin_of_file(const char *cert_file, struct tls_pin *, char *err, size_t errlen);
/* A verified client context for smart hosts; insecure: encrypt without verifying. */
SSL_CTX *tls_client_new(bool insecure, char *err, size_t errlen);
/* Makes a self-signed EC P-256 certificate valid ten years, with this name; key file
 * 0600.  Neither file is overwritten (EEXIST). */
int tls_make_cert(const char *name, const char *cert_file, const char *key_file);

/* bufferevent over fd (owned, closed with it); accept or connect side. */
struct bufferevent *tls_accept(struct event_base *, SSL_CTX *, int fd);
struct bufferevent *tls_connect(struct event_base *, SSL_CTX *, int fd, const char *sni);
/* STARTTLS: wraps a plain socket bufferevent whose input is empty; output that still
 * waits is sent first; the old one is freed, its descriptor moves over.  NULL, and the
 * old one stays the caller's to free, when input is there (EPROTO) or the client takes
 * no output. */
struct bufferevent *tls_upgrade(struct bufferevent *, SSL_CTX *);
/* Says close_notify where the stream is TLS, then frees it (plain ones too; NULL is
 * fine).  Output that still waits is lost, as with bufferevent_free(). */
void tls_close(struct bufferevent *);
/* What went wrong last, for the log ("tlsv1 alert unknown ca"). */
const char *tls_error(struct bufferevent *);
const char *tls_version(struct bufferevent *);	/* "TLSv1.3", or NULL when plain */

#endif
