/* test_hex.c - text forms of bytes: one value, one text. */
#include "hex.h"
#include "unit.h"

static void
test_base64(void **state)
{
	static const struct { const char *plain, *coded; } cases[] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },	/* RFC 4648, 10 */
	};
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "====", "Zg==Zg==",
		"Zm 9", "Zm9v\n", "Z===", "=Zm9", "Zm9\0", "Zm9-" };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char coded[32], plain[32];
		size_t n = strlen(cases[i].plain);

		assert_int_equal(base64_encode(cases[i].plain, n, coded), strlen(cases[i].coded));
		assert_string_equal(coded, cases[i].coded);
		assert_int_equal(base64_decode(span_of(coded), plain, &n), 0);
		assert_int_equal(n, strlen(cases[i].plain));
		assert_memory_equal(plain, cases[i].plain, n);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		char plain[32];
		size_t n;

		assert_int_equal(base64_decode(span_of(bad[i]), plain, &n), -1);
		assert_int_equal(errno, EINVAL);
	}
	char plain[8];
	size_t n;

	assert_int_equal(base64_decode(SPAN("Zm9\0"), plain, &n), -1);
}

static void
test_base64_all_bytes(void **state)
{
	uint8_t src[256], back[256];
	char text[400];
	size_t n;

	(void)state;
	for (int i = 0; i < 256; i++)
		src[i] = (uint8_t)i;
	for (size_t len = 0; len <= 256; len++) {
		base64_encode(src, len, text);
		assert_int_equal(base64_decode(span_of(text), back, &n), 0);
		assert_int_equal(n, len);
		assert_memory_equal(back, src, len);
	}
}

static void
test_hex(void **state)
{
	static const char *const bad[] = { "", "00", "0000", "00000g", "0000000", " 00000" };
	uint8_t b[3] = { 0 };
	char text[7];

	(void)state;
	assert_string_equal(hex_encode("\x00\xab\xff", 3, text), "00abff");
	assert_int_equal(hex_decode(SPAN("00ABff"), b, 3), 0);
	assert_memory_equal(b, "\x00\xab\xff", 3);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(hex_decode(span_of(bad[i]), b, 3), -1);
	assert_memory_equal(b, "\x00\xab\xff", 3);	/* untouched */
}

static void
test_sha256(void **state)
{
	uint8_t sum[32];
	char text[65];

	(void)state;
	sha256("abc", 3, sum);
	assert_string_equal(hex_encode(sum, 32, text),
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256(NULL, 0, sum);
	assert_string_equal(hex_encode(sum, 32, text),
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void
test_random(void **state)
{
	uint8_t a[32] = { 0 }, b[32] = { 0 };

	(void)state;
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_all_bytes),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
