/* test_shard_object.c - the files of a shard over time: a large message that comes
 * late, pieces that nobody goes on with, an object that was removed and comes again,
 * and what a power cut makes of the order of row and file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "shard.h"
#include "shard_job.h"
#include "shard_priv.h"
#include "shard_record.h"

#define PIECE 5000
#define PIECES 4
#define SIZE (PIECE * PIECES)
#define LONG_AGO 1000000000000ll	/* ms; no clock of a test shows so early a year */
#define LATER (LONG_AGO + 365ll * 86400 * 1000)

static char root[64], boot[96];
static struct shard *sh;
static uint64_t lsn;
static uint8_t big[32];			/* its hash */
static char *text;

static void
up(void)
{
	char *dir = mem_printf("%s/shard", root), err[256] = "";

	if ((sh = shard_open(dir, err, sizeof(err))) == NULL)
		fail_msg("%s", err);
	free(dir);
}

static void
boot_is(const char *id)
{
	FILE *f = fopen(boot, "w");

	assert_non_null(f);
	fprintf(f, "%s\n", id);
	fclose(f);
}

static int
setup(void **state)
{
	(void)state;
	log_init("test_shard_object", true, LOG_LEVEL_ERR - 1);
	snprintf(root, sizeof(root), "/tmp/test_object.XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(boot, sizeof(boot), "%s/boot_id", root);
	boot_is("first");
	setenv("MAILPAIR_BOOT_ID_FILE", boot, 1);
	text = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		text[i] = (char)('a' + i / 3 % 26);
	sha256(text, SIZE, big);
	lsn = 0;
	up();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	shard_close(sh);
	free(text);
	return fs_remove_tree(root);
}

/* One record, committed; consumes w. */
static void
record(uint8_t type, struct wire_out *w)
{
	struct owner_record rec = { .lsn = ++lsn, .gen_no = 1, .type = type,
		.time_ms = LONG_AGO + (int64_t)lsn, .payload = wire_out_span(w) };
	struct shard_outcome out;

	assert_int_equal(shard_apply(sh, &rec, NULL, &out), 0);
	assert_int_equal(shard_commit(sh), 0);
	shard_events_clear(sh);
	wire_out_clear(w);
}

static void
piece(unsigned n)
{
	struct rec_blob b = { .total = SIZE, .offset = (uint64_t)n * PIECE };
	struct wire_out w;

	memcpy(b.sha, big, 32);
	wire_out_init(&w);
	rec_blob_head(&w, &b);
	wire_put_raw(&w, text + b.offset, PIECE);
	record(REC_BLOB, &w);
}

static void
deliver(uint32_t uid, const uint8_t sha[32], struct span content, size_t size)
{
	struct rec_box box = { .id = 5, .user = 9, .uidvalidity = 1, .name = "INBOX" };
	struct rec_entry e = { .user = 9, .box = 5, .uid = uid, .modseq = 6 + uid,
		.guid = { (uint8_t)uid } };
	struct wire_out w;

	wire_out_init(&w);
	rec_mail_begin(&w, sha, size, content.p != NULL, 1, 1);
	rec_put_box(&w, &box);
	rec_put_entry(&w, &e);
	if (content.p != NULL)
		wire_put_raw(&w, content.p, content.len);
	record(REC_DELIVER, &w);
}

static void
deliver_big(uint32_t uid)
{
	deliver(uid, big, (struct span){ NULL, 0 }, SIZE);
}

static void
expunge(uint32_t uid)
{
	struct rec_flags f = { .box = 5, .modseq = 100 + uid, .n = 1 };
	struct rec_range r = { uid, uid };
	struct wire_out w;

	wire_out_init(&w);
	rec_expunge_put(&w, &f, &r);
	record(REC_EXPUNGE, &w);
}

static void
drop(void)
{
	struct wire_out w;

	wire_out_init(&w);
	rec_drop_put(&w, big);
	record(REC_PART_DROP, &w);
}

static void
checkpoint(void)
{
	struct shard_job *j = shard_job_new(sh, SHARD_CHECKPOINT);

	assert_non_null(j);
	shard_job_run(j);
	assert_true(j->ok);
	shard_job_end(sh, j);
	shard_job_free(j);
}

static void
reap(void)
{
	int n;

	while ((n = shard_reap(sh, LATER, 0, 10)) > 0)
		;
	assert_int_equal(n, 0);
}

static char *
path_of(const uint8_t sha[32], bool part)
{
	char hex[65];

	hex_encode(sha, 32, hex);
	return part ? mem_printf("%s/shard/objects/tmp/%s.part", root, hex) :
	    mem_printf("%s/shard/objects/%.2s/%s", root, hex, hex);
}

static bool
there(const uint8_t sha[32], bool part)
{
	char *path = path_of(sha, part);
	bool is = access(path, F_OK) == 0;

	free(path);
	return is;
}

static void
lose(const uint8_t sha[32])
{
	char *path = path_of(sha, false);

	assert_int_equal(unlink(path), 0);
	free(path);
}

/* A node that was away for a year is tidied between any two batches. */
static void
test_late_pieces(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PIECES; i++) {
		piece(i);
		checkpoint();
		reap();
	}
	deliver_big(1);
	assert_int_equal(shard_object_have(sh, big), 1);
	assert_false(there(big, true));
}

