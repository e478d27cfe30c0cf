/* The directory and the queue of two nodes that parted: one says what it changed, the
 * other one brings it in, over a syncd in the test's loop; twice, cut short, and with a
 * file that is damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dir_id.h"
#include "directory_int.h"
#include "fake_syncd.h"
#include "index_db.h"
#include "queue_int.h"

#define BIG 800000			/* more than rides in one record */

struct node {
	struct fake_syncd f;
	struct maild_conf conf;
	struct directory d;
	struct queue q;
	char dir[64];
	int parent;			/* the parent's end of the channel */
};

static struct event_base *base;
static struct node one, two;		/* the one that stays, the one that gives way */

/* ---- a node ---------------------------------------------------------------- */

static void
no_message(void *arg, enum child_kind from, unsigned index, struct ipc *ipc, const struct ipc_msg *m)
{
	(void)arg;
	(void)from;
	(void)index;
	(void)ipc;
	if (m->fd != -1)
		close(m->fd);
}

static void
no_peer(void *arg, enum child_kind kind, unsigned index, bool up)
{
	(void)arg;
	(void)kind;
	(void)index;
	(void)up;
}

static const struct child_ops child_ops = { no_message, no_peer };

static struct child *
child_of(struct node *n)
{
	struct child_start start = { .conf = &n->conf };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	n->parent = fds[1];
	start.parent_fd = fds[0];
	return child_new(base, &start, &child_ops, n);
}

static bool
until(bool (*done)(void))
{
	int64_t end = clock_ms() + 20000;

	while (!done() && clock_ms() < end)
		fake_loop(base, 1);
	return done();
}

static bool
both_follow(void)
{
	return one.f.nshards == 1 && two.f.nshards == 1
	    && one.f.applied[one.f.shards[0]] == one.f.lsn
	    && two.f.applied[two.f.shards[0]] == two.f.lsn;
}

