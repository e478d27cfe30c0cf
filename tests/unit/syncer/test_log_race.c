/* test_log_race.c - the writer thread appends and syncs while the main thread trims,
 * reads and asks for facts, as syncd does all the time.  Nothing may be lost on the
 * way: the newest records are read back at every moment, and after a restart the log
 * is whole.  Run it under -fsanitize=thread as well: a lock that is missing shows
 * there in any run, here in most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "fs.h"
#include "log_store.h"

#define SEG (256u << 10)
#define GROUP 8
#define RECORDS 16000
#define PAYLOAD 4000
#define KEPT 100		/* records behind the tip that are never trimmed */

struct run {
	struct log_store *s;
	atomic_ulong durable;
	atomic_int failed;	/* errno */
	atomic_bool ended;
};

static char dir[64];

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test-log-race-XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

/* The writer: groups of records, each synced before it is called durable. */
static void *
append_all(void *arg)
{
	static uint8_t raw[GROUP][PAYLOAD + 256];
	static char text[PAYLOAD];
	struct run *run = arg;
	uint8_t prev[16] = { 0 };

	for (uint64_t lsn = 1; lsn <= RECORDS && run->failed == 0;) {
		struct span in[GROUP];
		size_t done;

		for (size_t i = 0; i < GROUP; i++, lsn++) {
			struct record r = { .lsn = lsn, .gen_no = 2, .shard = 16, .type = 1,
				.synced = run->durable, .payload = { text, sizeof(text) } };

			record_encode(&r, prev, raw[i]);
			memcpy(prev, r.hash, 16);
			in[i] = (struct span){ (char *)raw[i], record_size(sizeof(text)) };
		}
		if (log_store_append(run->s, in, GROUP, &done) == -1 ||
		    log_store_sync(run->s) == -1)
			run->failed = errno;
		else
			run->durable = lsn - 1;
	}
	run->ended = true;
	return NULL;
}

/* Reads everything from lsn to what was durable when it began; the first bad LSN, or 0. */
static uint64_t
first_bad(struct log_store *s, uint64_t lsn, uint64_t upto)
{
	while (lsn <= upto) {
		struct record r;
		uint8_t *buf;
		size_t len, used;

		if (log_store_read(s, lsn, SEG, &buf, &len) == -1 || len == 0)
			return lsn;
		for (size_t at = 0; at < len; at += used, lsn++) {
			struct span in = { (char *)buf + at, len - at };

			if (record_decode(in, &r, &used) != PARSE_OK || r.lsn != lsn) {
				free(buf);
				return lsn;
			}
		}
		free(buf);
	}
	return 0;
}

/* One turn of the main thread. */
static uint64_t
look(struct run *run, uint64_t *trimmed)
{
	uint64_t first, last, durable = run->durable;
	struct history h;
	uint8_t hash[16];

	if (log_store_oldest_full(run->s, &first, &last) && last + KEPT < durable)
		*trimmed += (uint64_t)log_store_trim(run->s, last);
	log_store_history(run->s, &h);
	if (log_store_tip(run->s).lsn < durable || log_store_bytes(run->s) < SEG)
		return durable;
	if (durable < KEPT)
		return 0;
	if (log_store_hash(run->s, log_store_tip(run->s).lsn, hash) == -1 ||
	    log_store_hash(run->s, durable - 1, hash) == -1 ||
	    log_store_hash(run->s, log_store_oldest(run->s) - 1, hash) == -1)
		return durable;
	return first_bad(run->s, durable - GROUP, durable);
}

static void
test_trim_while_writing(void **state)
{
	struct run run = { .s = NULL };
	uint64_t bad = 0, trimmed = 0;
	char err[256];
	pthread_t t;

	(void)state;
	run.s = log_store_open(dir, SEG, err, sizeof(err));
	assert_non_null(run.s);
	assert_int_equal(pthread_create(&t, NULL, append_all, &run), 0);
	while (!run.ended && bad == 0)
		bad = look(&run, &trimmed);
	if (bad != 0)
		run.failed = ECANCELED;
	pthread_join(t, NULL);
	assert_int_equal(bad, 0);
	assert_int_equal(run.failed, 0);
	assert_true(trimmed > 100);
	log_store_close(run.s);
	run.s = log_store_open(dir, SEG, err, sizeof(err));
	assert_non_null(run.s);
	assert_int_equal(log_store_tip(run.s).lsn, RECORDS);
	assert_int_equal(first_bad(run.s, log_store_oldest(run.s), RECORDS), 0);
	log_store_close(run.s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_trim_while_writing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
