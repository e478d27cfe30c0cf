/* test_shard_record.c - the store's log records: round trips, every truncation, single
 * byte changes and random bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shard_record.h"

static const struct rec_box box1 = { .id = 77, .user = 5, .uidvalidity = 9, .guid = { 1, 2 },
	.subscribe = true, .name = "INBOX", .special = "" };
static const struct rec_box box2 = { .id = 78, .user = 5, .uidvalidity = 10, .guid = { 3 },
	.name = "Se\303\274nt", .special = "\\Sent" };
static const struct rec_entry entry1 = { .user = 5, .box = 77, .uid = 4000000000u,
	.flags = FLAG_SEEN, .modseq = 99, .internal_s = -5, .guid = { 9 }, .keywords = "a b" };
static const struct rec_range ranges[] = { { 1, 4 }, { 9, UINT32_MAX } };

static void
make_mail(struct wire_out *w)
{
	uint8_t sha[32] = { 1, 2, 3 };

	rec_mail_begin(w, sha, 5, true, 2, 1);
	rec_put_box(w, &box1);
	rec_put_box(w, &box2);
	rec_put_entry(w, &entry1);
	wire_put_raw(w, "hello", 5);
}

static void
make_mail_large(struct wire_out *w)
{
	uint8_t sha[32] = { 1 };

	rec_mail_begin(w, sha, 600000, false, 0, 1);
	rec_put_entry(w, &entry1);
}

static void
make_blob(struct wire_out *w)
{
	struct rec_blob b = { .total = 10, .offset = 7, .sha = { 8 } };

	rec_blob_head(w, &b);
	assert_int_equal(w->len, REC_BLOB_HEAD);
	wire_put_raw(w, "xyz", 3);
}

static const struct rec_flags flags = { .box = 3, .modseq = 4, .op = STORE_FLAGS_REMOVE,
	.flags = 31, .keywords = "k", .n = 2 };
static const struct rec_flags expunge = { .box = 3, .modseq = 4, .op = 1, .n = 2 };
static const struct rec_copy copy = { .from = 1, .to = 2, .modseq = 3, .gone_modseq = 4,
	.move = true, .n = 2 };
static const struct rec_rename rename_inbox = { .user = 1, .modseq = 2, .box = 3, .inbox = true,
	.from = "INBOX", .to = "Old", .made = { .id = 5, .user = 1, .uidvalidity = 1,
	.name = "Old" } };

static void make_drop(struct wire_out *w) { rec_drop_put(w, (const uint8_t[32]){ 4, 5 }); }
static void make_flags(struct wire_out *w) { rec_flags_put(w, &flags, ranges); }
static void make_expunge(struct wire_out *w) { rec_expunge_put(w, &expunge, ranges); }
static void make_copy(struct wire_out *w) { rec_copy_put(w, &copy, ranges); }
static void make_create(struct wire_out *w) { rec_create_put(w, &box1, 1); }
static void make_rename(struct wire_out *w) { rec_rename_put(w, &rename_inbox); }
static void
make_delete(struct wire_out *w)
{
	rec_delete_put(w, &(struct rec_delete){ 1, 2, 3 });
}
static void
make_subscribe(struct wire_out *w)
{
	rec_subscribe_put(w, &(struct rec_subscribe){ 1, true, "x/y" });
}

static const struct rec_key key = { .fork = 77, .box = { 1, 2 }, .guid = { 3 } };

static void
make_added(struct wire_out *w)
{
	const struct rec_entry e = { .user = 1, .box = 2, .uid = 3, .keywords = "a b" };

	rec_added_begin(w, &key);
	rec_mail_begin(w, (const uint8_t[32]){ 9 }, 5, true, 0, 1);
	rec_put_entry(w, &e);
	wire_put_raw(w, "bytes", 5);
}

static void
make_merge_box(struct wire_out *w)
{
	const struct rec_merge_box r = { .verb = REC_MBOX_CREATE, .user = 1, .box = 9, .modseq = 9,
		.uidvalidity = 5, .reserve = 12, .name = "Old", .special = "\\Archive" };

	rec_merge_box_put(w, &r);
}

static void
make_sets(struct wire_out *w)
{
	const struct rec_set s[2] = { { .what = REC_SET_FLAGS, .key = key, .box = 4, .uid = 5,
		.seen = 6, .flags = 7, .keywords = "x" }, { .what = REC_SET_NOTE, .key = key } };

	rec_sets_begin(w, 77, 1000, 2);
	rec_set_put(w, &s[0]);
	rec_set_put(w, &s[1]);
}

/* Decodes as this type and walks everything inside. */
static bool
walk(unsigned type, struct span s)
{
	struct rec_mail m;
	struct rec_blob b;
	uint8_t sha[32];
	struct rec_flags f;
	struct rec_copy c;
	struct rec_create cr;
	struct rec_delete d;
	struct rec_rename r;
	struct rec_subscribe su;
	struct rec_box box;
	struct rec_entry e;
	struct rec_key k;
	struct rec_merge_box mb;
	struct rec_sets sets;
	struct rec_set one;

	switch (type) {
	case REC_DELIVER:
	case REC_APPEND:
		if (!rec_mail_decode(s, &m))
			return false;
		for (unsigned i = 0; i < m.nboxes; i++)
			rec_mail_box(&m, &box);
		for (unsigned i = 0; i < m.nentries; i++)
			rec_mail_entry(&m, &e);
		assert_true(wire_in_ok(&m.boxes) && wire_in_ok(&m.entries));
		return true;
	case REC_BLOB:
		return rec_blob_decode(s, &b);
	case REC_PART_DROP:
		return rec_drop_decode(s, sha);
	case REC_FLAGS:
	case REC_EXPUNGE:
		if (!(type == REC_FLAGS ? rec_flags_decode(s, &f) : rec_expunge_decode(s, &f)))
			return false;
		for (unsigned i = 0; i < f.n; i++)
			rec_range_get(&f.ranges);
		assert_true(wire_in_done(&f.ranges));
		return true;
	case REC_COPY:
		if (!rec_copy_decode(s, &c))
			return false;
		for (unsigned i = 0; i < c.n; i++)
			rec_range_get(&c.pairs);
		assert_true(wire_in_done(&c.pairs));
		return true;
	case REC_BOX_CREATE:
		if (!rec_create_decode(s, &cr))
			return false;
		for (unsigned i = 0; i < cr.n; i++)
			rec_create_box(&cr, &box);
		assert_true(wire_in_done(&cr.boxes));
		return true;
	case REC_BOX_DELETE:
		return rec_delete_decode(s, &d);
	case REC_BOX_RENAME:
		return rec_rename_decode(s, &r);
	case REC_MERGE_ADD:
		if (!rec_added_decode(s, &k, &m))
			return false;
		rec_mail_entry(&m, &e);
		assert_true(wire_in_ok(&m.entries));
		return true;
	case REC_MERGE_BOX:
		return rec_merge_box_decode(s, &mb);
	case REC_MERGE_SET:
		if (!rec_sets_decode(s, &sets))
			return false;
		for (unsigned i = 0; i < sets.n; i++)
			rec_set_get(&sets, &one);
		assert_true(wire_in_done(&sets.items));
		return true;
	default:
		return rec_subscribe_decode(s, &su);
	}
}

