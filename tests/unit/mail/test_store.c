/* test_store.c - the store against a syncd in memory: what a caller asks, is told, and
 * can read afterwards; order, refusals, generations, full disk, seeding. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fake_syncd.h"
#include "fs.h"
#include "log.h"
#include "object_map.h"
#include "shard_record.h"
#include "store_admin.h"

#define USER 7
#define RESULTS 4096

struct result {				/* what done() said, copied */
	bool told;
	enum mail_rc rc;
	uint64_t gen, lsn;
	uint8_t copies;
	uint32_t uidvalidity, src[8], dst[8];
	size_t n;
	unsigned order;
};
struct env {
	struct event_base *base;
	struct fake_syncd f;
	struct store *st;
	struct store_conf conf;
	char dir[64];
	struct result res[RESULTS];
	unsigned told;
	bool inside;
};
static struct env *env;			/* for the macros and done() */

static void
done(void *arg, const struct store_result *r)
{
	struct result *x = arg;

	assert_false(env->inside);
	assert_false(x->told);
	x->told = true;
	x->rc = r->rc;
	x->gen = r->gen;
	x->lsn = r->lsn;
	x->copies = r->copies;
	x->uidvalidity = r->uidvalidity;
	x->n = r->n;
	for (size_t i = 0; i < r->n && i < 8; i++) {
		x->dst[i] = r->dst_uids[i];
		x->src[i] = r->src_uids == NULL ? 0 : r->src_uids[i];
	}
	x->order = ++env->told;
}

#define UNTIL(cond) do { \
	int64_t end_ = clock_ms() + 5000; \
	while (!(cond)) { \
		if (clock_ms() > end_) \
			fail_msg("waited in vain: %s", #cond); \
		fake_loop(env->base, 2); \
	} \
} while (0)

static void
store_up(void)
{
	char err[256] = "";

	env->st = store_new(env->base, &env->conf, NULL, NULL);
	for (uint16_t n = 0; n < 2; n++)
		if (store_add_shard(env->st, n, err, sizeof(err)) == -1)
			fail_msg("%s", err);
}

static int
setup(void **state)
{
	env = calloc(1, sizeof(*env));
	log_init("test_store", true, LOG_LEVEL_ERR);
	env->base = event_base_new();
	snprintf(env->dir, sizeof(env->dir), "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(env->dir));
	fake_start(&env->f, env->base, env->dir);
	store_conf_default(&env->conf);
	env->conf.dir = env->dir;
	env->conf.owner_path = env->f.path;
	env->conf.low_water = 0;
	env->conf.part_wait_ms = 100;
	store_up();
	UNTIL(store_role(env->st)->active);
	*state = env;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	store_free(env->st);
	fake_stop(&env->f);
	event_base_free(env->base);
	fs_remove_tree(env->dir);
	free(env);
	return 0;
}

static int
message(const char *text, size_t len)
{
	int fd = memfd_create("message", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, len), 0);
	return fd;
}

static void
deliver(struct result *r, uint64_t user, const char *text)
{
	int fd = message(text, strlen(text));

	env->inside = true;
	store_deliver(env->st, 0, &user, 1, fd, done, r);
	env->inside = false;
	close(fd);
}

static struct store_box
box_of(const char *name)
{
	struct store_box b;

	assert_int_equal(store_box_by_name(env->st, 0, USER, name, &b), MAIL_OK);
	return b;
}

static struct store_uids *
uids(uint32_t lo, uint32_t hi)
{
	static struct { uint32_t lo, hi; } r;
	static struct store_uids u;

	r.lo = lo;
	r.hi = hi;
	u.r = (void *)&r;
	u.n = 1;
	return &u;
}

static void
content_is(uint64_t box, uint32_t uid, const char *text, size_t len)
{
	struct store_msg m;
	char *buf = malloc(len + 1);
	int fd;

	assert_int_equal(store_message(env->st, 0, box, uid, &m), MAIL_OK);
	assert_int_equal(m.size, len);
	fd = store_object_open(env->st, 0, m.sha);
	assert_true(fd >= 0);
	assert_int_equal(fs_pread_all(fd, buf, len + 1, 0), len);
	assert_memory_equal(buf, text, len);
	close(fd);
	free(buf);
	free(m.keywords);
}

