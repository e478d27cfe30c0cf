/* test_directory.c - records of the directory, resolving addresses, hashes and the
 * memory of right passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/event.h>

#include "dir_hash.h"
#include "dir_id.h"
#include "dir_resolve.h"
#include "dir_shard.h"
#include "fs.h"
#include "index_db.h"

static uint64_t lsn;
static char dir[64];

static enum mail_rc
apply(struct dir_shard *s, enum dir_record type, struct wire_out *w, uint64_t at)
{
	struct owner_record r = { .lsn = at, .gen_no = 2, .shard = SHARD_DIRECTORY,
		.type = (uint8_t)type, .time_ms = (int64_t)at, .payload = wire_out_span(w) };
	enum mail_rc rc = dir_shard_apply(s, &r);

	wire_out_clear(w);
	return rc;
}

static enum mail_rc
named(struct dir_shard *s, enum dir_record type, const char *name)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, name);
	return apply(s, type, &w, ++lsn);
}

static enum mail_rc
user(struct dir_shard *s, uint64_t id, const char *address)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, id);
	wire_put_u16(&w, (uint16_t)(id % 16));
	wire_put_str(&w, address);
	wire_put_str(&w, "$y$hash");
	return apply(s, DIR_USER_ADD, &w, ++lsn);
}

static enum mail_rc
alias(struct dir_shard *s, enum dir_record type, const char *address, const char *target)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, address);
	wire_put_u16(&w, target != NULL);
	if (target != NULL)
		wire_put_str(&w, target);
	return apply(s, type, &w, ++lsn);
}

static struct dir_shard *
fresh(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test_directory.XXXXXX");
	assert_non_null(mkdtemp(dir));
	lsn = 0;
	return dir_shard_open(dir);
}

static void
end(struct dir_shard *s)
{
	dir_shard_close(s);
	assert_int_equal(fs_remove_tree(dir), 0);
}

static void
test_records(void **state)
{
	struct dir_shard *s = fresh();
	struct dir_user u;
	struct wire_out w;

	(void)state;
	assert_int_equal(user(s, 1, "a@x.example"), MAIL_UNKNOWN);
	assert_int_equal(named(s, DIR_DOMAIN_ADD, "x.example"), MAIL_OK);
	assert_int_equal(named(s, DIR_DOMAIN_ADD, "x.example"), MAIL_EXISTS);
	assert_int_equal(user(s, 1, "a@x.example"), MAIL_OK);
	assert_int_equal(user(s, 2, "a@x.example"), MAIL_EXISTS);
	assert_int_equal(user(s, 1, "b@x.example"), MAIL_EXISTS);
	assert_int_equal(named(s, DIR_DOMAIN_DELETE, "x.example"), MAIL_EXISTS);
	assert_int_equal(alias(s, DIR_ALIAS_ADD, "i@x.example", "a@x.example"), MAIL_OK);
	assert_int_equal(alias(s, DIR_ALIAS_ADD, "i@x.example", "a@x.example"), MAIL_EXISTS);
	assert_int_equal(alias(s, DIR_ALIAS_ADD, "i@y.example", "a@x.example"), MAIL_UNKNOWN);
	assert_int_equal(alias(s, DIR_ALIAS_DELETE, "i@x.example", "z@x.example"), MAIL_UNKNOWN);
	assert_int_equal(alias(s, DIR_ALIAS_DELETE, "i@x.example", NULL), MAIL_OK);
	assert_int_equal(named(s, DIR_USER_DELETE, "nobody@x.example"), MAIL_UNKNOWN);
	assert_true(dir_shard_user(s, "a@x.example", &u));
	assert_int_equal(u.id, 1);
	assert_false(u.suspended);
	wire_out_init(&w);
	wire_put_str(&w, "a@x.example");
	wire_put_u8(&w, 1);
	assert_int_equal(apply(s, DIR_USER_SUSPEND, &w, ++lsn), MAIL_OK);
	assert_true(dir_shard_user(s, "a@x.example", &u) && u.suspended);
	assert_int_equal(named(s, DIR_USER_PASSWORD, "a@x.example"), MAIL_BAD);
	assert_int_equal(named(s, (enum dir_record)99, "x"), MAIL_BAD);
	assert_int_equal(named(s, DIR_USER_DELETE, "a@x.example"), MAIL_OK);
	assert_int_equal(named(s, DIR_DOMAIN_DELETE, "x.example"), MAIL_OK);
	assert_int_equal(index_db_applied(dir_shard_index(s)), lsn);
	end(s);
}

static enum mail_rc
id_gone(struct dir_shard *s, uint64_t id)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, id);
	return apply(s, DIR_ID_GONE, &w, ++lsn);
}

static void
count_id(uint64_t id, void *arg)
{
	(void)id;
	++*(unsigned *)arg;
}

/* The same address gets the same id on every node, and never one that was given before. */
static void
test_ids(void **state)
{
	struct dir_shard *s = fresh();
	uint64_t first = dir_id("a@x.example", 0), second = dir_id("a@x.example", 1);
	unsigned n = 0;

	(void)state;
	assert_true(first != second && first != dir_id("b@x.example", 0));
	assert_true(first != 0 && first <= INT64_MAX);
	assert_true(dir_id_shard(first, 7) < 7);
	named(s, DIR_DOMAIN_ADD, "x.example");
	assert_int_equal(dir_shard_new_id(s, "a@x.example"), first);
	assert_int_equal(user(s, first, "a@x.example"), MAIL_OK);
	assert_int_equal(id_gone(s, first), MAIL_EXISTS);
	assert_int_equal(named(s, DIR_USER_DELETE, "a@x.example"), MAIL_OK);
	assert_int_equal(dir_shard_new_id(s, "a@x.example"), second);
	assert_int_equal(user(s, first, "a@x.example"), MAIL_OK);	/* brought back */
	dir_shard_gone(s, count_id, &n);
	assert_int_equal(n, 0);
	assert_int_equal(id_gone(s, second), MAIL_OK);
	assert_int_equal(id_gone(s, second), MAIL_EXISTS);
	assert_int_equal(id_gone(s, 0), MAIL_BAD);
	assert_int_equal(dir_shard_new_id(s, "a@x.example"), dir_id("a@x.example", 2));
	dir_shard_gone(s, count_id, &n);
	assert_int_equal(n, 1);
	end(s);
}

