/* sha256.c - SHA-256 over pieces, and HMAC (RFC 2104) as the two hashes that it is.
 *
 * Promise: the same bytes as OpenSSL's EVP_Digest() and HMAC(); any thread may call.
 * Can fail: OpenSSL without memory or without the algorithm.  Takes keys of 32 bytes
 * only, which are shorter than a block and therefore never hashed themselves. */
#include "sha256.h"

#include <pthread.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define BLOCK 64

static const EVP_MD *
algorithm(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static EVP_MD *md;
	EVP_MD *found = __atomic_load_n(&md, __ATOMIC_ACQUIRE);

	if (found != NULL)
		return found;
	pthread_mutex_lock(&lock);
	if (md == NULL)
		__atomic_store_n(&md, EVP_MD_fetch(NULL, "SHA256", NULL), __ATOMIC_RELEASE);
	found = md;
	pthread_mutex_unlock(&lock);
	return found;
}

static bool
digest(EVP_MD_CTX *m, const struct span *s, size_t n, uint8_t out[SHA256_LEN])
{
	unsigned len = SHA256_LEN;
	const EVP_MD *md = algorithm();

	if (md == NULL || EVP_DigestInit_ex2(m, md, NULL) != 1)
		return false;
	for (size_t i = 0; i < n; i++)
		if (EVP_DigestUpdate(m, s[i].p, s[i].len) != 1)
			return false;
	return EVP_DigestFinal_ex(m, out, &len) == 1;
}

int
sha256_spans(const struct span *s, size_t n, uint8_t out[SHA256_LEN])
{
	EVP_MD_CTX *m = EVP_MD_CTX_new();
	uint8_t sum[SHA256_LEN];
	bool ok = m != NULL && digest(m, s, n, sum);

	EVP_MD_CTX_free(m);
	if (!ok)
		return -1;
	memcpy(out, sum, SHA256_LEN);
	return 0;
}

int
sha256_hmac(const uint8_t key[SHA256_LEN], struct span in, uint8_t out[SHA256_LEN])
{
	EVP_MD_CTX *m = EVP_MD_CTX_new();
	uint8_t inner[BLOCK], outer[BLOCK], sum[SHA256_LEN];
	struct span first[2] = { { (const char *)inner, BLOCK }, in };
	struct span second[2] = { { (const char *)outer, BLOCK },
		{ (const char *)sum, SHA256_LEN } };
	bool ok;

	memset(inner, 0x36, BLOCK);
	memset(outer, 0x5c, BLOCK);
	for (size_t i = 0; i < SHA256_LEN; i++) {
		inner[i] ^= key[i];
		outer[i] ^= key[i];
	}
	ok = m != NULL && digest(m, first, 2, sum) && digest(m, second, 2, sum);
	EVP_MD_CTX_free(m);
	OPENSSL_cleanse(inner, sizeof(inner));
	OPENSSL_cleanse(outer, sizeof(outer));
	if (!ok)
		return -1;
	memcpy(out, sum, SHA256_LEN);
	return 0;
}
