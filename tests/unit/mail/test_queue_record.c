/* test_queue_record.c - records of the queue: there and back, cut at every byte, with
 * bytes behind them; and what they do to the shard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs.h"
#include "hex.h"
#include "index_db.h"
#include "queue_record.h"
#include "queue_shard.h"

static const char *const rcpts[] = { "a@far.test", "\"b c\"@far.test", "c@far.test" };

static void
enqueue(struct wire_out *w, uint64_t id, const char *text, bool inside)
{
	struct queue_enqueue e = { .id = id, .size = strlen(text), .trace = "19c2f0",
		.sender = "me@our.test", .flags = QUEUE_EIGHT_BIT, .nrcpts = 3 };

	sha256(text, strlen(text), e.sha);
	wire_out_init(w);
	queue_enqueue_put(w, &e, rcpts);
	if (inside)
		wire_put_raw(w, text, strlen(text));
}

static void
enqueue_round_trip(void **state)
{
	char address[ADDRESS_MAX + 1];
	struct queue_enqueue e;
	struct wire_out w;

	(void)state;
	enqueue(&w, 77, "Subject: x\r\n\r\ny\r\n", true);
	assert_int_equal(queue_enqueue_get(wire_out_span(&w), &e), PARSE_OK);
	assert_int_equal(e.id, 77);
	assert_string_equal(e.trace, "19c2f0");
	assert_string_equal(e.sender, "me@our.test");
	assert_int_equal(e.flags, QUEUE_EIGHT_BIT);
	assert_int_equal(e.nrcpts, 3);
	assert_int_equal(e.content.len, e.size);
	for (int i = 0; i < 3; i++) {
		queue_rcpt_next(&e.rcpts, address);
		assert_string_equal(address, rcpts[i]);
	}
	for (size_t n = 0; n < w.len; n++) {	/* n == size of the head: bytes are elsewhere */
		struct queue_enqueue cut;
		enum parse rc = queue_enqueue_get((struct span){ (char *)w.p, n }, &cut);

		assert_true(rc == PARSE_BAD || (n == w.len - e.size && cut.content.len == 0));
	}
	wire_put_u8(&w, 0);
	assert_int_equal(queue_enqueue_get(wire_out_span(&w), &e), PARSE_BAD);
	wire_out_clear(&w);
	enqueue(&w, (uint64_t)INT64_MAX + 1, "x", true);
	assert_int_equal(queue_enqueue_get(wire_out_span(&w), &e), PARSE_BAD);
	wire_out_clear(&w);
}

static void
result_round_trip(void **state)
{
	const struct queue_result list[] = { { 0, QUEUE_DONE, "250 ok" }, { 1, QUEUE_DEFER, "" },
		{ 65535, QUEUE_FAIL, "550 5.1.1 no" } };
	struct queue_result r;
	struct wire_in in;
	struct wire_out w;
	uint64_t id;
	int64_t next;
	uint16_t n;

	(void)state;
	wire_out_init(&w);
	queue_result_put(&w, 9, 1234567890123, list, 3);
	assert_int_equal(queue_result_get(wire_out_span(&w), &id, &next, &n, &in), PARSE_OK);
	assert_int_equal(id, 9);
	assert_int_equal(next, 1234567890123);
	assert_int_equal(n, 3);
	for (int i = 0; i < 3; i++) {
		queue_result_next(&in, &r);
		assert_int_equal(r.rcpt, list[i].rcpt);
		assert_int_equal(r.outcome, list[i].outcome);
		assert_string_equal(r.reply, list[i].reply);
	}
	for (size_t i = 0; i < w.len; i++)
		assert_int_equal(queue_result_get((struct span){ (char *)w.p, i }, &id, &next, &n,
		    &in), PARSE_BAD);
	w.p[20] = 4;				/* the outcome of the first one: unknown */
	assert_int_equal(queue_result_get(wire_out_span(&w), &id, &next, &n, &in), PARSE_BAD);
	wire_out_clear(&w);
}

