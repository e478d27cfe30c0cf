/* test_corosync_proto.c - the state survives the wire, nothing torn or too long is taken,
 * and what counts as encrypted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "corosync_proto.h"

static void
there_and_back(void **state)
{
	struct corosync_state s = {
		.quorate = true, .peer_member = true, .nodeid = 1, .peer_nodeid = 0xfffffffe,
		.members = 2, .votes = 3, .expected = 3, .needed = 2, .qdevice = QDEVICE_VOTES,
		.links = 2, .links_up = 1, .cluster = "case", .transport = "knet",
		.cipher = "aes256", .hash = "sha256", .why = "two_node",
	}, back;
	uint8_t buf[COROSYNC_PACKET];
	int n;

	(void)state;
	memset(s.why, 'w', sizeof(s.why) - 1);
	n = corosync_state_encode(&s, buf, sizeof(buf));
	assert_true(n > 0 && buf[0] == COROSYNC_STATE);
	memset(&back, 0, sizeof(back));
	assert_int_equal(corosync_state_decode(buf + 1, (size_t)n - 1, &back), 0);
	assert_true(back.quorate && back.peer_member && !back.peer_joined);
	assert_int_equal(back.peer_nodeid, s.peer_nodeid);
	assert_int_equal(back.links_up, 1);
	assert_string_equal(back.why, s.why);
	assert_string_equal(back.hash, "sha256");
	/* Each shorter one, and one byte more. */
	for (int i = 0; i < n - 1; i++)
		assert_int_equal(corosync_state_decode(buf + 1, (size_t)i, &back), -1);
	assert_int_equal(corosync_state_decode(buf + 1, (size_t)n, &back), -1);
	buf[1] = 8;		/* a flag that there is not */
	assert_int_equal(corosync_state_decode(buf + 1, (size_t)n - 1, &back), -1);
	buf[1] = 1;
	buf[2] = QDEVICE_VOTES + 1;
	assert_int_equal(corosync_state_decode(buf + 1, (size_t)n - 1, &back), -1);
	assert_int_equal(corosync_state_encode(&s, buf, 10), -1);
	assert_int_equal(corosync_text_encode(COROSYNC_BROKEN, "gone", buf, 5), 5);
	assert_int_equal(corosync_text_encode(COROSYNC_BROKEN, "gone", buf, 4), -1);
}

static void
encrypted(void **state)
{
	static const struct {
		const char *secauth, *cipher, *hash;
		bool good;
	} rows[] = {
		{ NULL, NULL, NULL, false }, { "off", NULL, NULL, false },
		{ "on", NULL, NULL, true }, { "on", "none", NULL, false },
		{ "on", NULL, "none", false }, { NULL, "aes256", "sha256", true },
		{ NULL, "aes256", NULL, false }, { NULL, NULL, "sha256", false },
		{ NULL, "none", "sha256", false }, { NULL, "aes256", "none", false },
		{ "off", "aes128", "sha1", true }, { NULL, "", "sha256", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (corosync_encrypted(rows[i].secauth, rows[i].cipher, rows[i].hash) !=
		    rows[i].good)
			fail_msg("row %zu", i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(encrypted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
