/* fault_store.c - a store shard (mail/STORE.md): records applied and committed, messages in
 * pieces, checkpoints, tidying, a snapshot; and a shard that is seeded.
 *
 * The log is a stream of records in memory, which a checkpoint trims.  Promised: what was
 * committed is there after a crash of the process; after a power cut the shard wants no
 * record that a checkpoint gave up; and with the records that it wants it becomes, row by
 * row and object by object, what it is without any fault. */
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "mem.h"
#include "sha256.h"
#include "shard.h"
#include "shard_job.h"
#include "shard_record.h"

#define STREAM 80
#define BIG 9000
#define RETRIES 6
#define SEEDED_AT 6		/* what the shard has before it is seeded */

struct rec { uint8_t type; struct wire_out body; };
struct store_model {
	uint64_t applied;	/* committed */
	uint64_t checkpoint;	/* the log is trimmed up to here */
	bool seeded;
};

static struct rec stream[STREAM];
static unsigned nstream;
static char boot[128], *whole;		/* the rows at the end */

/* ---- the stream ---- */

static struct wire_out *
add(uint8_t type)
{
	if (nstream == STREAM)
		abort();
	stream[nstream].type = type;
	wire_out_init(&stream[nstream].body);
	return &stream[nstream++].body;
}

static void
digest(const char *text, size_t n, uint8_t sha[32])
{
	struct span s = { text, n };

	if (sha256_spans(&s, 1, sha) == -1)
		abort();
}

static void
entry(struct wire_out *w, uint64_t user, uint32_t uid)
{
	struct rec_entry e = { .user = user, .box = 100 + user, .uid = uid,
		.modseq = 1000 + nstream, .flags = uid % 4, .internal_s = 5 };

	wire_store32(e.guid, nstream);
	e.guid[5] = (uint8_t)user;
	rec_put_entry(w, &e);
}

static void
add_mail(uint32_t uid, unsigned text_no, bool first)
{
	char text[600];
	size_t n = (size_t)snprintf(text, sizeof(text), "message %u%500s", text_no, "");
	struct rec_box b = { .uidvalidity = 7, .name = "INBOX", .subscribe = true };
	struct wire_out *w = add(REC_DELIVER);
	uint8_t sha[32];

	digest(text, n, sha);
	rec_mail_begin(w, sha, n, true, first ? 2 : 0, 2);
	for (uint64_t u = 1; first && u <= 2; u++) {
		b.user = u;
		b.id = 100 + u;
		rec_put_box(w, &b);
	}
	entry(w, 1, uid);
	entry(w, 2, uid > 22 ? uid + 200 : uid);	/* behind the one that was moved there */
	wire_put_raw(w, text, n);
}

static void
add_big(uint32_t uid, char fill, bool finish)
{
	struct rec_blob b = { .total = BIG };
	char *text = mem_alloc(BIG);
	struct wire_out *w;

	memset(text, fill, BIG);
	digest(text, BIG, b.sha);
	for (b.offset = 0; b.offset < BIG; b.offset += BIG / 3) {
		rec_blob_head(w = add(REC_BLOB), &b);
		wire_put_raw(w, text, BIG / 3);
	}
	if (finish) {
		rec_mail_begin(w = add(REC_DELIVER), b.sha, BIG, false, 0, 1);
		entry(w, 1, uid);
	} else {
		rec_drop_put(add(REC_PART_DROP), b.sha);
	}
	free(text);
}

static void
add_gone(uint64_t box, uint32_t lo, uint32_t hi)
{
	struct rec_flags f = { .box = box, .modseq = 1000 + nstream, .n = 1 };
	struct rec_range r = { lo, hi };

	rec_expunge_put(add(REC_EXPUNGE), &f, &r);
}

static void
add_flags(uint32_t lo, uint32_t hi)
{
	struct rec_flags f = { .box = 101, .modseq = 1000 + nstream, .n = 1, .op = 1, .flags = 4,
		.keywords = "blue" };
	struct rec_range r = { lo, hi };

	rec_flags_put(add(REC_FLAGS), &f, &r);
}