static void
reported_and_blob(void **state)
{
	const uint16_t list[] = { 3, 500 };
	struct span bytes;
	struct wire_in in;
	struct wire_out w;
	uint64_t id, at;
	uint16_t n;

	(void)state;
	wire_out_init(&w);
	queue_reported_put(&w, 9, list, 2);
	assert_int_equal(queue_reported_get(wire_out_span(&w), &id, &n, &in), PARSE_OK);
	assert_int_equal(n, 2);
	assert_int_equal(wire_get_u16(&in), 3);
	assert_int_equal(wire_get_u16(&in), 500);
	for (size_t i = 0; i < w.len; i++)
		assert_int_equal(queue_reported_get((struct span){ (char *)w.p, i }, &id, &n, &in),
		    PARSE_BAD);
	wire_out_clear(&w);
	queue_blob_put(&w, 5, 1u << 20);
	assert_int_equal(queue_blob_get(wire_out_span(&w), &id, &at, &bytes), PARSE_BAD);
	wire_put_raw(&w, "abc", 3);
	assert_int_equal(queue_blob_get(wire_out_span(&w), &id, &at, &bytes), PARSE_OK);
	assert_int_equal(at, 1u << 20);
	assert_true(span_is(bytes, "abc"));
	wire_out_clear(&w);
}

/* A message of another node's queue: of four recipients the second and the last are left. */
static void
adopt(struct wire_out *w, uint64_t id, const char *text, bool inside)
{
	struct queue_adopt a = { .id = id, .size = strlen(text), .trace = "19c2f0",
		.sender = "me@our.test", .flags = QUEUE_EIGHT_BIT, .created_ms = 500,
		.next_ms = 7000, .attempts = 3, .held = true, .warned = true, .nrcpts = 2 };

	sha256(text, strlen(text), a.sha);
	wire_out_init(w);
	queue_adopt_put(w, &a);
	queue_adopt_rcpt_put(w, 1, false, "b@far.test", "450 wait");
	queue_adopt_rcpt_put(w, 3, true, "d@far.test", "550 no");
	if (inside)
		wire_put_raw(w, text, strlen(text));
}

static void
adopt_round_trip(void **state)
{
	struct queue_adopt_rcpt r;
	struct queue_adopt a, cut;
	struct wire_out w;

	(void)state;
	adopt(&w, 77, "text", true);
	assert_int_equal(queue_adopt_get(wire_out_span(&w), &a), PARSE_OK);
	assert_int_equal(a.id, 77);
	assert_string_equal(a.trace, "19c2f0");
	assert_true(a.held && a.warned && a.attempts == 3);
	assert_true(a.created_ms == 500 && a.next_ms == 7000);
	assert_true(span_is(a.content, "text"));
	queue_adopt_next(&a.rcpts, &r);
	assert_true(r.index == 1 && !r.failed);
	queue_adopt_next(&a.rcpts, &r);
	assert_true(r.index == 3 && r.failed);
	assert_string_equal(r.address, "d@far.test");
	assert_string_equal(r.reply, "550 no");
	for (size_t n = 0; n < w.len; n++)
		if (n != w.len - a.size)	/* there the bytes are elsewhere */
			assert_int_equal(queue_adopt_get((struct span){ (char *)w.p, n }, &cut),
			    PARSE_BAD);
	wire_out_clear(&w);
	adopt(&w, 77, "", false);
	w.p[w.len - 22] = 1;			/* the second recipient is the first again */
	assert_int_equal(w.p[w.len - 23], 0);
	assert_int_equal(queue_adopt_get(wire_out_span(&w), &a), PARSE_BAD);
	wire_out_clear(&w);
}

/* ---- in the shard -------------------------------------------------------- */

struct fixture {
	char dir[64];
	struct queue_shard *s;
	uint64_t lsn;
};

static enum mail_rc
apply(struct fixture *f, uint8_t type, struct wire_out *w)
{
	struct owner_record r = { .lsn = ++f->lsn, .shard = SHARD_QUEUE, .type = type,
		.time_ms = 1000, .payload = wire_out_span(w) };
	enum mail_rc rc = queue_shard_apply(f->s, &r);

	index_db_commit(queue_shard_index(f->s));
	wire_out_clear(w);
	return rc;
}

static enum mail_rc
apply_id(struct fixture *f, uint8_t type, uint64_t id)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, id);
	return apply(f, type, &w);
}

static int
set_up(void **state)
{
	static struct fixture f;

	snprintf(f.dir, sizeof(f.dir), "/tmp/test_queue_record.XXXXXX");
	f.lsn = 0;
	if (mkdtemp(f.dir) == NULL)
		return -1;
	f.s = queue_shard_open(f.dir);
	*state = &f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	queue_shard_close(f->s);
	return fs_remove_tree(f->dir);
}