static void
count_one(const struct store_msg *m, void *arg)
{
	(void)m;
	++*(unsigned *)arg;
}

static unsigned
count(uint64_t box)
{
	unsigned n = 0;

	assert_int_equal(store_messages(env->st, 0, box, 1, 0, count_one, &n), MAIL_OK);
	return n;
}

static void
test_deliver(void **state)
{
	struct result *r = env->res;
	struct store_box b;

	(void)state;
	env->f.hold = true;
	for (int i = 0; i < 3; i++)
		deliver(&r[i], USER, i == 0 ? "Subject: a\r\n\r\nx\r\n" : "Subject: b\r\n\r\n");
	UNTIL(env->f.n == 3);
	fake_loop(env->base, 20);
	assert_false(r[0].told);	/* not before the commit */
	assert_int_equal(store_box_by_name(env->st, 0, USER, "inbox", &b), MAIL_UNKNOWN);
	fake_release(&env->f, 0);
	UNTIL(env->told == 3);
	b = box_of("inbox");
	assert_int_equal(b.exists, 3);
	assert_int_equal(b.unseen, 3);
	assert_int_equal(b.uidnext, 4);
	assert_true(b.uidvalidity >= 1700000000);
	content_is(b.id, 1, "Subject: a\r\n\r\nx\r\n", 17);
	content_is(b.id, 3, "Subject: b\r\n\r\n", 14);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r[i].rc, MAIL_OK);
		assert_int_equal(r[i].order, i + 1);
		assert_int_equal(r[i].lsn, i + 1);
		assert_int_equal(r[i].gen, env->f.gen.no);
		assert_int_equal(r[i].copies, 2);
	}
	assert_string_equal(box_of("Trash").special, "\\Trash");
	assert_true(box_of("Sent").subscribed);
	UNTIL(env->f.applied[16] == 3);
}

/* Any of the proposals that make the first mailboxes may be refused. */
static void
test_refused_first(void **state)
{
	struct result *r = env->res;

	(void)state;
	env->f.hold = true;
	deliver(&r[0], USER, "one");
	deliver(&r[1], USER, "two");
	UNTIL(env->f.n == 2);
	fake_refuse(&env->f, &env->f.log[0], OWNER_NOT_TWICE);
	fake_release(&env->f, 0);
	UNTIL(env->told == 2);
	assert_int_equal(r[0].rc, MAIL_NOT_TWICE);
	assert_int_equal(r[1].rc, MAIL_OK);
	assert_int_equal(box_of("INBOX").exists, 1);
	assert_int_equal(count(box_of("INBOX").id), 1);
}

static void
say_undecided(const struct fake_record *rec)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, rec->origin);
	fake_send(&env->f, OWN_UNDECIDED, &w);
}

/* Who waits is told once; the number stays taken, and the message may still come. */
static void
test_undecided(void **state)
{
	struct result *r = env->res;
	struct store_msg m;
	struct store_box b;

	(void)state;
	deliver(&r[0], USER, "first");
	UNTIL(env->told == 1);
	env->f.hold = true;
	deliver(&r[1], USER, "open");
	UNTIL(env->f.n == 2);
	say_undecided(&env->f.log[1]);
	say_undecided(&env->f.log[1]);
	UNTIL(env->told == 2);
	assert_int_equal(r[1].rc, MAIL_NOT_TWICE);
	/* a change of the structure would wait for it: it is refused at once */
	store_box_create(env->st, 0, USER, "New", "", done, &r[2]);
	UNTIL(env->told == 3);
	assert_int_equal(r[2].rc, MAIL_NOT_TWICE);
	deliver(&r[3], USER, "third");
	UNTIL(env->f.n == 3);
	fake_release(&env->f, 0);
	UNTIL(env->told == 4);
	assert_int_equal(r[3].rc, MAIL_OK);
	assert_int_equal(r[1].rc, MAIL_NOT_TWICE);
	b = box_of("INBOX");
	assert_int_equal(b.exists, 3);
	content_is(b.id, 2, "open", 4);
	content_is(b.id, 3, "third", 5);
	store_box_create(env->st, 0, USER, "New", "", done, &r[4]);
	env->f.hold = false;
	fake_release(&env->f, 0);
	UNTIL(env->told == 5);
	assert_int_equal(r[4].rc, MAIL_OK);
	assert_int_equal(store_message(env->st, 0, b.id, 4, &m), MAIL_UNKNOWN);
}