/* Unfinished pieces hold the checkpoint back until a record says that nobody goes on. */
static void
test_drop(void **state)
{
	struct shard_facts f;
	struct shard_part p;

	(void)state;
	assert_int_equal(shard_part_first(sh, &p), 0);
	deliver(1, (const uint8_t[32]){ 0 }, span_of("small"), 5);
	piece(0);
	piece(1);
	checkpoint();
	shard_facts(sh, &f);
	assert_int_equal(f.checkpoint_lsn, 1);
	assert_int_equal(shard_part_first(sh, &p), 1);
	assert_int_equal(p.first_lsn, 2);
	assert_memory_equal(p.sha, big, 32);
	drop();
	drop();				/* changes nothing */
	assert_false(there(big, true));
	assert_int_equal(shard_part_first(sh, &p), 0);
	checkpoint();
	shard_facts(sh, &f);
	assert_int_equal(f.checkpoint_lsn, lsn);
	for (unsigned i = 0; i < PIECES; i++)
		piece(i);
	deliver_big(2);
	assert_int_equal(shard_object_have(sh, big), 1);
}

/* Replay after a power cut meets the old pieces, their end, and the new ones. */
static void
test_drop_and_power_cut(void **state)
{
	uint64_t until;

	(void)state;
	piece(0);
	drop();
	piece(0);
	piece(1);
	until = lsn;
	shard_close(sh);
	boot_is("second");
	up();
	assert_int_equal(shard_attach_from(sh), 0);
	lsn = 0;
	piece(0);
	drop();
	assert_false(there(big, true));
	piece(0);
	piece(1);
	assert_int_equal(lsn, until);
	piece(2);
	piece(3);
	deliver_big(1);
	assert_int_equal(shard_object_have(sh, big), 1);
}

/* The file was unlinked and that reached the disk; that its row was removed did not. */
static void
test_row_outlives_file(void **state)
{
	const char small[] = "a small message\r\n";
	uint8_t sha[32];

	(void)state;
	sha256(small, strlen(small), sha);
	deliver(1, sha, span_of(small), strlen(small));
	for (unsigned i = 0; i < PIECES; i++)
		piece(i);
	deliver_big(2);
	expunge(1);
	expunge(2);
	lose(sha);
	lose(big);
	deliver(3, sha, span_of(small), strlen(small));
	assert_int_equal(shard_object_have(sh, sha), 1);
	for (unsigned i = 0; i < PIECES; i++)
		piece(i);
	deliver_big(4);
	assert_int_equal(shard_object_have(sh, big), 1);
}

/* Whenever the first copy goes while the second one arrives, the bytes stay. */
static void
test_removed_meanwhile(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PIECES; i++)
		piece(i);
	deliver_big(1);
	for (uint32_t k = 0; k <= PIECES; k++) {
		for (unsigned i = 0; i < PIECES; i++) {
			if (i == k)
				expunge(k + 1);
			checkpoint();
			reap();
			piece(i);
		}
		if (k == PIECES)
			expunge(k + 1);
		checkpoint();
		reap();
		deliver_big(k + 2);
		assert_int_equal(shard_object_have(sh, big), 1);
		assert_false(there(big, true));
	}
	expunge(PIECES + 2);
	checkpoint();
	reap();
	assert_int_equal(shard_object_have(sh, big), 0);
}

static bool
missing(void)
{
	sqlite3_stmt *st = NULL;
	bool is;

	assert_int_equal(sqlite3_prepare_v2(sh->db, "SELECT 1 FROM missing", -1, &st, NULL), SQLITE_OK);
	is = sqlite3_step(st) == SQLITE_ROW;
	sqlite3_finalize(st);
	return is;
}

/* What was not whole when it was applied is noted until no message has it, or it is mended. */
static void
test_missing(void **state)
{
	struct shard_job *j;
	FILE *f;

	(void)state;
	piece(0);			/* and no other */
	deliver_big(1);
	assert_true(missing());
	deliver_big(2);
	expunge(1);
	assert_true(missing());		/* the other one has it still */
	expunge(2);
	assert_false(missing());
	deliver_big(3);
	assert_true(missing());
	assert_non_null(f = tmpfile());
	assert_int_equal(fwrite(text, 1, SIZE, f), SIZE);
	assert_int_equal(fflush(f), 0);
	assert_non_null(j = shard_job_new(sh, SHARD_MEND));
	memcpy(j->sha, big, 32);
	j->from_fd = dup(fileno(f));
	shard_job_run(j);
	assert_true(j->ok);
	shard_job_end(sh, j);
	shard_job_free(j);
	fclose(f);
	assert_int_equal(shard_object_have(sh, big), 1);
	assert_false(missing());
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_late_pieces), T(test_drop), T(test_drop_and_power_cut),
		T(test_row_outlives_file), T(test_removed_meanwhile), T(test_missing),
	};

	return cmocka_run_group_tests_name("shard_object", tests, NULL, NULL);
}
