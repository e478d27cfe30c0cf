/* gate_tls.c - puts a new certificate and key into the gate's TLS context.
 *
 * The parent has read the files, and has checked that they fit each other. */
#include <openssl/bio.h>
#include <openssl/pem.h>

#include "gate_tls.h"
#include "log.h"

static BIO *
bio_of(struct span s)
{
	return s.len > 0 && s.len < (1u << 20) ? BIO_new_mem_buf(s.p, (int)s.len) : NULL;
}

/* The first certificate is ours, those behind it lead to the root. */
static int
set_chain(SSL_CTX *ctx, BIO *pem, EVP_PKEY *key)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *own = PEM_read_bio_X509(pem, NULL, NULL, NULL), *more;
	int ok = own != NULL && chain != NULL;

	while (ok && (more = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL)
		ok = sk_X509_push(chain, more) > 0;
	ok = ok && SSL_CTX_use_cert_and_key(ctx, own, key, chain, 1) == 1;
	X509_free(own);
	sk_X509_pop_free(chain, X509_free);
	return ok ? 0 : -1;
}

void
gate_tls_reload(SSL_CTX *ctx, struct wire_in *in)
{
	BIO *cert = bio_of(wire_get_bytes(in)), *keyin = bio_of(wire_get_bytes(in));
	EVP_PKEY *key = NULL;

	if (wire_in_ok(in) && keyin != NULL)
		key = PEM_read_bio_PrivateKey(keyin, NULL, NULL, NULL);
	if (cert == NULL || key == NULL || set_chain(ctx, cert, key) == -1)
		log_warnx("the new certificate or key is not usable, the old ones stay");
	else
		log_info("new TLS certificate");
	EVP_PKEY_free(key);
	BIO_free(cert);
	BIO_free(keyin);
}