static void
life_of_a_message(void **state)
{
	const struct queue_result first[] = { { 0, QUEUE_DONE, "" }, { 1, QUEUE_DEFER, "450 wait" },
		{ 2, QUEUE_FAIL, "550 no" } };
	const struct queue_result second[] = { { 1, QUEUE_DONE, "" } };
	const uint16_t told[] = { 2, 1 };	/* 1 has not failed: it must stay */
	struct fixture *f = *state;
	struct queue_message m;
	struct queue_rcpt r[3];
	struct wire_out w;
	uint64_t ids[4];
	char text[4];

	enqueue(&w, 7, "12345", true);
	assert_int_equal(apply(f, QUEUE_ENQUEUE, &w), MAIL_OK);
	enqueue(&w, 7, "54321", true);		/* the same id: the first one stays */
	assert_int_equal(apply(f, QUEUE_ENQUEUE, &w), MAIL_EXISTS);
	assert_int_equal(queue_shard_text(f->s, 7, 3, text, 4), 2);
	assert_memory_equal(text, "45", 2);
	assert_int_equal(queue_shard_text(f->s, 7, 5, text, 4), 0);
	wire_out_init(&w);
	queue_result_put(&w, 7, 5000, first, 3);
	assert_int_equal(apply(f, QUEUE_RESULT, &w), MAIL_OK);
	assert_true(queue_shard_message(f->s, 7, &m));
	assert_int_equal(m.attempts, 1);
	assert_int_equal(m.next_ms, 5000);
	assert_int_equal(m.pending, 1);
	assert_int_equal(m.failed, 1);
	assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_REPORT, 0, 0, ids, 4), 1);
	assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_SEND, 4999, 9000, ids, 4), 0);
	assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_SEND, 5000, 9000, ids, 4), 1);
	assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_SEND, 10, 4000, ids, 4), 1);
	wire_out_init(&w);
	queue_reported_put(&w, 7, told, 2);
	assert_int_equal(apply(f, QUEUE_REPORTED, &w), MAIL_OK);
	assert_int_equal(queue_shard_rcpts(f->s, 7, 0, r, 3), 1);
	assert_int_equal(r[0].index, 1);
	assert_string_equal(r[0].reply, "450 wait");
	wire_out_init(&w);
	queue_result_put(&w, 7, 5000, second, 1);
	assert_int_equal(apply(f, QUEUE_RESULT, &w), MAIL_OK);
	assert_false(queue_shard_message(f->s, 7, &m));
	assert_int_equal(queue_shard_text(f->s, 7, 0, text, 4), 0);
	assert_int_equal(queue_shard_next(f->s), INT64_MAX);
}

static void
pieces(void **state)
{
	struct fixture *f = *state;
	struct queue_message m;
	struct wire_out w;
	uint64_t ids[4];

	for (int last = 0; last < 2; last++) {	/* the first time the end is missing */
		wire_out_init(&w);
		queue_blob_put(&w, 8, 0);
		wire_put_raw(&w, "abc", 3);
		assert_int_equal(apply(f, QUEUE_BLOB, &w), MAIL_OK);
		if (last) {
			wire_out_init(&w);
			queue_blob_put(&w, 8, 3);
			wire_put_raw(&w, "de", 2);
			assert_int_equal(apply(f, QUEUE_BLOB, &w), MAIL_OK);
		}
		enqueue(&w, 8, "abcde", false);
		assert_int_equal(apply(f, QUEUE_ENQUEUE, &w), last ? MAIL_OK : MAIL_BAD);
		assert_int_equal(queue_shard_message(f->s, 8, &m), last);
		assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_SWEEP, 0, 0, ids, 4), !last);
	}
	wire_out_init(&w);
	queue_blob_put(&w, 8, 0);
	wire_put_raw(&w, "xxx", 3);
	assert_int_equal(apply(f, QUEUE_BLOB, &w), MAIL_EXISTS);
	assert_int_equal(apply_id(f, QUEUE_DELETE, 8), MAIL_OK);
	assert_int_equal(apply_id(f, QUEUE_DELETE, 8), MAIL_UNKNOWN);
}

static void
count_id(uint64_t id, void *arg)
{
	*(uint64_t *)arg += id;
}

