/* fault_index.c - the directory's and the queue's shard: SQLite files that are a function
 * of the log's records (mail/index_db.h).
 *
 * Promised: what was committed is there after a crash of the process; after a power cut
 * the shard wants no record behind the last checkpoint; and with the records that it
 * wants it says what it says without any fault. */
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dir_shard.h"
#include "fs.h"
#include "index_db.h"
#include "mem.h"
#include "queue_shard.h"
#include "sha256.h"

#define STREAM 40
#define RETRIES 6
#define FEW_PAGES 8			/* the write-ahead log begins anew several times */

struct rec { uint8_t type; struct wire_out body; };
struct index_model { uint64_t applied, checkpoint; };

/* What is the same for both: a stream of records, an owner, and what it says. */
struct kind {
	void *(*open)(const char *dir);
	void (*close)(void *);
	struct index_db *(*index)(void *);
	enum mail_rc (*apply)(void *, const struct owner_record *);
	void (*say)(void *, FILE *);
	struct rec stream[STREAM];
	unsigned n;
	char *whole;
};

static struct wire_out *
add(struct kind *k, uint8_t type)
{
	if (k->n == STREAM)
		abort();
	k->stream[k->n].type = type;
	wire_out_init(&k->stream[k->n].body);
	return &k->stream[k->n++].body;
}

static char *
said(const struct kind *k, void *owner)
{
	uint64_t before = index_db_failures(k->index(owner));
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		abort();
	k->say(owner, f);
	fclose(f);
	if (index_db_failures(k->index(owner)) != before)
		fault_wrong("it cannot be read");
	return text;
}

static void
checkpoint(const struct kind *k, void *owner, struct index_model *m)
{
	uint64_t lsn = index_db_checkpoint(k->index(owner));

	if (lsn > m->checkpoint)
		m->checkpoint = lsn;
}

/* As the owners do: what failed is undone, and comes again. */
static int
apply(const struct kind *k, void *owner, struct index_model *m)
{
	struct index_db *x = k->index(owner);

	for (int tries = 0; index_db_applied(x) < k->n || index_db_why(x) != MAIL_OK;) {
		uint64_t lsn = index_db_applied(x) + 1;
		struct owner_record r = { .lsn = lsn, .gen_no = 2,
			.time_ms = 1700000000000 + (int64_t)lsn };
		bool end = lsn % 3 == 0 || lsn == k->n;

		if (index_db_why(x) == MAIL_OK) {
			r.type = k->stream[lsn - 1].type;
			r.payload = wire_out_span(&k->stream[lsn - 1].body);
			k->apply(owner, &r);
		}
		if (index_db_why(x) == MAIL_OK && end && index_db_commit(x) == 0)
			m->applied = lsn;
		if (index_db_why(x) != MAIL_OK) {
			if (++tries > RETRIES)
				return -1;
			index_db_resume(x);	/* tried again above */
			continue;
		}
		if (lsn % 9 == 0)
			checkpoint(k, owner, m);
	}
	return 0;
}

static int
work(const struct kind *k, const char *dir, struct index_model *m)
{
	void *owner = k->open(dir);
	uint64_t lsn;
	int fd, rc;

	index_db_wal_pages(k->index(owner), FEW_PAGES);
	rc = apply(k, owner, m);
	if (rc == 0) {
		fd = index_db_snapshot(k->index(owner), &lsn);
		if (fd != -1)
			close(fd);
		checkpoint(k, owner, m);
	}
	k->close(owner);
	return rc;
}