static const struct { enum owner_refusal why; enum mail_rc rc; } refusals[] = {
	{ OWNER_NOT_ACTIVE, MAIL_NOT_ACTIVE }, { OWNER_NOT_TWICE, MAIL_NOT_TWICE },
	{ OWNER_DISK_FULL, MAIL_DISK_FULL }, { OWNER_BUSY, MAIL_TEMP },
	{ OWNER_FAILED, MAIL_TEMP },
};

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < 5; i++) {
		env->f.refuse = refusals[i].why;
		deliver(&env->res[i], USER, "x");
		UNTIL(env->told == i + 1);
		assert_int_equal(env->res[i].rc, refusals[i].rc);
	}
	env->f.refuse = 0;
	env->f.active = false;
	fake_role(&env->f);
	UNTIL(!store_role(env->st)->active);
	deliver(&env->res[5], USER, "x");
	UNTIL(env->told == 6);
	assert_int_equal(env->res[5].rc, MAIL_NOT_ACTIVE);
	assert_int_equal(env->f.n, 5);
}

static void
test_large(void **state)
{
	size_t len = (5u << 20) + 12345;
	char *text = malloc(len);
	uint64_t users[2] = { USER, USER + 1 };
	struct store_box b;
	int fd;

	(void)state;
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + i * 7 % 26);
	fd = message(text, len);
	store_deliver(env->st, 0, users, 2, fd, done, &env->res[0]);
	close(fd);
	UNTIL(env->told == 1);
	assert_int_equal(env->res[0].rc, MAIL_OK);
	assert_int_equal(env->f.n, 12);
	b = box_of("INBOX");
	content_is(b.id, 1, text, len);
	assert_int_equal(store_box_by_name(env->st, 0, USER + 1, "INBOX", &b), MAIL_OK);
	content_is(b.id, 1, text, len);
	/* a refusal in the middle: no record names the message */
	text[0] = 'Z';
	env->f.hold = true;
	fd = message(text, len);
	store_deliver(env->st, 0, users, 1, fd, done, &env->res[1]);
	close(fd);
	UNTIL(env->f.n == 16);
	fake_refuse(&env->f, &env->f.log[13], OWNER_DISK_FULL);
	fake_release(&env->f, 0);
	UNTIL(env->told == 2);
	assert_int_equal(env->res[1].rc, MAIL_DISK_FULL);
	assert_int_equal(box_of("INBOX").exists, 1);
	free(text);
}

/* Overwrites the object; the same length is no proof of the same bytes. */
static void
object_becomes(const uint8_t sha[32], const char *text)
{
	char hex[65], *path;
	FILE *f;

	hex_encode(sha, 32, hex);
	path = mem_printf("%s/store-00/objects/%.2s/%s", env->dir, hex, hex);
	assert_non_null(f = fopen(path, "w"));
	assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
	free(path);
}

static void
test_rot(void **state)
{
	struct object_map o = { 0 };
	struct store_msg m;

	(void)state;
	deliver(&env->res[0], USER, "abc\r\n");
	UNTIL(env->told == 1);
	assert_int_equal(store_message(env->st, 0, box_of("INBOX").id, 1, &m), MAIL_OK);
	object_becomes(m.sha, "abd\r\n");
	assert_int_equal(object_map_open(&o, env->st, 0, &m), -1);
	assert_int_equal(errno, EBADMSG);
	object_becomes(m.sha, "abc");
	assert_int_equal(object_map_open(&o, env->st, 0, &m), -1);
	assert_int_equal(errno, EIO);
	object_becomes(m.sha, "abc\r\n");
	for (int i = 0; i < 2; i++) {	/* looked at, then known */
		assert_int_equal(object_map_open(&o, env->st, 0, &m), 0);
		assert_true(span_is(o.text, "abc\r\n"));
		object_map_close(&o);
	}
	free(m.keywords);
}

static bool
given_up(void)
{
	return env->f.log[env->f.n - 1].type == REC_PART_DROP;
}

