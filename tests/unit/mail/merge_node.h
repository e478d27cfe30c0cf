/* merge_node.h - two stores, each with a syncd in memory: what clients do on either, and the
 * fork, behind which each goes on alone.  Included by one .c file of a program, with
 * _GNU_SOURCE and cmocka. */
#ifndef TESTS_MAIL_MERGE_NODE_H
#define TESTS_MAIL_MERGE_NODE_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fake_syncd.h"
#include "fs.h"
#include "log.h"
#include "shard_priv.h"
#include "store_priv.h"

#define SHARD SHARD_STORE0
#define USERS 3

/* ---- a node ---- */

struct copied { uint64_t box; uint8_t guid[16]; };
struct node {
	struct fake_syncd f;
	struct store *st;
	struct store_conf conf;
	char dir[64];
	unsigned under_way;
	enum mail_rc rc;		/* of the newest */
	struct copied *copied;		/* messages that a copy was made of */
	size_t ncopied;
};
static struct event_base *base;
static struct node a, b;
static uint64_t seed;

static unsigned
any(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

#define UNTIL(cond) do { \
	int64_t end_ = clock_ms() + 20000; \
	while (!(cond)) { \
		if (clock_ms() > end_) \
			fail_msg("waited in vain: %s", #cond); \
		event_base_loop(base, EVLOOP_ONCE); \
	} \
} while (0)

static void
node_up(struct node *n)
{
	char err[256] = "";

	n->st = store_new(base, &n->conf, NULL, NULL);
	if (store_add_shard(n->st, 0, err, sizeof(err)) == -1)
		fail_msg("%s", err);
	UNTIL(store_role(n->st)->active);
}

static void
node_start(struct node *n)
{
	memset(n, 0, sizeof(*n));
	snprintf(n->dir, sizeof(n->dir), "/dev/shm/test_store_merge.XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	fake_start(&n->f, base, n->dir);
	store_conf_default(&n->conf);
	n->conf.dir = n->dir;
	n->conf.owner_path = n->f.path;
	n->conf.low_water = 0;
	n->conf.undelete_ms = INT64_MAX / 2;	/* the records of the test are old */
}

static void
node_stop(struct node *n)
{
	store_free(n->st);
	fake_stop(&n->f);
	fs_remove_tree(n->dir);
	free(n->copied);
}

static struct shard *
shard_of(const struct node *n)
{
	return store_find(n->st, 0)->sh;
}

static int
set_up(void **state)
{
	(void)state;
	log_init("test_store_merge", true, LOG_LEVEL_ERR);
	base = event_base_new();
	node_start(&a);
	node_up(&a);
	node_start(&b);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	node_stop(&a);
	node_stop(&b);
	event_base_free(base);
	return 0;
}

/* ---- what clients do ---- */

static void
done(void *arg, const struct store_result *r)
{
	struct node *n = arg;

	n->under_way--;
	n->rc = r->rc;
}

struct copy_of { struct node *n; uint64_t box; };

static void
copy_done(void *arg, const struct store_result *r)
{
	struct copy_of *c = arg;
	struct store_msg m;

	for (size_t i = 0; i < r->n && r->src_uids != NULL; i++) {
		if (store_message(c->n->st, 0, c->box, r->src_uids[i], &m) != MAIL_OK)
			continue;
		c->n->copied = mem_grow(c->n->copied, c->n->ncopied + 1, sizeof(*c->n->copied));
		c->n->copied[c->n->ncopied].box = c->box;
		memcpy(c->n->copied[c->n->ncopied++].guid, m.guid, 16);
		free(m.keywords);
	}
	done(c->n, r);
	free(c);
}

static int
text_fd(const char *text, size_t len)
{
	int fd = memfd_create("message", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, len), 0);
	return fd;
}

static int
any_message(void)
{
	static char big[REC_INLINE_MAX + 5000];
	size_t len;

	if (any(80) == 0) {		/* rides in pieces */
		memset(big, 'a' + (int)any(26), sizeof(big));
		return text_fd(big, sizeof(big));
	}
	len = (size_t)snprintf(big, 200, "Subject: %u\r\n\r\n%0*u\r\n", any(1000000),
	    (int)any(100) + 1, any(1000));
	return text_fd(big, len);
}

static void
deliver(struct node *n, uint64_t user, int fd)
{
	n->under_way++;
	store_deliver(n->st, 0, &user, 1, fd, done, n);
	close(fd);
}

struct pick { uint64_t id; unsigned seen; char name[STORE_NAME_MAX + 1]; };

static void
pick_one(const struct store_box *box, void *arg)
{
	struct pick *p = arg;

	if (box->noselect || any(++p->seen) != 0)
		return;
	p->id = box->id;
	snprintf(p->name, sizeof(p->name), "%s", box->name);
}

static struct pick
any_box(struct node *n, uint64_t user)
{
	struct pick p = { 0 };

	assert_int_equal(store_box_list(n->st, 0, user, false, pick_one, &p), MAIL_OK);
	return p;
}

struct pick_uid { uint32_t uid; unsigned seen; };

static void
pick_msg(const struct store_msg *m, void *arg)
{
	struct pick_uid *p = arg;

	if (any(++p->seen) == 0)
		p->uid = m->uid;
}

/* One message of the mailbox, or a few. */
static const struct store_uids *
any_uids(struct node *n, uint64_t box)
{
	static struct { uint32_t lo, hi; } r;
	static struct store_uids u;
	struct pick_uid p = { 0 };

	assert_int_equal(store_messages(n->st, 0, box, 1, 0, pick_msg, &p), MAIL_OK);
	r.lo = p.uid == 0 ? 1 : p.uid;
	r.hi = r.lo + (any(4) == 0 ? any(5) : 0);
	u.r = (void *)&r;
	u.n = 1;
	return &u;
}

static const char *const names[] = { "Work", "Work/2026", "Old", "Old/Work", "Sent", "Lists",
	"\xc3\xa4" };
static const char *const words[] = { NULL, "$Forwarded", "later", "$Forwarded later" };

static void
act_on_box(struct node *n, uint64_t user)
{
	struct pick p = any_box(n, user);
	const char *name = names[any(7)];

	n->under_way++;
	switch (any(3)) {
	case 0:
		store_box_create(n->st, 0, user, name, any(4) == 0 ? "\\Archive" : "", done, n);
		break;
	case 1:
		if (strcmp(p.name, "INBOX") != 0) {
			store_box_rename(n->st, 0, user, p.name, name, done, n);
			break;
		}
		/* FALLTHROUGH */
	default:
		store_box_delete(n->st, 0, user, p.name, done, n);
	}
}

static void
act_on_msgs(struct node *n, uint64_t user)
{
	struct pick p = any_box(n, user), to = any_box(n, user);
	struct copy_of *c;

	if (p.id == 0)
		return;
	n->under_way++;
	switch (any(6)) {
	case 0:
	case 1:
	case 2:
		store_flags(n->st, 0, p.id, any_uids(n, p.id), any(3), any(32), words[any(4)], done,
		    n);
		break;
	case 3:
		store_expunge(n->st, 0, p.id, any_uids(n, p.id), false, done, n);
		break;
	case 4:
		c = mem_alloc(sizeof(*c));
		c->n = n;
		c->box = p.id;
		store_copy(n->st, 0, p.id, any_uids(n, p.id), to.id, false, copy_done, c);
		break;
	default:
		store_copy(n->st, 0, p.id, any_uids(n, p.id), to.id, true, done, n);
	}
}

static void
act(struct node *n)
{
	uint64_t user = 1 + any(USERS);
	unsigned what = any(22);
	struct pick p;
	int fd;

	if (what < 6) {
		deliver(n, user, any_message());
	} else if (what < 9) {
		p = any_box(n, user);
		fd = any_message();
		n->under_way++;
		store_append(n->st, 0, user, p.id, any(32), words[any(4)], 1000 + any(1000), fd,
		    done, n);
		close(fd);
	} else if (what < 18) {
		act_on_msgs(n, user);
	} else if (what < 20) {
		act_on_box(n, user);
	} else {
		n->under_way++;
		store_box_subscribe(n->st, 0, user, names[any(7)], any(2) == 0, done, n);
	}
	UNTIL(n->under_way == 0);
}

/* ---- the fork ---- */

/* b gets every record that a has, and is opened. */
static uint64_t
part(enum gen_kind of_a, enum gen_kind of_b)
{
	uint64_t fork;

	for (size_t i = 0; i < a.f.n; i++) {
		const struct fake_record *r = &a.f.log[i];
		struct fake_record *x;

		if (!r->committed)
			continue;
		x = fake_add(&b.f, 0, r->shard, r->type, (struct span){ r->payload, r->len });
		x->lsn = r->lsn;
		x->gen_no = r->gen_no;
		x->committed = true;
	}
	b.f.lsn = fork = a.f.lsn;
	b.f.gen = a.f.gen;
	node_up(&b);
	fake_generation(&a.f, of_a, 0);
	fake_generation(&b.f, of_b, 1);
	UNTIL(gen_same(&store_role(a.st)->gen, &a.f.gen) &&
	    gen_same(&store_role(b.st)->gen, &b.f.gen));
	return fork;
}

/* b is standby, and says what it changed; from: its tail begins behind this record. */
static int
changes_of_b(uint64_t fork, uint64_t from)
{
	unsigned before = b.f.changes;

	b.f.active = false;
	fake_role(&b.f);
	UNTIL(!store_role(b.st)->active);
	fake_want_changes(&b.f, SHARD, fork, from == fork, fake_tail(&b.f, SHARD, from));
	UNTIL(b.f.changes > before);
	assert_true(b.f.changes_fd >= 0);
	return b.f.changes_fd;
}

/* tail: what a's syncd hands over, or -1: all of it. */
static json_t *
merge_with(uint64_t fork, bool whole, bool dry, int tail, int theirs, bool *ok)
{
	unsigned before = a.f.merges;
	json_t *r;

	fake_merge(&a.f, SHARD, fork, whole, dry, tail == -1 ? fake_tail(&a.f, SHARD, fork) : tail,
	    dup(theirs));
	UNTIL(a.f.merges > before);
	*ok = a.f.merged_ok;
	r = json_loads(a.f.merged, 0, NULL);
	assert_non_null(r);
	return r;
}

static json_t *
merge(uint64_t fork, bool dry, int theirs, bool *ok)
{
	return merge_with(fork, true, dry, -1, theirs, ok);
}

static json_int_t
count(json_t *r, const char *name)
{
	return json_integer_value(json_object_get(r, name));
}

#endif