static void
node_start(struct node *n, const char *folder)
{
	char path[128];

	memset(n, 0, sizeof(*n));
	snprintf(n->dir, sizeof(n->dir), "/tmp/test_merge_owner.XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	snprintf(path, sizeof(path), "%s/shards/%s", n->dir, folder);
	assert_int_equal(fs_mkdirs(path, 0700), 0);
	fake_start(&n->f, base, n->dir);
	n->conf = (struct maild_conf){ .state_dir = n->dir, .owner_socket = n->f.path, .shards = 16,
		.checkpoint_s = 3600, .checkpoint_records = 1000000, .store_pending_max = 1u << 30,
		.message_size_max = 1u << 26, .queue_messages_max = 1000 };
}

static void
node_stop(struct node *n)
{
	close(n->parent);
	fake_stop(&n->f);
	assert_int_equal(fs_remove_tree(n->dir), 0);
}

/* A record in a node's log, whoever wrote it. */
static void
say(struct node *n, uint16_t shard, uint8_t type, struct wire_out *w)
{
	struct fake_record *r = fake_add(&n->f, 0, shard, type, wire_out_span(w));

	r->lsn = ++n->f.lsn;
	r->gen_no = n->f.gen.no;
	r->committed = true;
	fake_send_record(&n->f, r, shard);
	fake_word(&n->f, OWN_BATCH_END, 0);
	wire_out_clear(w);
}

static unsigned want;

static bool
changes_came(void)
{
	return two.f.changes == want;
}

static bool
merge_ended(void)
{
	return one.f.merges == want;
}

static void
changes(uint16_t shard, uint64_t fork)
{
	want = two.f.changes + 1;
	fake_want_changes(&two.f, shard, fork, true, fake_tail(&two.f, shard, fork));
	assert_true(until(changes_came));
	assert_int_not_equal(two.f.changes_fd, -1);
}

/* True when it ended well; then proposed is how many changes that made. */
static bool
merge(uint16_t shard, uint64_t fork, bool dry, long long *proposed)
{
	int fd = dup(two.f.changes_fd);
	const char *p;

	want = one.f.merges + 1;
	fake_merge(&one.f, shard, fork, true, dry, fake_tail(&one.f, shard, fork), fd);
	assert_true(until(merge_ended));
	p = strstr(one.f.merged, "\"proposed\":");
	*proposed = p != NULL ? strtoll(p + 11, NULL, 10) : -1;
	assert_true(one.f.merged_ok ? p != NULL : strstr(one.f.merged, "\"error\"") != NULL);
	return one.f.merged_ok;
}

/* The n-th byte from the end is another one. */
static void
damage(off_t from_end)
{
	off_t at = lseek(two.f.changes_fd, -from_end, SEEK_END);
	char c;

	assert_int_equal(pread(two.f.changes_fd, &c, 1, at), 1);
	c = (char)(c ^ 1);
	assert_int_equal(pwrite(two.f.changes_fd, &c, 1, at), 1);
}

/* ---- the directory ----------------------------------------------------------- */

static void
directory_start(struct node *n)
{
	char path[128];

	node_start(n, "directory");
	snprintf(path, sizeof(path), "%s/shards/directory", n->dir);
	n->d.base = base;
	n->d.conf = &n->conf;
	n->d.shard = dir_shard_open(path);
	n->d.child = child_of(n);
	n->d.owner = owner_new(base, n->f.path, &dir_owner_ops, &n->d);
	n->d.index = (struct index_owner){ .name = "directory", .shard = SHARD_DIRECTORY,
		.db = dir_shard_index(n->d.shard), .owner = n->d.owner, .conf = &n->conf };
	index_owner_start(&n->d.index, base);
}

static void
directory_stop(struct node *n)
{
	dir_change_free_all(&n->d);
	owner_free(n->d.owner);
	child_free(n->d.child);
	dir_shard_close(n->d.shard);
	index_owner_stop(&n->d.index);
	node_stop(n);
}

static void
named(struct node *n, enum dir_record type, const char *name, const char *text)
{
	uint64_t id = dir_id(name, 0);
	struct wire_out w;

	wire_out_init(&w);
	if (type == DIR_USER_ADD) {
		wire_put_u64(&w, id);
		wire_put_u16(&w, dir_id_shard(id, 16));
	}
	wire_put_str(&w, name);
	if (type == DIR_ALIAS_ADD || type == DIR_ALIAS_DELETE)
		wire_put_u16(&w, 1);
	if (text != NULL)
		wire_put_str(&w, text);
	say(n, SHARD_DIRECTORY, (uint8_t)type, &w);
}

static void
both(enum dir_record type, const char *name, const char *text)
{
	named(&one, type, name, text);
	named(&two, type, name, text);
}

static uint64_t
parted_directories(void)
{
	uint64_t fork;

	base = event_base_new();
	directory_start(&one);
	directory_start(&two);
	assert_true(until(both_follow));	/* each has proposed the number of shards */
	both(DIR_DOMAIN_ADD, "a.test", NULL);
	both(DIR_USER_ADD, "u0@a.test", "old0");
	both(DIR_USER_ADD, "u1@a.test", "old1");
	both(DIR_USER_ADD, "u2@a.test", "old2");
	both(DIR_ALIAS_ADD, "i@a.test", "u1@a.test");
	assert_true(until(both_follow));
	fork = one.f.lsn;
	assert_int_equal(two.f.lsn, fork);
	named(&two, DIR_USER_ADD, "u5@a.test", "new5");
	named(&two, DIR_USER_PASSWORD, "u0@a.test", "new0");
	named(&two, DIR_USER_DELETE, "u1@a.test", NULL);
	named(&two, DIR_ALIAS_ADD, "i@a.test", "u5@a.test");
	named(&two, DIR_ALIAS_DELETE, "i@a.test", "u1@a.test");
	named(&two, DIR_DOMAIN_ADD, "c.test", NULL);
	named(&two, DIR_USER_ADD, "gone@a.test", "x");
	named(&two, DIR_USER_DELETE, "gone@a.test", NULL);
	named(&one, DIR_DOMAIN_ADD, "b.test", NULL);
	named(&one, DIR_USER_ADD, "u6@b.test", "new6");
	named(&one, DIR_USER_DELETE, "u2@a.test", NULL);
	assert_true(until(both_follow));
	two.f.active = false;
	fake_role(&two.f);
	return fork;
}

static void
end_of_directories(void)
{
	directory_stop(&one);
	directory_stop(&two);
	event_base_free(base);
}

static void
directories(void **unused)
{
	uint64_t fork = parted_directories(), before = one.f.lsn;
	struct dir_shard *s = one.d.shard;
	struct dir_user u;
	long long n;

	(void)unused;
	changes(SHARD_DIRECTORY, fork);
	assert_true(merge(SHARD_DIRECTORY, fork, true, &n));
	assert_true(n > 0);
	assert_int_equal(one.f.lsn, before);		/* only said */
	assert_false(dir_shard_user(s, "u5@a.test", &u));
	assert_true(merge(SHARD_DIRECTORY, fork, false, &n));
	assert_int_equal(one.f.lsn, before + (uint64_t)n);
	assert_true(dir_shard_user(s, "u5@a.test", &u) && !u.suspended);
	assert_string_equal(u.hash, "new5");
	assert_int_equal(u.shard, dir_id_shard(u.id, 16));
	assert_true(dir_shard_user(s, "u0@a.test", &u));
	assert_string_equal(u.hash, "new0");
	assert_true(dir_shard_user(s, "u1@a.test", &u) && u.suspended);	/* it may have mail here */
	assert_true(dir_shard_user(s, "u2@a.test", &u) && u.suspended);	/* and this one there */
	assert_int_equal(u.id, dir_id("u2@a.test", 0));
	assert_true(dir_shard_user(s, "u6@b.test", &u));
	assert_true(dir_shard_domain(s, "c.test"));
	assert_int_equal(dir_shard_aliases(s, "i@a.test", NULL, NULL), 1);
	assert_int_equal(dir_shard_new_id(s, "gone@a.test"), dir_id("gone@a.test", 1));
	assert_non_null(strstr(one.f.merged, "user u1@a.test was deleted on one node only"));
	assert_non_null(strstr(one.f.merged, "\"users_kept\":2"));
	assert_true(merge(SHARD_DIRECTORY, fork, false, &n));
	assert_int_equal(n, 0);
	end_of_directories();
}

/* What cannot be trusted, or not be committed, changes nothing, and is said. */
static void
directories_refused(void **unused)
{
	uint64_t fork = parted_directories(), before = one.f.lsn;
	struct dir_user u;
	long long n;

	(void)unused;
	changes(SHARD_DIRECTORY, fork);
	damage(60);
	assert_false(merge(SHARD_DIRECTORY, fork, false, &n));
	assert_non_null(strstr(one.f.merged, "damaged"));
	assert_false(merge(SHARD_DIRECTORY, fork + 1, false, &n));
	assert_non_null(strstr(one.f.merged, "no such file"));
	changes(SHARD_DIRECTORY, fork);
	one.f.refuse = OWNER_NOT_TWICE;
	assert_false(merge(SHARD_DIRECTORY, fork, false, &n));
	assert_non_null(strstr(one.f.merged, "not-twice"));
	assert_int_equal(one.f.lsn, before);
	one.f.refuse = 0;
	assert_true(merge(SHARD_DIRECTORY, fork, false, &n));
	assert_true(dir_shard_user(one.d.shard, "u5@a.test", &u));
	one.f.active = false;
	fake_role(&one.f);
	assert_false(merge(SHARD_DIRECTORY, fork, false, &n));
	assert_non_null(strstr(one.f.merged, "not active"));
	/* A record that the directory has not applied: what is there is not all. */
	one.f.active = true;
	fake_add(&one.f, 0, SHARD_DIRECTORY, DIR_DOMAIN_ADD, (struct span){ "\0\1x", 3 });
	one.f.log[one.f.n - 1].lsn = ++one.f.lsn;
	one.f.log[one.f.n - 1].committed = true;
	fake_role(&one.f);
	assert_false(merge(SHARD_DIRECTORY, fork, true, &n));
	assert_non_null(strstr(one.f.merged, "not all records are applied"));
	end_of_directories();
}

/* An address that no operator could have made. */
static void
directories_strange(void **unused)
{
	uint64_t fork = parted_directories(), before = one.f.lsn;
	long long n;

	(void)unused;
	named(&two, DIR_USER_ADD, "a\r\nb@a.test", "x");
	assert_true(until(both_follow));
	changes(SHARD_DIRECTORY, fork);
	assert_false(merge(SHARD_DIRECTORY, fork, false, &n));
	assert_non_null(strstr(one.f.merged, "damaged"));
	assert_int_equal(one.f.lsn, before);
	end_of_directories();
}

/* ---- the queue ----------------------------------------------------------------- */

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	queue_change_tell(arg);		/* and nothing is sent anywhere */
}

