/* test_shard_merge.c - applying the records of a merge: each acts once for a fork, and
 * only where the rows are as they were seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "hex.h"
#include "log.h"
#include "shard_priv.h"

static char dir[64];
static struct shard *sh;
static uint64_t lsn;

/* What became of the record. */
static enum mail_rc
apply(uint8_t type, struct wire_out *w)
{
	const struct owner_record r = { .lsn = ++lsn, .gen_no = 1, .type = type,
		.time_ms = 1700000000000, .payload = wire_out_span(w) };
	struct shard_outcome out;

	assert_int_equal(shard_apply(sh, &r, NULL, &out), 0);
	assert_int_equal(shard_commit(sh), 0);
	wire_out_clear(w);
	return out.rc;
}

static void
box_make(uint64_t id, const char *name)
{
	struct rec_box b = { .id = id, .user = 1, .uidvalidity = (uint32_t)id };
	struct wire_out w;

	memcpy(b.name, name, strlen(name) + 1);
	b.guid[0] = (uint8_t)id;
	wire_out_init(&w);
	rec_create_put(&w, &b, 1);
	assert_int_equal(apply(REC_BOX_CREATE, &w), MAIL_OK);
}

static void
put_mail(struct wire_out *w, uint64_t box, uint32_t uid, uint64_t modseq, uint8_t id)
{
	struct rec_entry e = { .user = 1, .box = box, .uid = uid, .modseq = modseq };
	uint8_t sha[32];

	e.guid[0] = id;
	sha256(&id, 1, sha);
	rec_mail_begin(w, sha, 1, true, 0, 1);
	rec_put_entry(w, &e);
	wire_put_raw(w, &id, 1);
}

static void
mail(uint64_t box, uint32_t uid, uint64_t modseq, uint8_t id)
{
	struct wire_out w;

	wire_out_init(&w);
	put_mail(&w, box, uid, modseq, id);
	assert_int_equal(apply(REC_APPEND, &w), MAIL_OK);
}

static enum mail_rc
added(uint64_t fork, uint64_t box, uint32_t uid, uint64_t modseq, uint8_t id)
{
	struct rec_key key = { .fork = fork, .box = { 77 } };
	struct wire_out w;

	key.guid[0] = id;
	wire_out_init(&w);
	rec_added_begin(&w, &key);
	put_mail(&w, box, uid, modseq, id);
	return apply(REC_MERGE_ADD, &w);
}

static enum mail_rc
set(enum rec_set_what what, uint64_t box, uint32_t uid, uint64_t seen, uint8_t id)
{
	struct rec_set s = { .what = what, .key = { .fork = 5, .box = { 77 } }, .box = box,
		.uid = uid, .seen = seen, .flags = FLAG_FLAGGED, .keywords = "b a" };
	struct wire_out w;

	s.key.guid[0] = id;
	wire_out_init(&w);
	rec_sets_begin(&w, 5, 900 + lsn, 1);
	rec_set_put(&w, &s);
	return apply(REC_MERGE_SET, &w);
}

static enum mail_rc
mbox(const struct rec_merge_box *r)
{
	struct wire_out w;

	wire_out_init(&w);
	rec_merge_box_put(&w, r);
	return apply(REC_MERGE_BOX, &w);
}

static struct store_box
box_is(uint64_t id)
{
	struct store_box b;

	assert_int_equal(shard_box_by_id(sh, id, &b), MAIL_OK);
	return b;
}

static bool
there(uint64_t box, uint32_t uid, uint32_t *flags)
{
	struct store_msg m;

	if (shard_message(sh, box, uid, &m) != MAIL_OK)
		return false;
	if (flags != NULL)
		*flags = m.flags;
	free(m.keywords);
	return true;
}

static int
set_up(void **state)
{
	char err[256] = "";

	(void)state;
	log_init("test_shard_merge", true, LOG_LEVEL_ERR);
	lsn = 0;
	snprintf(dir, sizeof(dir), "/tmp/test_shard_merge.XXXXXX");
	if (mkdtemp(dir) == NULL || (sh = shard_open(dir, err, sizeof(err))) == NULL)
		return -1;
	box_make(10, "INBOX");
	box_make(11, "Work");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	shard_close(sh);
	return fs_remove_tree(dir);
}

static void
test_added_once(void **state)
{
	(void)state;
	assert_int_equal(added(5, 10, 1, 100, 1), MAIL_OK);
	assert_int_equal(added(5, 10, 2, 101, 1), MAIL_OK);	/* the same message again */
	assert_int_equal(box_is(10).exists, 1);
	assert_int_equal(added(5, 99, 1, 102, 2), MAIL_EXISTS);	/* its mailbox is gone: look again */
	assert_int_equal(added(5, 10, 2, 103, 2), MAIL_OK);
	assert_int_equal(box_is(10).exists, 2);
	/* what another fork did not deal with is not dealt with; its notes go with the next */
	assert_int_equal(added(6, 10, 3, 104, 1), MAIL_OK);
	assert_int_equal(box_is(10).exists, 3);
	assert_int_equal(added(6, 10, 4, 105, 1), MAIL_OK);
	assert_int_equal(box_is(10).exists, 3);
}