static void
check(const struct kind *k, const char *dir, struct index_model *m, bool power)
{
	void *owner = k->open(dir);
	uint64_t is = index_db_applied(k->index(owner)), least = power ? m->checkpoint : m->applied;
	char *text;

	index_db_wal_pages(k->index(owner), FEW_PAGES);
	if (index_db_why(k->index(owner)) != MAIL_OK)
		fault_wrong("it cannot be opened");
	if (is < least)
		fault_wrong("applied %llu, %s was %llu", (unsigned long long)is,
		    power ? "durable" : "committed", (unsigned long long)least);
	if (apply(k, owner, m) == -1)
		fault_wrong("cannot go on");
	checkpoint(k, owner, m);
	if (m->checkpoint != k->n)
		fault_wrong("checkpoint %llu", (unsigned long long)m->checkpoint);
	text = said(k, owner);
	if (strcmp(text, k->whole) != 0)
		fault_wrong("says other things than without a fault:\n%s---\n%s", text, k->whole);
	free(text);
	k->close(owner);
}

static void
prepare(struct kind *k, void (*make)(void), const char *scratch, const char *name)
{
	char *dir = mem_printf("%s/%s", scratch, name);
	struct index_model m = { 0, 0 };
	void *owner;

	if (k->whole == NULL) {
		make();
		if (fs_mkdirs(dir, 0700) == -1)
			abort();
		owner = k->open(dir);
		if (apply(k, owner, &m) == -1)
			abort();
		k->whole = said(k, owner);
		k->close(owner);
	}
	free(dir);
}

/* ---- the directory ---- */

static void *
dir_open(const char *dir)
{
	return dir_shard_open(dir);
}

static void
dir_close(void *s)
{
	dir_shard_close(s);
}

static struct index_db *
dir_index(void *s)
{
	return dir_shard_index(s);
}

static enum mail_rc
dir_apply(void *s, const struct owner_record *r)
{
	return dir_shard_apply(s, r);
}

static void
each_user(const struct dir_user *u, void *f)
{
	fprintf(f, "user %llu %u %d %s %s\n", (unsigned long long)u->id, u->shard, u->suspended,
	    u->address, u->hash);
}

static void
each_domain(const char *name, int64_t ms, uint64_t users, uint64_t aliases, void *f)
{
	fprintf(f, "domain %s %lld %llu %llu\n", name, (long long)ms, (unsigned long long)users,
	    (unsigned long long)aliases);
}

static void
each_alias(const char *address, const char *target, void *f)
{
	fprintf(f, "alias %s %s\n", address, target);
}

static void
dir_say(void *s, FILE *f)
{
	fprintf(f, "shards %u\n", dir_shard_layout(s));
	dir_shard_domains(s, each_domain, f);
	dir_shard_users(s, NULL, each_user, f);
	dir_shard_aliases(s, NULL, each_alias, f);
}

static struct kind directory = { .open = dir_open, .close = dir_close, .index = dir_index,
	.apply = dir_apply, .say = dir_say };

static void
dir_make(void)
{
	struct wire_out *w;
	char address[40];

	wire_put_u16(add(&directory, DIR_LAYOUT), 4);
	wire_put_str(add(&directory, DIR_DOMAIN_ADD), "a.example");
	for (unsigned i = 0; i < 14; i++) {
		snprintf(address, sizeof(address), "user%u@a.example", i);
		w = add(&directory, DIR_USER_ADD);
		wire_put_u64(w, 100 + i);
		wire_put_u16(w, (uint16_t)(i % 4));
		wire_put_str(w, address);
		wire_put_str(w, "$6$hash");
		if (i % 3 == 1) {
			w = add(&directory, DIR_USER_PASSWORD);
			wire_put_str(w, address);
			wire_put_str(w, "$6$another");
		}
		if (i % 5 == 2)
			wire_put_str(add(&directory, DIR_USER_DELETE), address);
	}
	w = add(&directory, DIR_ALIAS_ADD);
	wire_put_str(w, "info@a.example");
	wire_put_u16(w, 2);
	wire_put_str(w, "user1@a.example");
	wire_put_str(w, "user3@a.example");
}

static void
dir_prepare(const char *scratch)
{
	prepare(&directory, dir_make, scratch, "directory");
}

static int
dir_work(const char *dir, void *model)
{
	return work(&directory, dir, model);
}