/* Pieces without an end hold the checkpoint back until this node, active, gives them
 * up; not while they still arrive. */
static void
test_large_given_up(void **state)
{
	size_t len = 6 * REC_INLINE_MAX;
	char *text = calloc(1, len);
	int64_t end = clock_ms() + 2500;
	uint64_t user = USER;
	int fd;

	(void)state;
	env->f.hold = true;
	fd = message(text, len);
	store_deliver(env->st, 0, &user, 1, fd, done, &env->res[0]);
	close(fd);
	UNTIL(env->f.n == 4);
	for (size_t i = 0; i < 3; i++)
		fake_commit(&env->f, &env->f.log[i]);
	fake_word(&env->f, OWN_BATCH_END, 16);
	while (clock_ms() < end)
		fake_loop(env->base, 20);
	assert_int_equal(env->f.n, 4);
	fake_refuse(&env->f, &env->f.log[3], OWNER_DISK_FULL);
	UNTIL(env->told == 1);
	assert_int_equal(env->res[0].rc, MAIL_DISK_FULL);
	env->f.hold = false;
	UNTIL(given_up());
	assert_int_equal(env->f.n, 5);
	end = clock_ms() + 2500;
	while (clock_ms() < end)	/* once is enough */
		fake_loop(env->base, 20);
	assert_int_equal(env->f.n, 5);
	free(text);
}

static void
test_flags_copy_expunge(void **state)
{
	struct result *r = env->res;
	struct store_box in, sent;
	struct store_msg m;

	(void)state;
	for (int i = 0; i < 4; i++)
		deliver(&r[i], USER, "text");
	UNTIL(env->told == 4);
	in = box_of("INBOX");
	sent = box_of("Sent");
	/* all under way at once, applied in this order */
	env->f.hold = true;
	store_flags(env->st, 0, in.id, uids(1, 2), STORE_FLAGS_ADD, FLAG_SEEN, "b A", done, &r[4]);
	store_copy(env->st, 0, in.id, uids(1, 3), sent.id, false, done, &r[5]);
	store_flags(env->st, 0, in.id, uids(2, 2), STORE_FLAGS_SET, FLAG_DELETED, NULL, done, &r[6]);
	store_expunge(env->st, 0, in.id, uids(1, UINT32_MAX), true, done, &r[7]);
	store_copy(env->st, 0, in.id, uids(2, 4), sent.id, true, done, &r[8]);
	deliver(&r[9], USER, "last");
	UNTIL(env->f.n == 10);
	fake_release(&env->f, 0);
	UNTIL(env->told == 10);
	for (int i = 4; i < 10; i++)
		assert_int_equal(r[i].rc, MAIL_OK);
	assert_int_equal(r[5].n, 3);
	assert_int_equal(r[5].src[2], 3);
	assert_int_equal(r[5].dst[2], 3);
	assert_int_equal(r[5].uidvalidity, sent.uidvalidity);
	assert_int_equal(r[8].n, 2);	/* uid 2 was removed by what went before */
	assert_int_equal(r[8].src[0], 3);
	assert_int_equal(r[8].dst[1], 6);
	in = box_of("INBOX");
	assert_int_equal(in.exists, 2);
	assert_int_equal(in.unseen, 1);
	assert_int_equal(in.uidnext, 6);
	assert_int_equal(count(in.id), 2);
	assert_int_equal(count(sent.id), 5);
	assert_int_equal(store_message(env->st, 0, sent.id, 1, &m), MAIL_OK);
	assert_int_equal(m.flags, FLAG_SEEN);
	assert_string_equal(m.keywords, "A b");
	free(m.keywords);
	assert_int_equal(store_message(env->st, 0, in.id, 2, &m), MAIL_UNKNOWN);
	store_flags(env->st, 0, 999, uids(1, 2), STORE_FLAGS_ADD, 1, NULL, done, &r[10]);
	UNTIL(env->told == 11);
	assert_int_equal(r[10].rc, MAIL_UNKNOWN);
}

static void
list_one(const struct store_box *b, void *arg)
{
	char *out = arg;

	strcat(out, b->noselect ? "(" : "");
	strcat(out, b->name);
	strcat(out, b->noselect ? ") " : " ");
}