static const struct { unsigned type; void (*make)(struct wire_out *); bool open_end; } kinds[] = {
	{ REC_DELIVER, make_mail, false }, { REC_APPEND, make_mail_large, false },
	{ REC_BLOB, make_blob, true }, { REC_PART_DROP, make_drop, false },
	{ REC_FLAGS, make_flags, false },
	{ REC_EXPUNGE, make_expunge, false }, { REC_COPY, make_copy, false },
	{ REC_BOX_CREATE, make_create, false }, { REC_BOX_DELETE, make_delete, false },
	{ REC_BOX_RENAME, make_rename, false }, { REC_BOX_SUBSCRIBE, make_subscribe, false },
	{ REC_MERGE_ADD, make_added, false }, { REC_MERGE_BOX, make_merge_box, false },
	{ REC_MERGE_SET, make_sets, false },
};
#define NKINDS (sizeof(kinds) / sizeof(*kinds))

/* An exact copy on the heap, so that the sanitizer sees a byte too far. */
static bool
walk_copy(unsigned type, const void *p, size_t n)
{
	char *exact = malloc(n == 0 ? 1 : n);
	bool ok;

	memcpy(exact, p, n);
	ok = walk(type, (struct span){ exact, n });
	free(exact);
	return ok;
}

static void
test_truncated(void **state)
{
	(void)state;
	for (size_t k = 0; k < NKINDS; k++) {
		struct wire_out w;

		wire_out_init(&w);
		kinds[k].make(&w);
		assert_true(walk_copy(kinds[k].type, w.p, w.len));
		for (size_t n = 0; n < w.len; n++)
			if (walk_copy(kinds[k].type, w.p, n) && !(kinds[k].open_end && n > REC_BLOB_HEAD))
				fail_msg("%s: %zu of %zu bytes accepted", rec_type_name(kinds[k].type), n, w.len);
		wire_put_u8(&w, 0);
		assert_false(walk_copy(kinds[k].type, w.p, w.len));
		w.p[0] ^= 1;
		assert_false(walk_copy(kinds[k].type, w.p, w.len - 1));
		wire_out_clear(&w);
	}
}

