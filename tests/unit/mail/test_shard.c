/* test_shard.c - applying: the same records in different batches give the same rows;
 * records that come again change nothing; crashes at each step, and power cuts that
 * take unsynced objects away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#define STREAM 400
#define BIG 20000

struct rec { uint8_t type; struct wire_out body; };
static struct rec stream[STREAM];
static size_t nstream;
static uint32_t next2 = 1;		/* of user 2's INBOX, which gets the copies too */
static char root[64], boot[96];

static uint32_t
rnd(uint32_t n)
{
	static uint32_t seed = 42;

	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static struct wire_out *
add(uint8_t type)
{
	struct rec *r = &stream[nstream++];

	assert_true(nstream <= STREAM);
	r->type = type;
	wire_out_init(&r->body);
	return &r->body;
}

static void
entry(struct wire_out *w, uint64_t user, uint32_t uid)
{
	struct rec_entry e = { .user = user, .box = 100 + user, .uid = uid,
		.modseq = 1000 + nstream, .flags = rnd(32), .internal_s = 5 };

	wire_store32(e.guid, (uint32_t)nstream);
	e.guid[5] = (uint8_t)user;
	rec_put_entry(w, &e);
}

static void
add_mail(uint32_t uid, bool first)
{
	char text[64];
	size_t n = (size_t)snprintf(text, sizeof(text), "message %u", rnd(40));
	struct rec_box b = { .uidvalidity = 7, .name = "INBOX", .subscribe = true };
	struct wire_out *w = add(REC_DELIVER);
	uint8_t sha[32];

	sha256(text, n, sha);
	rec_mail_begin(w, sha, n, true, first ? 2 : 0, 2);
	for (uint64_t u = 1; first && u <= 2; u++) {
		b.user = u;
		b.id = 100 + u;
		rec_put_box(w, &b);
	}
	entry(w, 1, uid);
	entry(w, 2, next2++);
	wire_put_raw(w, text, n);
}

static void
add_big(uint32_t uid, char fill)
{
	struct rec_blob b = { .total = BIG };
	char *text = malloc(BIG);
	struct wire_out *w;

	memset(text, fill, BIG);
	sha256(text, BIG, b.sha);
	for (b.offset = 0; b.offset < BIG; b.offset += BIG / 4) {
		w = add(REC_BLOB);
		rec_blob_head(w, &b);
		wire_put_raw(w, text, BIG / 4);
	}
	w = add(REC_DELIVER);
	rec_mail_begin(w, b.sha, BIG, false, 0, 1);
	entry(w, 1, uid);
	free(text);
}

static void
add_other(uint32_t uidnext)
{
	struct rec_flags f = { .box = 101 + rnd(2), .modseq = 1000 + nstream, .n = 1,
		.flags = rnd(32), .keywords = "blue", .op = (uint8_t)rnd(3) };
	struct rec_range r = { rnd(uidnext), uidnext - rnd(uidnext / 2) };
	struct rec_copy c = { .from = 101, .to = 102, .modseq = 1000 + nstream,
		.gone_modseq = 1000 + nstream, .move = rnd(2) == 0, .n = 1 };

	switch (rnd(4)) {
	case 0:
		f.op = 1;
		rec_expunge_put(add(REC_EXPUNGE), &f, &r);
		break;
	case 1:
		r = (struct rec_range){ rnd(uidnext) + 1, next2++ };
		rec_copy_put(add(REC_COPY), &c, &r);
		break;
	default:
		rec_flags_put(add(REC_FLAGS), &f, &r);
	}
}

static void
stream_make(void)
{
	uint32_t uid = 1;
	struct gen g = gen_make(4, 1, GEN_TAKEOVER, 3, 0);

	for (int i = 0; i < 100; i++) {
		add_mail(uid++, i == 0);
		if (i % 3 == 0)
			add_other(uid);
		if (i % 20 == 19)
			add_big(uid++, (char)('a' + i / 20));
		if (i == 50)
			gen_put(add(OWNER_REC_GENERATION), &g);
	}
	next2 -= 3;			/* given before: the store must find others */
	add_mail(uid, false);
	rec_rename_put(add(REC_BOX_RENAME), &(struct rec_rename){ .user = 2, .modseq = 9999,
	    .box = 102, .from = "INBOX", .to = "Old", .inbox = true, .made = { .id = 9999,
	    .user = 2, .uidvalidity = 8, .name = "Old" } });
	rec_delete_put(add(REC_BOX_DELETE), &(struct rec_delete){ 2, 9999, 10001 });
	wire_put_raw(add(77), "nonsense", 8);
}

static struct shard *
up(const char *name)
{
	char *dir = mem_printf("%s/%s", root, name), err[256] = "";
	struct shard *sh = shard_open(dir, err, sizeof(err));

	if (sh == NULL)
		fail_msg("%s", err);
	free(dir);
	return sh;
}

/* Applies records with lsn in (from, to], committing after each `batch`. */
static void
apply(struct shard *sh, uint64_t from, uint64_t to, unsigned batch)
{
	struct shard_outcome out;

	for (uint64_t lsn = from + 1; lsn <= to; lsn++) {
		const struct rec *r = &stream[lsn - 1];
		struct owner_record o = { .lsn = lsn, .gen_no = 4, .type = r->type,
			.time_ms = 1700000000000 + (int64_t)lsn, .payload = wire_out_span(&r->body) };

		assert_int_equal(shard_apply(sh, &o, NULL, &out), 0);
		if (lsn % batch == 0)
			assert_int_equal(shard_commit(sh), 0);
	}
	assert_int_equal(shard_commit(sh), 0);
	shard_events_clear(sh);
}

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

	assert_int_equal(shard_dump(sh, dump_line, &t), 0);
	return t.p;
}