static enum mail_rc
layout(struct dir_shard *s, uint16_t shards)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, shards);
	return apply(s, DIR_LAYOUT, &w, ++lsn);
}

/* The first that the log says holds for ever. */
static void
test_layout(void **state)
{
	struct dir_shard *s = fresh();

	(void)state;
	assert_int_equal(dir_shard_layout(s), 0);
	assert_int_equal(layout(s, 0), MAIL_BAD);
	assert_int_equal(layout(s, 16), MAIL_OK);
	assert_int_equal(layout(s, 8), MAIL_EXISTS);
	assert_int_equal(dir_shard_layout(s), 16);
	end(s);
}

static enum mail_rc
try_named(struct dir_shard *s, enum dir_record type, const char *name)
{
	struct wire_out w;
	enum mail_rc rc;

	wire_out_init(&w);
	wire_put_str(&w, name);
	rc = dir_shard_try(s, type, wire_out_span(&w));
	wire_out_clear(&w);
	return rc;
}

/* Answers as a change would, inside and outside of a transaction, and keeps nothing. */
static void
test_try(void **state)
{
	struct dir_shard *s = fresh();
	struct dir_user u;

	(void)state;
	assert_int_equal(try_named(s, DIR_DOMAIN_ADD, "x.example"), MAIL_OK);
	assert_false(dir_shard_domain(s, "x.example"));
	assert_int_equal(named(s, DIR_DOMAIN_ADD, "x.example"), MAIL_OK);
	assert_int_equal(user(s, 1, "a@x.example"), MAIL_OK);
	for (int open = 1; open >= 0; open--) {
		assert_int_equal(try_named(s, DIR_DOMAIN_ADD, "x.example"), MAIL_EXISTS);
		assert_int_equal(try_named(s, DIR_DOMAIN_DELETE, "x.example"), MAIL_EXISTS);
		assert_int_equal(try_named(s, DIR_USER_DELETE, "b@x.example"), MAIL_UNKNOWN);
		assert_int_equal(try_named(s, DIR_USER_DELETE, "a@x.example"), MAIL_OK);
		assert_true(dir_shard_user(s, "a@x.example", &u));
		assert_int_equal(index_db_applied(dir_shard_index(s)), lsn);
		index_db_commit(dir_shard_index(s));
	}
	end(s);
}