static void
dir_check(const char *dir, void *model, bool power)
{
	check(&directory, dir, model, power);
}

const struct subject fault_directory = { "directory", sizeof(struct index_model), dir_prepare,
	dir_work, dir_check };

/* ---- the queue ---- */

static void *
queue_open(const char *dir)
{
	return queue_shard_open(dir);
}

static void
queue_close(void *s)
{
	queue_shard_close(s);
}

static struct index_db *
queue_index(void *s)
{
	return queue_shard_index(s);
}

static enum mail_rc
queue_apply(void *s, const struct owner_record *r)
{
	return queue_shard_apply(s, r);
}

static void
queue_say(void *s, FILE *f)
{
	struct queue_message msg;
	struct queue_rcpt rcpt[4];
	uint64_t ids[32];
	char text[8000];
	size_t n = queue_shard_want(s, QUEUE_WANT_LIST, 0, 0, ids, 32);

	fprintf(f, "count %llu\n", (unsigned long long)queue_shard_count(s));
	for (size_t i = 0; i < n; i++) {
		size_t nrcpts = queue_shard_rcpts(s, ids[i], 0, rcpt, 4);

		if (!queue_shard_message(s, ids[i], &msg))
			continue;
		fprintf(f, "message %llu %s %u %u %u\n", (unsigned long long)msg.id, msg.sender,
		    msg.attempts, msg.pending, msg.failed);
		for (size_t r = 0; r < nrcpts; r++)
			fprintf(f, "rcpt %u %s %s\n", rcpt[r].index, rcpt[r].address, rcpt[r].reply);
		fwrite(text, 1, queue_shard_text(s, ids[i], 0, text, sizeof(text)), f);
		fputc('\n', f);
	}
}

static struct kind queue = { .open = queue_open, .close = queue_close, .index = queue_index,
	.apply = queue_apply, .say = queue_say };

static void
enqueue(uint64_t id, bool blob)
{
	static const char *const rcpts[] = { "x@b.example", "y@c.example" };
	struct queue_enqueue e = { .id = id, .size = 5000, .sender = "me@a.example", .nrcpts = 2 };
	char text[5000];
	struct span s = { text, sizeof(text) };
	struct wire_out *w;

	memset(text, (int)('a' + id), sizeof(text));
	if (sha256_spans(&s, 1, e.sha) == -1)
		abort();
	for (uint64_t at = 0; blob && at < 5000; at += 2500) {
		queue_blob_put(w = add(&queue, QUEUE_BLOB), id, at);
		wire_put_raw(w, text + at, 2500);
	}
	queue_enqueue_put(w = add(&queue, QUEUE_ENQUEUE), &e, rcpts);
	if (!blob)
		wire_put_raw(w, text, sizeof(text));
}

static void
queue_make(void)
{
	const struct queue_result defer[2] = { { 0, QUEUE_DEFER, "later" }, { 1, QUEUE_DONE, "ok" } };
	const struct queue_result done = { 0, QUEUE_DONE, "ok" };

	for (uint64_t id = 1; id <= 8; id++) {
		enqueue(id, id % 3 == 0);
		if (id % 2 == 0)
			queue_result_put(add(&queue, QUEUE_RESULT), id, 1700000100000, defer, 2);
		if (id % 4 == 0)
			queue_result_put(add(&queue, QUEUE_RESULT), id, 0, &done, 1);
	}
	wire_put_u64(add(&queue, QUEUE_DELETE), 5);
}

static void
queue_prepare(const char *scratch)
{
	prepare(&queue, queue_make, scratch, "queue");
}

static int
queue_work(const char *dir, void *model)
{
	return work(&queue, dir, model);
}

static void
queue_check(const char *dir, void *model, bool power)
{
	check(&queue, dir, model, power);
}

const struct subject fault_queue = { "queue", sizeof(struct index_model), queue_prepare, queue_work,
	queue_check };