/* It stands as it stood at the other node, and is never taken twice. */
static void
adopted(void **state)
{
	const uint16_t told[] = { 3 };
	struct fixture *f = *state;
	struct queue_message m;
	struct queue_rcpt r[3];
	struct wire_out w;
	uint64_t sum = 0;
	char text[8];

	adopt(&w, 8, "abcde", false);
	assert_int_equal(apply(f, QUEUE_ADOPT, &w), MAIL_BAD);	/* its bytes are missing */
	for (uint64_t id = 7; id <= 8; id++) {
		if (id == 8) {
			wire_out_init(&w);
			queue_blob_put(&w, 8, 0);
			wire_put_raw(&w, "abcde", 5);
			assert_int_equal(apply(f, QUEUE_BLOB, &w), MAIL_OK);
		}
		adopt(&w, id, "abcde", id == 7);
		assert_int_equal(apply(f, QUEUE_ADOPT, &w), MAIL_OK);
		adopt(&w, id, "abcde", true);
		assert_int_equal(apply(f, QUEUE_ADOPT, &w), MAIL_EXISTS);
		assert_true(queue_shard_message(f->s, id, &m));
		assert_true(m.created_ms == 500 && m.next_ms == 7000 && m.attempts == 3);
		assert_true(m.held && m.warned && m.pending == 1 && m.failed == 1);
		assert_int_equal(queue_shard_text(f->s, id, 0, text, 8), 5);
		assert_int_equal(queue_shard_rcpts(f->s, id, 0, r, 3), 2);
		assert_int_equal(r[1].index, 3);
		assert_string_equal(r[0].reply, "450 wait");
	}
	wire_out_init(&w);
	queue_reported_put(&w, 7, told, 1);
	assert_int_equal(apply(f, QUEUE_REPORTED, &w), MAIL_OK);
	assert_int_equal(apply_id(f, QUEUE_DELETE, 7), MAIL_OK);
	queue_shard_adopted(f->s, count_id, &sum);
	assert_int_equal(sum, 15);		/* also of the one that is gone */
}

static void
operators(void **state)
{
	struct fixture *f = *state;
	struct queue_message m;
	struct wire_out w;
	uint64_t ids[4];

	enqueue(&w, 1, "x", true);
	apply(f, QUEUE_ENQUEUE, &w);
	enqueue(&w, 2, "x", true);
	apply(f, QUEUE_ENQUEUE, &w);
	assert_int_equal(apply_id(f, QUEUE_HOLD, 2), MAIL_OK);
	assert_int_equal(apply_id(f, QUEUE_HOLD, 3), MAIL_UNKNOWN);
	assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_SEND, 1000, 2000, ids, 4), 1);
	assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_EXPIRE, 1000, 0, ids, 4), 1);
	assert_int_equal(apply_id(f, QUEUE_RELEASE, 0), MAIL_OK);
	assert_true(queue_shard_message(f->s, 2, &m));
	assert_false(m.held);
	assert_int_equal(apply_id(f, QUEUE_DELETE, 0), MAIL_BAD);
	assert_int_equal(queue_shard_count(f->s), 2);
	assert_int_equal(queue_shard_want(f->s, QUEUE_WANT_LIST, 1, 0, ids, 4), 1);
}

/* A copy taken for the peer, put in the place of another index, shows the same. */
static void
seeding(void **state)
{
	struct fixture *f = *state;
	struct wire_out w;
	uint64_t lsn;
	FILE *file;
	int fd;

	enqueue(&w, 1, "x", true);
	apply(f, QUEUE_ENQUEUE, &w);
	fd = index_db_snapshot(queue_shard_index(f->s), &lsn);
	assert_int_not_equal(fd, -1);
	assert_int_equal(lsn, f->lsn);
	apply_id(f, QUEUE_DELETE, 1);
	assert_int_equal(index_db_replace(queue_shard_index(f->s), fd), 0);
	assert_int_equal(queue_shard_count(f->s), 1);
	assert_int_equal(index_db_applied(queue_shard_index(f->s)), lsn);
	assert_int_equal(index_db_checkpoint(queue_shard_index(f->s)), lsn);
	assert_int_equal(ftruncate(fd, 0), -1);	/* it is read only, and has no name */
	close(fd);
	assert_non_null(file = tmpfile());
	fd = fileno(file);
	assert_int_equal(write(fd, "no database", 11), 11);
	assert_int_equal(index_db_replace(queue_shard_index(f->s), fd), -1);
	assert_int_equal(queue_shard_count(f->s), 1);
	fclose(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enqueue_round_trip),
		cmocka_unit_test(result_round_trip),
		cmocka_unit_test(reported_and_blob),
		cmocka_unit_test(adopt_round_trip),
		cmocka_unit_test_setup_teardown(adopted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(life_of_a_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(operators, set_up, tear_down),
		cmocka_unit_test_setup_teardown(seeding, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