/* Structure changes wait for what is under way and hold back what follows. */
static void
test_structure(void **state)
{
	struct result *r = env->res;
	char out[1000] = "";
	struct store_box b;

	(void)state;
	store_user_ready(env->st, 0, USER, done, &r[0]);
	UNTIL(env->told == 1);
	env->f.hold = true;
	deliver(&r[1], USER, "one");
	store_box_create(env->st, 0, USER, "Work/2024/May", NULL, done, &r[2]);
	store_box_create(env->st, 0, USER, "work/2024/May", "\\Archive", done, &r[3]);
	store_box_create(env->st, 0, USER, "Work/2024/May", NULL, done, &r[4]);
	store_box_rename(env->st, 0, USER, "Work", "Play", done, &r[5]);
	store_box_rename(env->st, 0, USER, "Play", "Play/x", done, &r[6]);
	store_box_delete(env->st, 0, USER, "inbox", done, &r[7]);
	store_box_rename(env->st, 0, USER, "INBOX", "Old", done, &r[8]);
	deliver(&r[9], USER, "two");
	fake_loop(env->base, 30);
	assert_int_equal(env->f.n, 2);	/* the boxes of the user, and the delivery */
	env->f.hold = false;
	fake_release(&env->f, 0);
	UNTIL(env->told == 10);
	assert_int_equal(r[2].rc, MAIL_OK);
	assert_int_equal(r[3].rc, MAIL_OK);
	assert_int_equal(r[4].rc, MAIL_EXISTS);
	assert_int_equal(r[5].rc, MAIL_OK);
	assert_int_equal(r[6].rc, MAIL_BAD);
	assert_int_equal(r[7].rc, MAIL_DENIED);
	assert_int_equal(r[8].rc, MAIL_OK);
	assert_int_equal(r[9].rc, MAIL_OK);
	store_box_list(env->st, 0, USER, false, list_one, out);
	assert_string_equal(out, "Drafts INBOX Junk Old (Play) (Play/2024) Play/2024/May Sent Trash "
	    "(work) (work/2024) work/2024/May ");
	assert_int_equal(box_of("Old").exists, 1);
	b = box_of("INBOX");
	assert_int_equal(b.exists, 1);
	assert_int_equal(b.uidnext, 3);
	content_is(b.id, 2, "two", 3);
	content_is(box_of("Old").id, 1, "one", 3);
	assert_string_equal(box_of("work/2024/May").special, "\\Archive");
	store_box_delete(env->st, 0, USER, "Old", done, &r[10]);
	store_box_subscribe(env->st, 0, USER, "Old", true, done, &r[11]);
	store_box_subscribe(env->st, 0, USER, "Sent", false, done, &r[12]);
	UNTIL(env->told == 13);
	assert_int_equal(store_box_by_name(env->st, 0, USER, "Old", &b), MAIL_UNKNOWN);
	out[0] = '\0';
	store_box_list(env->st, 0, USER, true, list_one, out);
	assert_string_equal(out, "Drafts INBOX Junk (Old) Trash ");
}

static void
test_forget(void **state)
{
	(void)state;
	env->f.hold = true;
	deliver(&env->res[0], USER, "x");
	UNTIL(env->f.n == 1);
	store_forget(env->st, &env->res[0]);
	fake_release(&env->f, 0);
	deliver(&env->res[1], USER, "y");
	UNTIL(env->f.n == 2);
	fake_release(&env->f, 0);
	UNTIL(env->res[1].told);
	assert_false(env->res[0].told);
	assert_int_equal(box_of("INBOX").exists, 2);
}

struct heard { char text[400]; struct store_watch *w; };

static void
on_event(void *arg, const struct store_event *e)
{
	struct heard *h = arg;
	char one[40];

	assert_true((e->what == STORE_NEW || e->what == STORE_FLAGS) == (e->msg != NULL));
	snprintf(one, sizeof(one), "%c%u%s ", "NFGD"[e->what], e->uid,
	    e->origin == &env->res[2] ? "*" : "");
	strcat(h->text, one);
	if (e->what == STORE_BOX_DELETED) {
		store_watch_free(h->w);	/* from inside */
		h->w = NULL;
	}
}