static void
add_move(uint32_t from, uint32_t to)
{
	struct rec_copy c = { .from = 101, .to = 102, .modseq = 1000 + nstream,
		.gone_modseq = 1000 + nstream, .move = true, .n = 1 };
	struct rec_range r = { from, to };

	rec_copy_put(add(REC_COPY), &c, &r);
}

static void
stream_make(void)
{
	for (uint32_t uid = 1; uid <= 30; uid++) {
		if (uid % 10 == 5)
			add_big(uid, (char)('a' + uid), true);
		else
			add_mail(uid, uid % 12, uid == 1);	/* some texts come again */
		if (uid == 8 || uid == 20) {
			add_gone(101, 2, uid - 4);
			add_gone(102, 2, uid - 3);
		}
		if (uid == 9)
			add_flags(1, 9);
		if (uid == 14)
			add_big(0, 'z', false);
		if (uid == 22)
			add_move(21, 200);
	}
	rec_delete_put(add(REC_BOX_DELETE), &(struct rec_delete) { 2, 102, 2000 });
	add_mail(201, 50, false);
}

/* ---- a shard ---- */

static struct owner_record
record(uint64_t lsn)
{
	return (struct owner_record) { .lsn = lsn, .gen_no = 4, .type = stream[lsn - 1].type,
		.time_ms = 1700000000000 + (int64_t)lsn,
		.payload = wire_out_span(&stream[lsn - 1].body) };
}

static void
boot_is(const char *id)
{
	if (fs_replace(boot, "boot_id", id, strlen(id), 0600) == -1)
		fault_wrong("boot id: %s", strerror(errno));
}

static struct shard *
up(const char *dir, char *err, size_t size)
{
	char *one = mem_printf("%s/store-00", dir);
	struct shard *sh = NULL;

	if (shards_make(&one, 1, err, size) == 0)
		sh = shard_open(one, err, size);
	free(one);
	return sh;
}

static bool
job(struct shard *sh, enum shard_job_kind kind, char *err, size_t size)
{
	struct shard_job *j = shard_job_new(sh, kind);
	bool ok = false;

	snprintf(err, size, "no job");
	if (j == NULL)
		return false;
	shard_job_run(j);
	shard_job_end(sh, j);
	snprintf(err, size, "%s", j->error);
	ok = j->ok;
	if (ok && kind == SHARD_VERIFY &&
	    json_integer_value(json_object_get(j->report, "bad_count")) != 0) {
		char *text = json_dumps(json_object_get(j->report, "bad"), 0);

		snprintf(err, size, "%s", text);
		free(text);
		ok = false;
	}
	shard_job_free(j);
	return ok;
}

/* As the store does. */
static void
end_if_lost(struct shard *sh)
{
	if (shard_lost(sh))
		exit(EXIT_FAILURE);
}

static void
checkpoint(struct shard *sh, struct store_model *m)
{
	struct shard_facts f;
	char err[300];

	if (!job(sh, SHARD_CHECKPOINT, err, sizeof(err))) {
		end_if_lost(sh);
		return;
	}
	shard_facts(sh, &f);
	m->checkpoint = f.checkpoint_lsn;
}

static int64_t
end_of_time(void)
{
	return 1800000000000;
}

/* As the store does: what failed is undone, and comes again. */
static int
apply(struct shard *sh, struct store_model *m, uint64_t to)
{
	uint64_t lsn = shard_attach_from(sh);
	struct shard_outcome out;
	struct shard_facts f;

	for (int tries = 0; lsn < to;) {
		struct owner_record r = record(lsn + 1);
		int rc = shard_apply(sh, &r, NULL, &out);

		if (rc == 0 && (++lsn % 3 == 0 || lsn == to))
			rc = shard_commit(sh);
		if (rc == -1) {
			if (++tries > RETRIES)
				return -1;
			shard_rollback(sh);
			shard_facts(sh, &f);
			lsn = shard_attach_from(sh);
			continue;
		}
		shard_facts(sh, &f);
		m->applied = f.applied_lsn;
		shard_events_clear(sh);
		if (lsn % 15 == 0) {
			shard_commit(sh);
			checkpoint(sh, m);
			shard_reap(sh, end_of_time(), 0, 100);
		}
		if (lsn % 20 == 0)
			shard_wal_trim(sh, 0);
		end_if_lost(sh);
	}
	shard_facts(sh, &f);
	m->applied = f.applied_lsn;
	return 0;
}