static void
same(struct shard *a, struct shard *b)
{
	char *x = dump(a), *y = dump(b);

	if (strcmp(x, y) != 0)
		fail_msg("different rows:\n%s\n---\n%s", x, y);
	free(x);
	free(y);
}

static void
verified(struct shard *sh)
{
	struct shard_job *j = shard_job_new(sh, SHARD_VERIFY);
	char *text;

	assert_non_null(j);
	shard_job_run(j);
	assert_true(j->ok);
	if (json_integer_value(json_object_get(j->report, "bad_count")) != 0) {
		text = json_dumps(json_object_get(j->report, "bad"), 0);
		fail_msg("%s", text);
	}
	shard_job_free(j);
}

static void
checkpoint(struct shard *sh)
{
	struct shard_job *j = shard_job_new(sh, SHARD_CHECKPOINT);

	assert_non_null(j);
	shard_job_run(j);
	assert_true(j->ok);
	shard_job_end(sh, j);
	shard_job_free(j);
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
	log_init("test_shard", true, LOG_LEVEL_WARN - 1);
	snprintf(root, sizeof(root), "/tmp/test_shard.XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(boot, sizeof(boot), "%s/boot_id", root);
	boot_is("first");
	setenv("MAILPAIR_BOOT_ID_FILE", boot, 1);
	if (nstream == 0)
		stream_make();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(root);
}

static void
test_batchings(void **state)
{
	static const unsigned batches[] = { 2, 7, 64, STREAM };
	struct shard *a = up("a"), *b;

	(void)state;
	apply(a, 0, nstream, 1);
	verified(a);
	for (size_t i = 0; i < 4; i++) {
		char name[8];

		snprintf(name, sizeof(name), "b%zu", i);
		b = up(name);
		apply(b, 0, nstream, batches[i]);
		same(a, b);
		verified(b);
		shard_close(b);
	}
	shard_close(a);
}

/* The process dies at any record, before or after the commit; objects of records that
 * were rolled back lie about; then everything comes again from some earlier LSN. */
static void
test_crashes(void **state)
{
	struct shard *whole = up("whole"), *sh = up("crashed");
	struct shard_facts f;

	(void)state;
	apply(whole, 0, nstream, 5);
	for (uint64_t at = 3; at < nstream; at += 11) {
		struct owner_record o;
		struct shard_outcome out;

		shard_facts(sh, &f);
		apply(sh, f.applied_lsn, at, 4);
		if (at < nstream) {	/* applied, not committed */
			o = (struct owner_record){ .lsn = at + 1, .type = stream[at].type,
				.time_ms = 1700000000001 + (int64_t)at,
				.payload = wire_out_span(&stream[at].body) };
			assert_int_equal(shard_apply(sh, &o, NULL, &out), 0);
		}
		shard_close(sh);
		sh = up("crashed");
		shard_facts(sh, &f);
		assert_int_equal(f.applied_lsn, at);
		assert_int_equal(shard_attach_from(sh), at);
		apply(sh, at > 6 ? at - 6 : 0, at, 3);	/* comes again: changes nothing */
	}
	shard_facts(sh, &f);
	apply(sh, f.applied_lsn, nstream, 3);
	same(whole, sh);
	verified(sh);
	shard_close(whole);
	shard_close(sh);
}

/* Empties every object that a record after `lsn` brought: what a power cut may leave. */
static void
lose_objects(const char *name, uint64_t lsn)
{
	char path[200], hex[65];
	struct rec_mail m;

	for (uint64_t i = lsn; i < nstream; i++) {
		if (stream[i].type != REC_DELIVER)
			continue;
		assert_true(rec_mail_decode(wire_out_span(&stream[i].body), &m));
		hex_encode(m.sha, 32, hex);
		snprintf(path, sizeof(path), "%s/%s/objects/%.2s/%s", root, name, hex, hex);
		if (i % 2 == 0 ? truncate(path, m.inlined ? 0 : BIG / 3) : unlink(path)) {
			/* not there (any more) */
		}
	}
}

static void
test_power_cut(void **state)
{
	struct shard *whole = up("whole"), *sh;
	struct shard_facts f;
	uint64_t cuts[] = { 1, 30, 28, 90, nstream - 1 };

	(void)state;
	apply(whole, 0, nstream, 5);
	for (size_t i = 0; i < 5; i++) {
		char name[8];

		snprintf(name, sizeof(name), "p%zu", i);
		boot_is("first");
		sh = up(name);
		apply(sh, 0, cuts[i], 9);
		checkpoint(sh);
		shard_facts(sh, &f);
		assert_true(f.checkpoint_lsn <= cuts[i] && f.checkpoint_lsn + 4 >= cuts[i]);
		apply(sh, cuts[i], nstream, 9);
		shard_close(sh);
		/* the same boot: nothing is looked through */
		sh = up(name);
		assert_int_equal(shard_attach_from(sh), nstream);
		shard_close(sh);
		lose_objects(name, f.checkpoint_lsn);
		boot_is("second");
		sh = up(name);
		assert_int_equal(shard_attach_from(sh), f.checkpoint_lsn);
		apply(sh, f.checkpoint_lsn, nstream, 13);
		same(whole, sh);
		verified(sh);
		shard_facts(sh, &f);
		assert_false(f.recovering);
		checkpoint(sh);
		shard_close(sh);
		sh = up(name);
		assert_int_equal(shard_attach_from(sh), nstream);
		shard_close(sh);
	}
	shard_close(whole);
}

/* While objects are looked through nothing is checkpointed: a process that comes then would
 * take them for good. */
static void
test_checkpoint_recovering(void **state)
{
	struct shard *sh;
	struct shard_job *j;
	struct shard_facts f;

	(void)state;
	boot_is("first");
	sh = up("r");
	apply(sh, 0, 28, 9);
	checkpoint(sh);
	shard_facts(sh, &f);
	apply(sh, 28, nstream, 9);
	shard_close(sh);
	lose_objects("r", f.checkpoint_lsn);
	boot_is("second");
	sh = up("r");
	assert_non_null(j = shard_job_new(sh, SHARD_CHECKPOINT));
	shard_job_run(j);
	assert_false(j->ok);
	assert_non_null(strstr(j->error, "looked through"));
	shard_job_end(sh, j);
	shard_job_free(j);
	shard_close(sh);
	sh = up("r");
	assert_int_equal(shard_attach_from(sh), f.checkpoint_lsn);
	apply(sh, f.checkpoint_lsn, nstream, 13);
	verified(sh);
	checkpoint(sh);
	shard_close(sh);
}

/* Pieces before the checkpoint, the message after it: the checkpoint waits for it. */
static void
test_part_holds_checkpoint(void **state)
{
	struct shard *sh = up("part");
	struct shard_facts f;
	uint64_t first = 0;

	(void)state;
	for (uint64_t i = 0; i < nstream && first == 0; i++)
		if (stream[i].type == REC_BLOB)
			first = i + 1;
	apply(sh, 0, first + 2, 1);
	checkpoint(sh);
	shard_facts(sh, &f);
	assert_int_equal(f.checkpoint_lsn, first - 1);
	shard_close(sh);
	boot_is("second");
	sh = up("part");
	apply(sh, shard_attach_from(sh), nstream, 10);
	verified(sh);
	shard_close(sh);
}

/* Removed messages keep their objects for the window, and behind a checkpoint only. */
static void
test_reap(void **state)
{
	struct shard *sh = up("reap");
	int64_t end = 1700000000000 + (int64_t)nstream;
	char *before, *after;

	(void)state;
	apply(sh, 0, nstream, 50);
	before = dump(sh);
	assert_int_equal(shard_reap(sh, end + 1000, 5000, 1000), 0);
	assert_int_equal(shard_reap(sh, end + 10000, 5000, 1), 1);
	checkpoint(sh);
	while (shard_reap(sh, end + 10000, 5000, 10) > 0)
		;
	after = dump(sh);
	assert_null(strstr(after, " 0\nobject"));
	assert_true(strlen(after) < strlen(before));
	verified(sh);
	free(before);
	free(after);
	shard_close(sh);
}

/* Several at once, over what an attempt left that was cut off; one that is in use
 * stays as it is. */
static void
test_make(void **state)
{
	char *dirs[4], *path, err[300];
	struct shard *sh;

	(void)state;
	for (int i = 0; i < 4; i++)
		dirs[i] = mem_printf("%s/make-%d", root, i);
	sh = up("make-0");
	apply(sh, 0, 10, 3);
	shard_close(sh);
	path = mem_printf("%s/new", dirs[1]);		/* cut off before the names */
	assert_int_equal(fs_mkdirs(path, 0700), 0);
	assert_int_equal(fs_replace(path, "index.db", "torn", 4, 0600), 0);
	free(path);
	assert_int_equal(fs_mkdirs(dirs[2], 0700), 0);	/* between the names */
	assert_int_equal(fs_replace(dirs[2], "durable", "mailpair-shard 1\nlsn 0\nboot x\n",
	    30, 0600), 0);
	assert_int_equal(shards_make(dirs, 4, err, sizeof(err)), 0);
	for (int i = 0; i < 4; i++) {
		struct shard_facts f;

		sh = shard_open(dirs[i], err, sizeof(err));
		assert_non_null(sh);
		shard_facts(sh, &f);
		assert_int_equal(f.applied_lsn, i == 0 ? 10 : 0);
		path = mem_printf("%s/new", dirs[i]);
		assert_int_equal(access(path, F_OK), -1);
		free(path);
		apply(sh, f.applied_lsn, 50, 7);
		verified(sh);
		shard_close(sh);
		free(dirs[i]);
	}
}

/* How many folders with what was damaged; the last one's name. */
static int
asides(const char *dir, char name[64])
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (strncmp(e->d_name, "damaged-", 8) == 0) {
			snprintf(name, 64, "%.63s", e->d_name);
			n++;
		}
	closedir(d);
	return n;
}