static void
queue_start(struct node *n)
{
	struct queue *q = &n->q;

	node_start(n, "queue");
	TAILQ_INIT(&q->changes);
	TAILQ_INIT(&q->jobs);
	TAILQ_INIT(&q->sessions);
	TAILQ_INIT(&q->told);
	q->base = base;
	q->conf = &n->conf;
	q->dir = mem_printf("%s/shards/queue", n->dir);
	q->pump = event_new(base, -1, 0, on_pump, q);
	q->shard = queue_shard_open(q->dir);
	q->child = child_of(n);
	q->owner = owner_new(base, n->f.path, &queue_owner_ops, q);
	q->index = (struct index_owner){ .name = "queue", .shard = SHARD_QUEUE,
		.db = queue_shard_index(q->shard), .owner = q->owner, .conf = &n->conf };
	index_owner_start(&q->index, base);
}

static void
queue_stop(struct node *n)
{
	owner_free(n->q.owner);
	child_free(n->q.child);
	queue_change_free_all(&n->q);
	queue_merge_free(&n->q);
	queue_shard_close(n->q.shard);
	index_owner_stop(&n->q.index);
	event_free(n->q.pump);
	free(n->q.dir);
	node_stop(n);
}

static char *
text_of(uint64_t id, size_t size)
{
	char *text = mem_alloc(size + 1);

	for (size_t i = 0; i < size; i++)
		text[i] = (char)('a' + (i * 7 + id + i / 1000) % 26);
	return text;
}