static void
test_watch(void **state)
{
	struct result *r = env->res;
	struct heard h = { .text = "" };
	struct store_box b;

	(void)state;
	store_box_create(env->st, 0, USER, "W", NULL, done, &r[0]);
	UNTIL(env->told == 1);
	b = box_of("W");
	h.w = store_watch_new(env->st, 0, b.id, on_event, &h);
	for (int i = 1; i <= 2; i++) {
		int fd = message("m", 1);

		store_append(env->st, 0, USER, b.id, FLAG_SEEN, NULL, 1000, fd, done, &r[i]);
		close(fd);
	}
	UNTIL(env->told == 3);
	assert_int_equal(r[2].dst[0], 2);
	assert_int_equal(r[2].uidvalidity, b.uidvalidity);
	store_flags(env->st, 0, b.id, uids(1, 9), STORE_FLAGS_ADD, FLAG_DELETED, NULL, done, &r[3]);
	store_expunge(env->st, 0, b.id, uids(1, 1), true, done, &r[4]);
	UNTIL(env->told == 5);
	store_box_delete(env->st, 0, USER, "W", done, &r[5]);
	UNTIL(env->told == 6);
	assert_string_equal(h.text, "N1 N2* F1 F2 G1 D0 ");
}

/* A takeover raises UIDNEXT by the gap at the first write, and what is shown before
 * it already; where both nodes may serve, UIDs have the node's parity. */
static void
test_generations(void **state)
{
	struct result *r = env->res;
	struct store_box b;

	(void)state;
	deliver(&r[0], USER, "one");
	UNTIL(env->told == 1);
	fake_generation(&env->f, GEN_JOIN, 0);
	fake_loop(env->base, 10);
	assert_int_equal(box_of("INBOX").uidnext, 2);
	fake_generation(&env->f, GEN_PRESUMED, 1);
	UNTIL(box_of("INBOX").uidnext == 65538);
	assert_int_equal(box_of("INBOX").modseq, env->f.gen.no << 40);
	env->f.hold = true;
	deliver(&r[1], USER, "two");
	deliver(&r[2], USER, "three");
	UNTIL(env->f.n == 5);
	fake_release(&env->f, 0);
	UNTIL(env->told == 3);
	b = box_of("INBOX");
	assert_int_equal(b.uidnext, 65542);
	content_is(b.id, 65539, "two", 3);	/* odd: node 1 */
	content_is(b.id, 65541, "three", 5);
	assert_true(b.modseq > env->f.gen.no << 40);
	env->f.hold = false;
	for (int i = 0; i < 3; i++) {
		char name[8] = { 'P', (char)('a' + i), '\0' };

		store_box_create(env->st, 0, USER, name, "", done, &r[3 + i]);
		UNTIL(env->told == 4 + (unsigned)i);
		assert_int_equal(box_of(name).uidvalidity & 1, 1);
	}
	fake_generation(&env->f, GEN_JOIN, 1);
	fake_loop(env->base, 10);
	assert_int_equal(box_of("INBOX").uidnext, 65542);
	assert_int_equal(box_of("Sent").uidnext, 65537);
}

/* The removed message's UID must not come back after a takeover. */
static void
test_uid_never_again(void **state)
{
	struct result *r = env->res;
	struct store_box b;

	(void)state;
	for (int i = 0; i < 3; i++)
		deliver(&r[i], USER, "x");
	UNTIL(env->told == 3);
	b = box_of("INBOX");
	store_expunge(env->st, 0, b.id, uids(2, 3), false, done, &r[3]);
	UNTIL(env->told == 4);
	fake_generation(&env->f, GEN_TAKEOVER, 1);
	deliver(&r[4], USER, "y");
	UNTIL(env->told == 5);
	b = box_of("INBOX");
	if (b.uidnext <= 65536 || store_message(env->st, 0, b.id, 2, &(struct store_msg){ 0 }) ==
	    MAIL_OK)
		fail_msg("a UID names another message after the takeover: uidnext=%u", b.uidnext);
}