/* Gone from a shard that was in use: what is left is kept, and it asks for no records. */
static void
test_index_gone(void **state)
{
	char *dir = mem_printf("%s/lost", root), *path, err[512], name[64];
	static const char text[] = "mailpair-shard 1\nlsn 41\nboot x\n";
	struct shard *sh;

	(void)state;
	assert_int_equal(fs_mkdirs(dir, 0700), 0);
	assert_int_equal(fs_replace(dir, "durable", text, sizeof(text) - 1, 0600), 0);
	assert_int_equal(fs_replace(dir, "index.db-wal", "old", 3, 0600), 0);
	assert_int_equal(shards_make(&dir, 1, err, sizeof(err)), 0);
	assert_int_equal(asides(dir, name), 1);
	path = mem_printf("%s/%s/index.db-wal", dir, name);
	assert_int_equal(access(path, F_OK), 0);
	free(path);
	path = mem_printf("%s/%s/durable", dir, name);
	assert_int_equal(access(path, F_OK), 0);
	free(path);
	sh = shard_open(dir, err, sizeof(err));
	assert_non_null(sh);
	assert_true(shard_attach_from(sh) == OWNER_FROM_LOST);
	shard_close(sh);
	free(dir);
}

/* A frozen copy of its index. */
static int
snapshot(struct shard *sh, uint64_t *lsn)
{
	struct shard_job *j = shard_job_new(sh, SHARD_SNAPSHOT);
	int fd;

	assert_non_null(j);
	shard_job_run(j);
	assert_true(j->ok);
	*lsn = j->lsn;
	fd = j->index_fd;
	j->index_fd = -1;
	shard_job_free(j);
	return fd;
}

