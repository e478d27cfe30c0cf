/* test_sha256.c - the same bytes as OpenSSL's own, for every length around a block and
 * however the input is cut into pieces. */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "sha256.h"
#include "unit.h"

static void
test_spans(void **state)
{
	char text[300];
	uint8_t want[SHA256_LEN], got[SHA256_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7 + 1);
	for (size_t n = 0; n <= sizeof(text); n++) {
		struct span cut[3] = { { text, n / 3 }, { text + n / 3, n / 2 - n / 3 },
			{ text + n / 2, n - n / 2 } };
		struct span whole = { text, n };

		assert_int_equal(EVP_Digest(text, n, want, NULL, EVP_sha256(), NULL), 1);
		assert_int_equal(sha256_spans(&whole, 1, got), 0);
		assert_memory_equal(got, want, SHA256_LEN);
		assert_int_equal(sha256_spans(cut, 3, got), 0);
		assert_memory_equal(got, want, SHA256_LEN);
	}
}

static void
test_hmac(void **state)
{
	uint8_t key[SHA256_LEN], want[SHA256_LEN], got[SHA256_LEN];
	char text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 11 + 5);
	for (size_t n = 0; n <= sizeof(text); n++) {
		memset(key, (int)n, sizeof(key));
		assert_non_null(HMAC(EVP_sha256(), key, sizeof(key), (const uint8_t *)text, n, want,
		    NULL));
		assert_int_equal(sha256_hmac(key, (struct span){ text, n }, got), 0);
		assert_memory_equal(got, want, SHA256_LEN);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_hmac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