/* Idempotent by LSN, kept over a restart, and carried by a snapshot. */
static void
test_durable(void **state)
{
	struct dir_shard *s = fresh();
	struct dir_user u;
	struct wire_out w;
	uint64_t at;
	int fd;

	(void)state;
	named(s, DIR_DOMAIN_ADD, "x.example");
	user(s, 7, "a@x.example");
	index_db_commit(dir_shard_index(s));
	fd = index_db_snapshot(dir_shard_index(s), &at);
	assert_int_not_equal(fd, -1);
	assert_int_equal(at, 2);
	assert_int_equal(named(s, DIR_USER_DELETE, "a@x.example"), MAIL_OK);
	wire_out_init(&w);
	wire_put_u64(&w, 9);
	wire_put_u16(&w, 0);
	wire_put_str(&w, "late@x.example");
	wire_put_str(&w, "h");
	assert_int_equal(apply(s, DIR_USER_ADD, &w, 2), MAIL_OK);	/* below applied */
	assert_false(dir_shard_user(s, "late@x.example", &u));
	dir_shard_close(s);
	s = dir_shard_open(dir);
	assert_int_equal(index_db_applied(dir_shard_index(s)), 3);
	assert_false(dir_shard_user(s, "a@x.example", &u));
	assert_int_equal(index_db_checkpoint(dir_shard_index(s)), 3);
	assert_int_equal(index_db_replace(dir_shard_index(s), fd), 0);
	close(fd);
	assert_int_equal(index_db_applied(dir_shard_index(s)), 2);
	assert_true(dir_shard_user(s, "a@x.example", &u));
	end(s);
}

static void
test_bad_seed(void **state)
{
	struct dir_shard *s = fresh();
	struct dir_user u;
	FILE *f = tmpfile();

	(void)state;
	named(s, DIR_DOMAIN_ADD, "x.example");
	user(s, 7, "a@x.example");
	fputs("this is no database, but it is long enough to look at", f);
	fflush(f);
	assert_int_equal(index_db_replace(dir_shard_index(s), fileno(f)), -1);
	fclose(f);
	assert_true(dir_shard_user(s, "a@x.example", &u));
	end(s);
}

static const struct {
	const char *address;
	enum mail_rc rc;
	const char *locals;		/* ids as digits, in the order found */
	size_t remotes;
} resolved[] = {
	{ "a@x.example", MAIL_OK, "1", 0 },
	{ "A@X.Example", MAIL_OK, "1", 0 },
	{ "a+tag@x.example", MAIL_OK, "1", 0 },
	{ "a+t+u@x.example", MAIL_OK, "1", 0 },
	{ "+a@x.example", MAIL_UNKNOWN, "", 0 },
	{ "none@x.example", MAIL_UNKNOWN, "", 0 },
	{ "a@other.example", MAIL_RELAY, "", 1 },
	{ "info@x.example", MAIL_OK, "1", 0 },
	{ "info+x@x.example", MAIL_OK, "1", 0 },
	{ "both@x.example", MAIL_OK, "12", 1 },		/* and one elsewhere */
	{ "loop1@x.example", MAIL_UNKNOWN, "", 0 },
	{ "b@x.example", MAIL_OK, "21", 0 },		/* alias of itself and another */
	{ "dead@x.example", MAIL_UNKNOWN, "", 0 },
	{ "deep0@x.example", MAIL_TEMP, "", 0 },
	{ "postmaster@x.example", MAIL_OK, "1", 0 },
	{ "Postmaster", MAIL_OK, "1", 0 },
	{ "postmaster@empty.example", MAIL_UNKNOWN, "", 0 },
	{ "someone", MAIL_UNKNOWN, "", 0 },
};

static void
fill(struct dir_shard *s)
{
	char from[40], to[40];

	named(s, DIR_DOMAIN_ADD, "empty.example");
	named(s, DIR_DOMAIN_ADD, "x.example");
	user(s, 1, "a@x.example");
	user(s, 2, "b@x.example");
	alias(s, DIR_ALIAS_ADD, "info@x.example", "a@x.example");
	alias(s, DIR_ALIAS_ADD, "both@x.example", "a@x.example");
	alias(s, DIR_ALIAS_ADD, "both@x.example", "c@far.example");
	alias(s, DIR_ALIAS_ADD, "both@x.example", "gone@x.example");
	alias(s, DIR_ALIAS_ADD, "both@x.example", "way@x.example");
	alias(s, DIR_ALIAS_ADD, "way@x.example", "b@x.example");
	alias(s, DIR_ALIAS_ADD, "b@x.example", "b@x.example");
	alias(s, DIR_ALIAS_ADD, "b@x.example", "info@x.example");
	alias(s, DIR_ALIAS_ADD, "loop1@x.example", "loop2@x.example");
	alias(s, DIR_ALIAS_ADD, "loop2@x.example", "loop1@x.example");
	alias(s, DIR_ALIAS_ADD, "dead@x.example", "gone@x.example");
	for (int i = 0; i < 12; i++) {
		snprintf(from, sizeof(from), "deep%d@x.example", i);
		snprintf(to, sizeof(to), "deep%d@x.example", i + 1);
		alias(s, DIR_ALIAS_ADD, from, to);
	}
}