/* Nothing to compare: it must not read too far, and what it accepts must be walkable. */
static void
test_damaged(void **state)
{
	uint32_t seed = 12345;
	uint8_t noise[300];

	(void)state;
	for (size_t k = 0; k < NKINDS; k++) {
		struct wire_out w;

		wire_out_init(&w);
		kinds[k].make(&w);
		for (size_t i = 0; i < w.len; i++)
			for (unsigned bit = 0; bit < 8; bit++) {
				w.p[i] = (uint8_t)(w.p[i] ^ 1u << bit);
				walk_copy(kinds[k].type, w.p, w.len);
				w.p[i] = (uint8_t)(w.p[i] ^ 1u << bit);
			}
		wire_out_clear(&w);
		for (int i = 0; i < 2000; i++) {
			for (size_t j = 0; j < sizeof(noise); j++) {
				seed = seed * 1664525 + 1013904223;
				noise[j] = (uint8_t)(seed >> 24);
			}
			noise[0] = REC_VERSION;
			walk_copy(kinds[k].type, noise, seed >> 8 & 255);
		}
	}
}

static void
test_values(void **state)
{
	struct wire_out w;
	struct rec_mail m;
	struct rec_box b;
	struct rec_entry e;
	struct rec_blob blob;
	struct rec_flags f;
	struct rec_copy c;
	struct rec_rename r;

	(void)state;
	wire_out_init(&w);
	make_mail(&w);
	assert_true(rec_mail_decode(wire_out_span(&w), &m));
	rec_mail_box(&m, &b);
	assert_memory_equal(&b.guid, &box1.guid, 16);
	rec_mail_box(&m, &b);
	assert_string_equal(b.name, box2.name);
	assert_string_equal(b.special, "\\Sent");
	rec_mail_entry(&m, &e);
	assert_int_equal(e.uid, 4000000000u);
	assert_int_equal(e.internal_s, -5);
	assert_string_equal(e.keywords, "a b");
	assert_true(span_is(m.content, "hello"));
	wire_out_clear(&w);
	make_blob(&w);
	assert_true(rec_blob_decode(wire_out_span(&w), &blob));
	assert_int_equal(blob.offset, 7);
	assert_true(span_is(blob.bytes, "xyz"));
	wire_out_clear(&w);
	make_flags(&w);
	assert_true(rec_flags_decode(wire_out_span(&w), &f));
	assert_int_equal(f.op, STORE_FLAGS_REMOVE);
	assert_int_equal(rec_range_get(&f.ranges).hi, 4);
	assert_int_equal(rec_range_get(&f.ranges).hi, UINT32_MAX);
	wire_out_clear(&w);
	make_copy(&w);
	assert_true(rec_copy_decode(wire_out_span(&w), &c));
	assert_true(c.move && c.gone_modseq == 4 && c.n == 2);
	wire_out_clear(&w);
	make_rename(&w);
	assert_true(rec_rename_decode(wire_out_span(&w), &r));
	assert_string_equal(r.made.name, "Old");
	wire_out_clear(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests_name("shard_record", tests, NULL, NULL);
}