/* A second process on the same files continues where the first one ended. */
static void
test_restart(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++)
		deliver(&env->res[i], USER, "text");
	UNTIL(env->told == 50);
	store_free(env->st);
	store_up();
	UNTIL(store_role(env->st)->active);
	assert_int_equal(box_of("INBOX").exists, 50);
	deliver(&env->res[50], USER, "text");
	UNTIL(env->told == 51);
	assert_int_equal(box_of("INBOX").uidnext, 52);
}

struct operated { json_t *report; long complaints; bool told; };

static void
on_operated(void *arg, json_t *report, long complaints)
{
	struct operated *o = arg;

	o->report = report;
	o->complaints = complaints;
	o->told = true;
}

static void
test_operations(void **state)
{
	struct operated o = { 0 };
	char path[200], name[72], hex[65];
	struct store_msg m;

	(void)state;
	deliver(&env->res[0], USER, "some text");
	UNTIL(env->told == 1);
	store_operate(env->st, STORE_OP_VERIFY, on_operated, &o);
	UNTIL(o.told);
	assert_int_equal(o.complaints, 0);
	assert_int_equal(json_array_size(json_object_get(o.report, "shards")), 2);
	json_decref(o.report);
	/* one byte of the object changes */
	assert_int_equal(store_message(env->st, 0, box_of("INBOX").id, 1, &m), MAIL_OK);
	hex_encode(m.sha, 32, hex);
	snprintf(name, sizeof(name), "%.2s/%s", hex, hex);
	snprintf(path, sizeof(path), "%s/store-00/objects/%s", env->dir, name);
	assert_int_equal(truncate(path, 3), 0);
	o.told = false;
	store_operate(env->st, STORE_OP_VERIFY, on_operated, &o);
	UNTIL(o.told);
	assert_int_equal(o.complaints, 1);
	json_decref(o.report);
	o.told = false;
	store_operate(env->st, STORE_OP_CHECKPOINT, on_operated, &o);
	UNTIL(o.told);
	assert_int_equal(o.complaints, 0);
	UNTIL(env->f.checkpoint[16] == 1);
	json_decref(o.report);
}

static void
test_low_space(void **state)
{
	(void)state;
	deliver(&env->res[0], USER, "x");
	UNTIL(env->told == 1);
	store_free(env->st);
	env->conf.low_water = UINT64_MAX;
	store_up();
	UNTIL(store_role(env->st)->active);
	deliver(&env->res[1], USER, "x");
	store_expunge(env->st, 0, box_of("INBOX").id, uids(1, 1), false, done, &env->res[2]);
	UNTIL(env->told == 3);
	assert_int_equal(env->res[1].rc, MAIL_DISK_FULL);
	assert_int_equal(env->res[2].rc, MAIL_OK);	/* removing still works */
}

/* Objects cannot be written for a while: nothing is skipped, all comes later. */
static void
test_apply_fails(void **state)
{
	struct result *r = env->res;
	char from[200], to[200];

	(void)state;
	deliver(&r[0], USER, "one");
	UNTIL(env->told == 1);
	snprintf(from, sizeof(from), "%s/store-00/objects/tmp", env->dir);
	snprintf(to, sizeof(to), "%s/store-00/objects/away", env->dir);
	assert_int_equal(rename(from, to), 0);
	log_init("test_store", true, LOG_LEVEL_ERR);
	deliver(&r[1], USER, "two");
	UNTIL(env->told == 2);
	assert_int_equal(r[1].rc, MAIL_OK);	/* committed: both logs have it */
	assert_true(store_degraded(env->st));
	deliver(&r[2], USER, "three");
	UNTIL(env->told == 3);
	assert_int_equal(r[2].rc, MAIL_TEMP);
	assert_int_equal(box_of("INBOX").exists, 1);
	assert_int_equal(rename(to, from), 0);
	UNTIL(!store_degraded(env->st));
	assert_int_equal(box_of("INBOX").exists, 2);
	content_is(box_of("INBOX").id, 2, "two", 3);
	deliver(&r[3], USER, "four");
	UNTIL(env->told == 4);
	assert_int_equal(r[3].rc, MAIL_OK);
	assert_int_equal(box_of("INBOX").uidnext, 4);
}