static void
test_set_as_seen(void **state)
{
	uint32_t flags;

	(void)state;
	mail(10, 1, 100, 1);
	mail(10, 2, 101, 2);
	assert_int_equal(set(REC_SET_FLAGS, 10, 1, 99, 1), MAIL_EXISTS);	/* a client was here */
	assert_true(there(10, 1, &flags));
	assert_int_equal(flags, 0);
	assert_int_equal(set(REC_SET_FLAGS, 10, 1, 100, 1), MAIL_OK);
	assert_true(there(10, 1, &flags));
	assert_int_equal(flags, FLAG_FLAGGED);
	assert_int_equal(set(REC_SET_REMOVE, 10, 2, 100, 2), MAIL_EXISTS);
	assert_true(there(10, 2, NULL));
	assert_int_equal(set(REC_SET_REMOVE, 10, 2, 101, 2), MAIL_OK);
	assert_false(there(10, 2, NULL));
	assert_int_equal(set(REC_SET_REMOVE, 10, 7, 101, 3), MAIL_OK);	/* gone meanwhile */
	assert_int_equal(added(5, 10, 9, 200, 3), MAIL_OK);	/* and so it does not come back */
	assert_false(there(10, 9, NULL));
	assert_int_equal(set(REC_SET_NOTE, 0, 0, 0, 4), MAIL_OK);
	assert_int_equal(added(5, 10, 9, 201, 4), MAIL_OK);
	assert_false(there(10, 9, NULL));
}

static void
test_boxes(void **state)
{
	struct rec_merge_box r = { .verb = REC_MBOX_RENAME, .user = 1, .box = 11, .modseq = 300,
		.from = "Other", .name = "New" };

	(void)state;
	assert_int_equal(mbox(&r), MAIL_EXISTS);	/* it is called something else by now */
	memcpy(r.from, "Work", 5);
	memcpy(r.name, "INBOX", 6);
	assert_int_equal(mbox(&r), MAIL_EXISTS);	/* taken */
	assert_string_equal(box_is(11).name, "Work");
	memcpy(r.name, "New", 4);
	assert_int_equal(mbox(&r), MAIL_OK);
	assert_string_equal(box_is(11).name, "New");
	r = (struct rec_merge_box){ .verb = REC_MBOX_RENUMBER, .user = 1, .box = 11, .was = 4,
		.uidvalidity = 50 };
	assert_int_equal(mbox(&r), MAIL_OK);		/* it has another one already */
	assert_int_equal(box_is(11).uidvalidity, 11);
	r.was = 11;
	assert_int_equal(mbox(&r), MAIL_OK);
	assert_int_equal(box_is(11).uidvalidity, 50);
	mail(11, 1, 400, 1);
	r = (struct rec_merge_box){ .verb = REC_MBOX_DELETE, .user = 1, .box = 11, .since = 399 };
	assert_int_equal(mbox(&r), MAIL_EXISTS);	/* a message came meanwhile */
	assert_int_equal(box_is(11).exists, 1);
	r.since = 400;
	assert_int_equal(mbox(&r), MAIL_OK);
	assert_int_equal(mbox(&r), MAIL_EXISTS);	/* gone */
}

/* A mailbox of the other side keeps its UIDs, and nobody else gets one of them. */
static void
test_reserve(void **state)
{
	struct rec_merge_box r = { .verb = REC_MBOX_CREATE, .user = 1, .box = 500, .modseq = 500,
		.uidvalidity = 77, .reserve = 40, .guid = { 9 }, .name = "Theirs" };

	(void)state;
	assert_int_equal(mbox(&r), MAIL_OK);
	r.box = 501;
	assert_int_equal(mbox(&r), MAIL_OK);		/* the same again: it is there */
	r.guid[0] = 8;
	assert_int_equal(mbox(&r), MAIL_EXISTS);	/* another of this name */
	assert_int_equal(box_is(500).uidvalidity, 77);
	assert_int_equal(box_is(500).uidnext, 1);
	assert_int_equal(box_is(500).uid_free, 40);
	assert_int_equal(added(5, 500, 7, 600, 1), MAIL_OK);
	assert_int_equal(box_is(500).uidnext, 8);
	assert_int_equal(box_is(500).uid_free, 40);
	mail(500, 40, 601, 2);				/* a client's */
	assert_int_equal(added(5, 500, 12, 602, 3), MAIL_OK);	/* behind it: UIDs only grow */
	assert_false(there(500, 12, NULL));
	assert_true(there(500, 41, NULL));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_added_once), T(test_set_as_seen), T(test_boxes),
		T(test_reserve) };

	return cmocka_run_group_tests_name("shard_merge", tests, NULL, NULL);
}