static int
work(const char *dir, void *model)
{
	struct store_model *m = model;
	char err[300];
	struct shard *sh = up(dir, err, sizeof(err));
	int rc;

	if (sh == NULL)
		return -1;
	rc = apply(sh, m, nstream / 2);
	if (rc == 0)
		job(sh, SHARD_SNAPSHOT, err, sizeof(err));
	if (rc == 0)
		rc = apply(sh, m, nstream);
	if (rc == 0)
		checkpoint(sh, m);
	shard_close(sh);
	return rc;
}

/* ---- the rows ---- */

struct text { char *p; size_t len; };

static void
dump_line(const char *line, void *arg)
{
	struct text *t = arg;
	size_t n = strlen(line);

	t->p = mem_grow(t->p, t->len + n + 2, 1);
	memcpy(t->p + t->len, line, n);
	t->len += n;
	t->p[t->len++] = '\n';
	t->p[t->len] = '\0';
}

static char *
dump(struct shard *sh)
{
	struct text t = { mem_dup(""), 0 };

	if (shard_dump(sh, dump_line, &t) == -1)
		fault_wrong("the rows cannot be read: %s", strerror(errno));
	return t.p;
}

/* To the end of the stream, tidied, and durable. */
static void
finish(struct shard *sh, struct store_model *m)
{
	char err[300];
	int n;

	if (apply(sh, m, nstream) == -1)
		fault_wrong("cannot go on: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		if (!job(sh, SHARD_CHECKPOINT, err, sizeof(err)))
			fault_wrong("no checkpoint: %s", err);
		while ((n = shard_reap(sh, end_of_time(), 0, 100)) > 0)
			;
		if (n == -1)
			fault_wrong("cannot tidy: %s", strerror(errno));
	}
	checkpoint(sh, m);
	if (m->checkpoint != nstream)
		fault_wrong("checkpoint %llu", (unsigned long long)m->checkpoint);
	if (!job(sh, SHARD_VERIFY, err, sizeof(err)))
		fault_wrong("verify: %s", err);
}

static void
same_rows(struct shard *sh)
{
	char *rows = dump(sh);

	if (strcmp(rows, whole) != 0)
		fault_wrong("other rows than without a fault:\n%s---\n%s", rows, whole);
	free(rows);
}

static struct shard *
up_again(const char *dir, bool power)
{
	char err[300];
	struct shard *sh;

	if (power)
		boot_is("second");
	sh = up(dir, err, sizeof(err));
	if (sh == NULL)
		fault_wrong("%s", err);
	return sh;
}

/* The case goes on in the boot in which it began. */
static void
down(struct shard *sh)
{
	shard_close(sh);
	boot_is("first");
}

static void
check(const char *dir, void *model, bool power)
{
	struct store_model *m = model;
	struct shard *sh = up_again(dir, power);
	struct shard_facts f;

	shard_facts(sh, &f);
	if (!power && f.applied_lsn < m->applied)
		fault_wrong("applied %llu, committed was %llu", (unsigned long long)f.applied_lsn,
		    (unsigned long long)m->applied);
	if (shard_attach_from(sh) < m->checkpoint)
		fault_wrong("wants records after %llu, the log is trimmed up to %llu",
		    (unsigned long long)shard_attach_from(sh), (unsigned long long)m->checkpoint);
	finish(sh, m);
	same_rows(sh);
	down(sh);
}