static void
test_mixed_load(void **state)
{
	struct result *r = env->res;
	unsigned n = 0, seed = 1;

	(void)state;
	store_user_ready(env->st, 0, USER, done, &r[n++]);
	UNTIL(env->told == 1);
	for (int round = 0; round < 300; round++) {
		struct store_box in = box_of("INBOX"), sent = box_of("Sent");
		char name[32];

		deliver(&r[n++], USER, "mixed");
		seed = seed * 1103515245 + 12345;
		switch (seed >> 16 & 3) {
		case 0:
			store_expunge(env->st, 0, in.id, uids(in.uidnext / 2, in.uidnext), false, done,
			    &r[n++]);
			break;
		case 1:
			store_copy(env->st, 0, in.id, uids(1, UINT32_MAX), sent.id, (seed & 1024) != 0,
			    done, &r[n++]);
			break;
		case 2:
			snprintf(name, sizeof(name), "B%u", n);
			store_box_create(env->st, 0, USER, name, NULL, done, &r[n++]);
			break;
		default:
			store_flags(env->st, 0, in.id, uids(1, UINT32_MAX), STORE_FLAGS_ADD, FLAG_SEEN,
			    "k", done, &r[n++]);
		}
		if ((seed >> 20 & 7) == 0)
			fake_loop(env->base, 1);
	}
	UNTIL(env->told == n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(r[i].rc, MAIL_OK);
	assert_int_equal(count(box_of("INBOX").id), box_of("INBOX").exists);
	assert_int_equal(count(box_of("Sent").id), box_of("Sent").exists);
}

/* The index and objects of one store are installed in another directory's shard. */
static void
test_seed(void **state)
{
	struct store *first = env->st;
	struct wire_out w;
	struct stat sb;
	uint8_t sha[32];
	char path[200];
	int fd;

	(void)state;
	deliver(&env->res[0], USER, "seed me");
	UNTIL(env->told == 1);
	fake_word(&env->f, OWN_SNAPSHOT, 16);
	UNTIL(env->f.snapshot_list != -1);
	assert_int_equal(env->f.snapshot_lsn, 1);
	assert_int_equal(fstat(env->f.snapshot_list, &sb), 0);
	assert_int_equal(sb.st_size, 32);
	assert_int_equal(fs_pread_all(env->f.snapshot_list, sha, 32, 0), 32);
	fd = store_object_open(first, 0, sha);
	assert_true(fd >= 0);
	store_free(first);
	snprintf(path, sizeof(path), "%s/other", env->dir);
	env->conf.dir = path;
	free(env->f.log[0].payload);
	env->f.n = 0;			/* the log has been trimmed */
	store_up();
	UNTIL(store_role(env->st)->live);
	wire_out_init(&w);
	wire_put_u16(&w, 16);
	wire_put_raw(&w, sha, 32);
	wire_put_u8(&w, 0);
	fake_send(&env->f, OWN_OBJECT_OFFERED, &w);
	UNTIL(env->f.offers_no == 1);	/* not here yet */
	wire_put_u16(&w, 16);
	wire_put_raw(&w, sha, 32);
	wire_put_u8(&w, 1);
	assert_int_equal(ipc_send(env->f.ipc, OWN_OBJECT_OFFERED, 0, w.p, w.len, fd), 0);
	wire_out_clear(&w);
	UNTIL(env->f.offers_ok == 1);
	wire_put_u16(&w, 16);
	wire_put_u64(&w, env->f.snapshot_lsn);
	assert_int_equal(ipc_send(env->f.ipc, OWN_INDEX_OFFERED, 0, w.p, w.len,
	    dup(env->f.snapshot_index)), 0);
	wire_out_clear(&w);
	UNTIL(env->f.offers_ok == 2);
	content_is(box_of("INBOX").id, 1, "seed me", 7);
	deliver(&env->res[1], USER, "and more");
	UNTIL(env->told == 2);
	assert_int_equal(box_of("INBOX").uidnext, 3);
}

int
main(int argc, char **argv)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_deliver), T(test_refused_first), T(test_undecided), T(test_refusals),
		T(test_large), T(test_large_given_up), T(test_rot),
		T(test_flags_copy_expunge), T(test_structure), T(test_forget), T(test_watch),
		T(test_generations), T(test_uid_never_again), T(test_restart), T(test_operations),
		T(test_low_space), T(test_apply_fails), T(test_mixed_load), T(test_seed),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
