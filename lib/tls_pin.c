/* tls_pin.c - certificates between the nodes: made by ourselves, known by their
 * SHA-256 and by nothing else.  No CA can speak for a node, and no date can take its
 * peer away. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "hex.h"
#include "log.h"
#include "mem.h"
#include "tls_pin.h"

#define DAYS 3650
#define PREFIX "sha256:"

struct pins {
	size_t n;
	struct tls_pin pin[];
};

int
tls_pin_parse(const char *text, struct tls_pin *pin)
{
	struct span s = span_of(text);

	if (!span_starts_nocase(s, PREFIX)) {
		errno = EINVAL;
		return -1;
	}
	s.p += sizeof(PREFIX) - 1;
	s.len -= sizeof(PREFIX) - 1;
	return hex_decode(s, pin->sha256, sizeof(pin->sha256));
}

static int
pin_of(const X509 *cert, struct tls_pin *pin)
{
	unsigned len = sizeof(pin->sha256);

	return X509_digest(cert, EVP_sha256(), pin->sha256, &len) == 1 ? 0 : -1;
}

int
tls_pin_of_file(const char *cert_file, struct tls_pin *pin, char *err, size_t errlen)
{
	FILE *f = fopen(cert_file, "re");
	X509 *cert;
	int rc;

	if (f == NULL) {
		snprintf(err, errlen, "%s: %s", cert_file, strerror(errno));
		return -1;
	}
	cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	rc = cert == NULL ? -1 : pin_of(cert, pin);
	if (rc == -1)
		tls_explain(err, errlen, cert_file);
	X509_free(cert);
	return rc;
}

/* In place of OpenSSL's whole verification: chain, names and dates do not matter. */
static int
verify_pin(X509_STORE_CTX *store, void *arg)
{
	const struct pins *pins = arg;
	X509 *cert = X509_STORE_CTX_get0_cert(store);
	struct tls_pin got;

	if (cert != NULL && pin_of(cert, &got) == 0)
		for (size_t i = 0; i < pins->n; i++)
			if (CRYPTO_memcmp(got.sha256, pins->pin[i].sha256, sizeof(got.sha256)) == 0) {
				X509_STORE_CTX_set_error(store, X509_V_OK);
				return 1;
			}
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
	return 0;
}

static void
free_pins(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
	free(ptr);
}

void
tls_pin_require(SSL_CTX *ctx, const struct tls_pin *pins, size_t n)
{
	static int slot = -1;	/* where a context keeps its pins until it is freed */
	struct pins *own = mem_alloc(sizeof(*own) + n * sizeof(own->pin[0]));

	own->n = n;
	if (n > 0)
		memcpy(own->pin, pins, n * sizeof(pins[0]));
	if (slot == -1)
		slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_pins);
	if (slot == -1 || SSL_CTX_set_ex_data(ctx, slot, own) != 1)
		log_fatal("tls: the pins cannot be kept");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, verify_pin, own);
}

static X509 *
self_signed(EVP_PKEY *key, const char *name)
{
	X509 *x = X509_new();
	uint64_t serial;
	X509_NAME *subject;
	char *names = mem_printf("DNS:%s", name);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

	free(names);
	random_bytes(&serial, sizeof(serial));
	if (x == NULL || ext == NULL)
		goto bad;
	subject = X509_get_subject_name(x);
	if (X509_set_version(x, X509_VERSION_3) != 1
	    || ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) != 1
	    || X509_gmtime_adj(X509_getm_notBefore(x), -86400) == NULL
	    || X509_gmtime_adj(X509_getm_notAfter(x), (long)DAYS * 86400) == NULL
	    || X509_set_pubkey(x, key) != 1
	    || X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0) != 1
	    || X509_set_issuer_name(x, subject) != 1 || X509_add_ext(x, ext, -1) != 1
	    || X509_sign(x, key, EVP_sha256()) == 0)
		goto bad;
	X509_EXTENSION_free(ext);
	return x;
bad:
	X509_EXTENSION_free(ext);
	X509_free(x);
	return NULL;
}

/* A new file, durable before it counts. */
static int
write_pem(const char *path, mode_t mode, X509 *cert, EVP_PKEY *key)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode), saved;
	FILE *f = fd == -1 ? NULL : fdopen(fd, "w");
	bool ok;

	if (fd == -1)
		return -1;
	if (f == NULL) {
		close(fd);
		goto undo;
	}
	ok = fchmod(fd, mode) == 0
	    && (cert != NULL ? PEM_write_X509(f, cert)
			     : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL)) == 1
	    && fflush(f) == 0 && fsync(fd) == 0;
	if (fclose(f) == 0 && ok)
		return 0;
undo:
	saved = errno == 0 ? EIO : errno;
	unlink(path);
	errno = saved;
	return -1;
}

int
tls_make_cert(const char *name, const char *cert_file, const char *key_file)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key == NULL ? NULL : self_signed(key, name);
	int rc = -1, saved;

	if (access(cert_file, F_OK) == 0)
		errno = EEXIST;
	else if (cert == NULL)
		errno = EINVAL;		/* a name that no certificate can hold */
	else if (write_pem(key_file, 0600, NULL, key) == 0) {
		rc = write_pem(cert_file, 0644, cert, NULL);
		saved = errno;
		if (rc == -1)
			unlink(key_file);
		errno = saved;
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}