static void
enqueue(struct node *n, uint64_t id, size_t size)
{
	static const char *const rcpts[] = { "a@far.test", "b@far.test", "c@far.test" };
	struct queue_enqueue e = { .id = id, .size = size, .sender = "me@a.test", .nrcpts = 3 };
	char *text = text_of(id, size);
	struct wire_out w;

	snprintf(e.trace, sizeof(e.trace), "t%llu", (unsigned long long)id);
	sha256(text, size, e.sha);
	wire_out_init(&w);
	for (size_t at = 0; size > QUEUE_INLINE_MAX && at < size; at += QUEUE_INLINE_MAX) {
		queue_blob_put(&w, id, at);
		wire_put_raw(&w, text + at, size - at < QUEUE_INLINE_MAX ? size - at :
		    QUEUE_INLINE_MAX);
		say(n, SHARD_QUEUE, QUEUE_BLOB, &w);
	}
	queue_enqueue_put(&w, &e, rcpts);
	if (size <= QUEUE_INLINE_MAX)
		wire_put_raw(&w, text, size);
	say(n, SHARD_QUEUE, QUEUE_ENQUEUE, &w);
	free(text);
}

static void
result(struct node *n, uint64_t id, uint16_t rcpt, enum queue_outcome outcome)
{
	struct queue_result r = { rcpt, outcome, "why" };
	struct wire_out w;

	wire_out_init(&w);
	queue_result_put(&w, id, 1800000000000, &r, 1);
	say(n, SHARD_QUEUE, QUEUE_RESULT, &w);
}

static void
reported(struct node *n, uint64_t id, uint16_t rcpt)
{
	struct wire_out w;

	wire_out_init(&w);
	queue_reported_put(&w, id, &rcpt, 1);
	say(n, SHARD_QUEUE, QUEUE_REPORTED, &w);
}

/* 1: both had it.  2: too large for a record, 3: short, both the loser's.  4: the winner's.
 * 5: both had it, and the loser has done with it. */
static uint64_t
parted_queues(void)
{
	struct wire_out w;
	uint64_t fork;

	base = event_base_new();
	queue_start(&one);
	queue_start(&two);
	assert_true(until(both_follow));
	enqueue(&one, 1, 100);
	enqueue(&two, 1, 100);
	enqueue(&one, 5, 100);
	enqueue(&two, 5, 100);
	fork = one.f.lsn;
	result(&two, 1, 0, QUEUE_DONE);
	result(&two, 1, 1, QUEUE_FAIL);
	reported(&two, 1, 1);
	enqueue(&two, 2, BIG);
	enqueue(&two, 3, 1000);
	result(&two, 3, 0, QUEUE_DONE);
	result(&two, 3, 1, QUEUE_FAIL);
	wire_out_init(&w);
	wire_put_u64(&w, 5);
	say(&two, SHARD_QUEUE, QUEUE_DELETE, &w);
	enqueue(&one, 4, 100);
	result(&one, 1, 2, QUEUE_DEFER);
	assert_true(until(both_follow));
	two.f.active = false;
	fake_role(&two.f);
	return fork;
}