static void
prepare(const char *scratch)
{
	struct store_model m = { 0 };
	char *dir = mem_printf("%s/whole", scratch), err[300];
	struct shard *sh;

	snprintf(boot, sizeof(boot), "%s", scratch);
	boot_is("first");
	snprintf(err, sizeof(err), "%s/boot_id", scratch);
	setenv("MAILPAIR_BOOT_ID_FILE", err, 1);
	if (whole != NULL) {
		free(dir);
		return;
	}
	stream_make();
	if (fs_mkdirs(dir, 0700) == -1 || (sh = up(dir, err, sizeof(err))) == NULL)
		fault_wrong("%s", err);
	finish(sh, &m);
	whole = dump(sh);
	shard_close(sh);
	free(dir);
}

const struct subject fault_store = { "store", sizeof(struct store_model), prepare, work, check };

/* ---- a shard that is seeded ---- */

static char *source;
static int seed_index = -1, seed_list = -1;
static uint64_t seed_lsn;

/* A shard elsewhere, and a frozen index of it, as the other node would send them. */
static void
seed_prepare(const char *scratch)
{
	struct store_model m = { 0 };
	struct shard_job *j;
	struct shard *sh;
	char err[300];

	prepare(scratch);
	if (source != NULL)
		return;
	source = mem_printf("%s/source", scratch);
	if (fs_mkdirs(source, 0700) == -1 || (sh = up(source, err, sizeof(err))) == NULL ||
	    apply(sh, &m, nstream - 10) == -1 || (j = shard_job_new(sh, SHARD_SNAPSHOT)) == NULL)
		fault_wrong("%s", err);
	shard_job_run(j);
	if (!j->ok)
		fault_wrong("%s", j->error);
	seed_lsn = j->lsn;
	seed_index = dup(j->index_fd);
	seed_list = dup(j->list_fd);
	shard_job_free(j);
	shard_close(sh);
}

/* Objects that are missing, then the index; from then on the log begins behind it. */
static int
seed(struct shard *sh, struct store_model *m)
{
	char *dir = mem_printf("%s/store-00", source), err[300];
	struct shard *from = shard_open(dir, err, sizeof(err));
	uint8_t sha[32];
	int rc = 0;

	free(dir);
	if (from == NULL)
		fault_wrong("%s", err);
	for (off_t at = 0; rc == 0 && pread(seed_list, sha, 32, at) == 32; at += 32) {
		int fd;

		if (shard_object_have(sh, sha) == 1)
			continue;
		fd = shard_object_open(from, sha);
		rc = shard_object_install(sh, sha, fd);
		close(fd);
	}
	shard_close(from);
	end_if_lost(sh);
	if (rc == 0 && (rc = shard_index_install(sh, seed_lsn, seed_index)) == 0) {
		m->applied = m->checkpoint = seed_lsn;
		m->seeded = true;
	}
	end_if_lost(sh);
	return rc;
}

static int
seed_work(const char *dir, void *model)
{
	struct store_model *m = model;
	char err[300];
	struct shard *sh = up(dir, err, sizeof(err));
	int rc;

	if (sh == NULL)
		return -1;
	rc = apply(sh, m, SEEDED_AT);
	if (rc == 0)
		checkpoint(sh, m);
	for (int i = 0; i < 3 && rc == 0 && !m->seeded; i++)
		if (seed(sh, m) == -1 && i == 2)
			rc = -1;
	if (rc == 0)
		rc = apply(sh, m, nstream);
	if (rc == 0)
		checkpoint(sh, m);
	shard_close(sh);
	return rc;
}

static void
seed_check(const char *dir, void *model, bool power)
{
	struct store_model *m = model;
	struct shard *sh = up_again(dir, power);

	if (!m->seeded && seed(sh, m) == -1)
		fault_wrong("cannot be seeded: %s", strerror(errno));
	if (shard_attach_from(sh) < m->checkpoint)
		fault_wrong("wants records after %llu, the log is trimmed up to %llu",
		    (unsigned long long)shard_attach_from(sh), (unsigned long long)m->checkpoint);
	finish(sh, m);
	same_rows(sh);
	down(sh);
}

const struct subject fault_seed = { "seed", sizeof(struct store_model), seed_prepare, seed_work,
	seed_check };