static void
test_resolve(void **state)
{
	static const struct dir_rules rules = { '+', "", "", 5, 100 };
	struct dir_shard *s = fresh();
	struct dir_targets t;
	char ids[32];

	(void)state;
	fill(s);
	for (size_t i = 0; i < sizeof(resolved) / sizeof(resolved[0]); i++) {
		enum mail_rc rc = dir_resolve(s, &rules, resolved[i].address, &t);
		size_t n = 0;

		if (rc != resolved[i].rc)
			fail_msg("%s: %s", resolved[i].address, mail_rc_name(rc));
		for (size_t k = 0; k < t.nlocals && rc == MAIL_OK; k++)
			ids[n++] = (char)('0' + t.locals[k].user);
		ids[n] = '\0';
		if (strcmp(ids, resolved[i].locals) != 0
		    || (rc != MAIL_TEMP && t.nremotes != resolved[i].remotes))
			fail_msg("%s: %s and %zu", resolved[i].address, ids, t.nremotes);
		dir_targets_clear(&t);
	}
	end(s);
}

struct hashed { int done; bool ok; char hash[DIR_HASH_MAX]; };

static void
on_hash(void *arg, bool ok, const char *hash)
{
	struct hashed *h = arg;

	h->done++;
	h->ok = ok;
	if (hash != NULL)
		snprintf(h->hash, sizeof(h->hash), "%s", hash);
}

static void
wait_for(struct event_base *base, const struct hashed *h, int n)
{
	while (h->done < n)
		event_base_loop(base, EVLOOP_ONCE);
}

static void
test_hash(void **state)
{
	struct event_base *base = event_base_new();
	struct dir_hash *d = dir_hash_new(base, 2, 4, 1);
	struct hashed h = { 0 };
	int taken = 0;

	(void)state;
	assert_int_equal(dir_hash_make(d, "secret", on_hash, &h), 0);
	wait_for(base, &h, 1);
	assert_true(h.ok);
	assert_memory_equal(h.hash, "$y$", 3);
	assert_int_equal(dir_hash_verify(d, "secret", h.hash, on_hash, &h), 0);
	wait_for(base, &h, 2);
	assert_true(h.ok);
	assert_int_equal(dir_hash_verify(d, "secreT", h.hash, on_hash, &h), 0);
	wait_for(base, &h, 3);
	assert_false(h.ok);
	assert_int_equal(dir_hash_verify(d, "secret", NULL, on_hash, &h), 0);
	wait_for(base, &h, 4);
	assert_false(h.ok);
	while (taken < 100 && dir_hash_make(d, "x", on_hash, &h) == 0)
		taken++;
	assert_true(taken < 100);		/* the queue is bounded */
	dir_hash_free(d);			/* with jobs under way */
	event_base_free(base);
}

static void
test_cache(void **state)
{
	struct dir_cache *c = dir_cache_new(64, 1000), *off = dir_cache_new(1, 0);

	(void)state;
	assert_false(dir_cache_has(c, 1, "h", "p", 0));
	dir_cache_add(c, 1, "h", "p", 0);
	assert_true(dir_cache_has(c, 1, "h", "p", 999));
	assert_false(dir_cache_has(c, 1, "h", "p", 1000));
	assert_false(dir_cache_has(c, 2, "h", "p", 0));
	assert_false(dir_cache_has(c, 1, "changed", "p", 0));
	assert_false(dir_cache_has(c, 1, "h", "q", 0));
	dir_cache_add(off, 1, "h", "p", 0);
	assert_false(dir_cache_has(off, 1, "h", "p", 0));
	dir_cache_free(c);
	dir_cache_free(off);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_try),
		cmocka_unit_test(test_durable),
		cmocka_unit_test(test_bad_seed),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