/* One that does not open: the same.  It gives the peer nothing, over restarts too, until an
 * index from there is in place; then it is what it was. */
static void
test_index_damaged(void **state)
{
	static const char *const how[] = { "header", "empty", "short", "durable", "page" };
	struct shard *whole = up("sound"), *sh;
	char *dir = mem_printf("%s/hurt", root), *index = mem_printf("%s/index.db", dir);
	char *wal = mem_printf("%s/index.db-wal", dir), name[64], junk[100], err[300];
	struct store_box b;
	uint64_t lsn;
	bool suspect;
	int fd;

	(void)state;
	apply(whole, 0, nstream, 50);
	memset(junk, 0x5a, sizeof(junk));
	for (int i = 0; i < 5; i++) {
		sh = up("hurt");
		apply(sh, 0, nstream, 50);
		checkpoint(sh);
		shard_close(sh);
		assert_true(unlink(wal) == 0 || errno == ENOENT);
		if (strcmp(how[i], "durable") == 0) {
			assert_int_equal(fs_replace(dir, "durable", junk, 10, 0600), 0);
		} else if (strcmp(how[i], "page") == 0) {	/* and a sync had failed */
			fd = open(index, O_RDWR | O_CLOEXEC);
			assert_true(fd != -1);
			assert_int_equal(pwrite(fd, junk, sizeof(junk), lseek(fd, 0, SEEK_END) - 2000),
			    sizeof(junk));
			close(fd);
			durable_lost(dir, 0);
		} else {
			fd = open(index, O_RDWR | O_CLOEXEC);
			assert_true(fd != -1);
			assert_int_equal(strcmp(how[i], "header") == 0 ? (pwrite(fd, junk,
			    sizeof(junk), 0) == sizeof(junk) ? 0 : -1) : ftruncate(fd, strcmp(how[i],
			    "short") == 0 ? 3000 : 0), 0);
			close(fd);
		}
		assert_null(shard_open(dir, err, sizeof(err)));
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(shard_set_aside(dir, err), 0);
		assert_int_equal(durable_known(dir, &lsn, &suspect), 0);
		assert_int_equal(suspect, strcmp(how[i], "page") == 0);	/* of its objects */
		sh = up("hurt");
		assert_int_equal(asides(dir, name), i + 1);
		assert_null(shard_job_new(sh, SHARD_SNAPSHOT));
		assert_int_equal(shard_box_by_id(sh, 102, &b), MAIL_TEMP);	/* not "none" */
		shard_close(sh);
		sh = up("hurt");
		assert_true(shard_attach_from(sh) == OWNER_FROM_LOST);
		fd = snapshot(whole, &lsn);
		assert_int_equal(shard_index_install(sh, lsn, fd), 0);
		close(fd);
		assert_int_equal(shard_attach_from(sh), lsn);
		same(whole, sh);
		verified(sh);
		shard_close(sh);
	}
	shard_close(whole);
	free(wal);
	free(index);
	free(dir);
}

int
main(int argc, char **argv)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_batchings), T(test_crashes), T(test_power_cut),
		T(test_checkpoint_recovering), T(test_part_holds_checkpoint), T(test_reap), T(test_make), T(test_index_gone), T(test_index_damaged),
	};
	int rc;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	rc = cmocka_run_group_tests_name("shard", tests, NULL, NULL);

	for (size_t i = 0; i < nstream; i++)
		wire_out_clear(&stream[i].body);
	return rc;
}