static void
end_of_queues(void)
{
	queue_stop(&one);
	queue_stop(&two);
	event_base_free(base);
}

static void
check_text(uint64_t id, size_t size)
{
	char *want_text = text_of(id, size), *got = mem_alloc(size);
	size_t at = 0, n;

	while ((n = queue_shard_text(one.q.shard, id, at, got + at, size - at)) > 0)
		at += n;
	assert_int_equal(at, size);
	assert_memory_equal(got, want_text, size);
	free(want_text);
	free(got);
}

static void
check_queue(void)
{
	struct queue_message m;
	struct queue_rcpt r[4];

	assert_int_equal(queue_shard_count(one.q.shard), 4);
	assert_int_equal(queue_shard_rcpts(one.q.shard, 1, 0, r, 4), 1);
	assert_string_equal(r[0].address, "c@far.test");
	assert_true(queue_shard_message(one.q.shard, 2, &m));
	assert_int_equal(m.pending, 3);
	check_text(2, BIG);
	assert_true(queue_shard_message(one.q.shard, 3, &m));
	assert_int_equal(m.attempts, 2);
	assert_int_equal(m.next_ms, 1800000000000);
	assert_int_equal(queue_shard_rcpts(one.q.shard, 3, 0, r, 4), 2);
	assert_true(r[0].index == 1 && r[0].failed && r[1].index == 2 && !r[1].failed);
	check_text(3, 1000);
	assert_true(queue_shard_message(one.q.shard, 4, &m));
}

static void
queues(void **unused)
{
	uint64_t fork = parted_queues(), before = one.f.lsn;
	long long n;

	(void)unused;
	changes(SHARD_QUEUE, fork);
	assert_true(merge(SHARD_QUEUE, fork, true, &n));
	assert_int_equal(n, 4);		/* a result, a removal, two messages */
	assert_int_equal(one.f.lsn, before);
	assert_true(merge(SHARD_QUEUE, fork, false, &n));
	assert_int_equal(n, 4);
	assert_non_null(strstr(one.f.merged, "\"queued\":2,\"queued_recipients\":5,"
	    "\"queue_delivered\":1,\"queue_bounced\":1,\"queue_removed\":1"));
	check_queue();
	before = one.f.lsn;
	assert_true(merge(SHARD_QUEUE, fork, false, &n));
	assert_int_equal(n, 0);
	assert_int_equal(one.f.lsn, before);
	end_of_queues();
}

/* Cut short, the next one goes on. */
static void
queues_refused(void **unused)
{
	uint64_t fork = parted_queues();
	struct queue_message m;
	long long n;

	(void)unused;
	changes(SHARD_QUEUE, fork);
	one.f.refuse = OWNER_DISK_FULL;
	assert_false(merge(SHARD_QUEUE, fork, false, &n));
	assert_false(queue_shard_message(one.q.shard, 3, &m));
	one.f.refuse = 0;
	one.conf.store_low_water = UINT64_MAX / 2;
	assert_false(merge(SHARD_QUEUE, fork, false, &n));
	assert_false(queue_shard_message(one.q.shard, 2, &m));
	one.conf.store_low_water = 0;
	assert_true(merge(SHARD_QUEUE, fork, false, &n));
	check_queue();
	end_of_queues();
}

/* A text that is not what it was is never sent to anybody. */
static void
damaged_text(uint64_t id, off_t from_end)
{
	uint64_t fork = parted_queues();
	struct queue_message m;
	long long n;

	changes(SHARD_QUEUE, fork);
	damage(from_end < 0 ? lseek(two.f.changes_fd, 0, SEEK_END) + from_end : from_end);
	assert_false(merge(SHARD_QUEUE, fork, false, &n));
	assert_non_null(strstr(one.f.merged, "damaged"));
	assert_false(queue_shard_message(one.q.shard, id, &m));
	changes(SHARD_QUEUE, fork);
	assert_true(merge(SHARD_QUEUE, fork, false, &n));
	check_queue();
	end_of_queues();
}

static void
queues_damaged(void **unused)
{
	(void)unused;
	damaged_text(2, 1);		/* the sum of all items */
	damaged_text(3, 500);		/* a text that rides in a record */
	damaged_text(2, -2000);		/* one in pieces */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directories),
		cmocka_unit_test(directories_refused),
		cmocka_unit_test(directories_strange),
		cmocka_unit_test(queues),
		cmocka_unit_test(queues_refused),
		cmocka_unit_test(queues_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
