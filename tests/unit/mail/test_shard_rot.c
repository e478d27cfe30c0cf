/* test_shard_rot.c - bits turned over at random places of a shard's files while nobody
 * has them open: each is found when the shard is opened, read or verified, or no row is
 * another for it.
 * FLIPS: how many (60); SEED: which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glob.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "shard.h"
#include "shard_job.h"
#include "shard_record.h"

#define MESSAGES 100
#define FILES_MAX 400

static char root[64], path[128];
static uint64_t seed;
/* The files of the shard as they should be, and the rows after each record. */
static struct { char name[120]; char *bytes; size_t len; } file[FILES_MAX];
static size_t nfiles;
static char *rows[MESSAGES * 2 + 2];

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v != NULL ? strtoull(v, NULL, 10) : otherwise;
}

static uint64_t
rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
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

/* NULL: it could not be read. */
static char *
dump(struct shard *sh)
{
	struct text t = { mem_dup(""), 0 };

	if (shard_dump(sh, dump_line, &t) == 0)
		return t.p;
	free(t.p);
	return NULL;
}

static void
put(struct shard *sh, uint64_t lsn, uint8_t type, const struct wire_out *body)
{
	struct owner_record o = { .lsn = lsn, .gen_no = 4, .type = type,
		.time_ms = 1700000000000 + (int64_t)lsn, .payload = wire_out_span(body) };
	struct shard_outcome out;

	assert_int_equal(shard_apply(sh, &o, NULL, &out), 0);
	assert_int_equal(shard_commit(sh), 0);
	shard_events_clear(sh);
	rows[lsn] = dump(sh);
}

static void
mail(struct shard *sh, uint64_t lsn, uint32_t uid)
{
	struct rec_box b = { .user = 1, .id = 101, .uidvalidity = 7, .name = "INBOX",
		.subscribe = true };
	struct rec_entry e = { .user = 1, .box = 101, .uid = uid, .modseq = 1000 + lsn,
		.flags = (uint32_t)rnd(32), .internal_s = 5 };
	char text[400];
	size_t n = (size_t)snprintf(text, sizeof(text), "message %u %*s", uid, (int)rnd(300), "x");
	struct wire_out w;
	uint8_t sha[32];

	sha256(text, n, sha);
	wire_out_init(&w);
	rec_mail_begin(&w, sha, n, true, lsn == 1 ? 1 : 0, 1);
	if (lsn == 1)
		rec_put_box(&w, &b);
	wire_store32(e.guid, uid);
	rec_put_entry(&w, &e);
	wire_put_raw(&w, text, n);
	put(sh, lsn, REC_DELIVER, &w);
	wire_out_clear(&w);
}

static void
flags(struct shard *sh, uint64_t lsn, uint32_t upto)
{
	struct rec_flags f = { .box = 101, .modseq = 1000 + lsn, .n = 1,
		.flags = (uint32_t)rnd(32), .keywords = "blue", .op = (uint8_t)rnd(3) };
	struct rec_range r = { 1 + (uint32_t)rnd(upto), upto };
	struct wire_out w;

	wire_out_init(&w);
	rec_flags_put(&w, &f, &r);
	put(sh, lsn, REC_FLAGS, &w);
	wire_out_clear(&w);
}

static bool
job(struct shard *sh, enum shard_job_kind kind, long long *bad, bool *index_bad)
{
	struct shard_job *j = shard_job_new(sh, kind);
	bool ok;

	assert_non_null(j);
	shard_job_run(j);
	ok = j->ok;
	if (!ok)
		print_message("# %s\n", j->error);
	shard_job_end(sh, j);
	if (ok && bad != NULL) {
		*bad = json_integer_value(json_object_get(j->report, "bad_count"));
		*index_bad = j->index_bad;
	}
	shard_job_free(j);
	return ok;
}

static void
take(const char *name)
{
	char *at = mem_printf("%s/%s", path, name);

	assert_true(nfiles < FILES_MAX);
	snprintf(file[nfiles].name, sizeof(file[0].name), "%s", name);
	if (fs_read(at, 64 << 20, &file[nfiles].bytes, &file[nfiles].len) == 0)
		nfiles++;
	free(at);
}

static void
remember(void)
{
	char *at = mem_printf("%s/objects/*/*", path);
	glob_t found;

	take("index.db");
	take("index.db-wal");
	take("durable");
	assert_int_equal(glob(at, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		take(found.gl_pathv[i] + strlen(path) + 1);
	globfree(&found);
	free(at);
}

static void
restore_one(size_t i)
{
	char *at = mem_printf("%s/%s", path, file[i].name);
	int fd = open(at, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, file[i].bytes, file[i].len), 0);
	close(fd);
	free(at);
}

/* The objects are not changed by anything but a flip. */
static void
restore(void)
{
	char *shm = mem_printf("%s/index.db-shm", path);

	unlink(shm);
	free(shm);
	for (size_t i = 0; i < nfiles; i++)
		if (strchr(file[i].name, '/') == NULL)
			restore_one(i);
}

static void
flip(size_t i, uint64_t bit)
{
	char *at = mem_printf("%s/%s", path, file[i].name);
	uint8_t c = (uint8_t)file[i].bytes[bit / 8] ^ (uint8_t)(1u << bit % 8);
	int fd = open(at, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(fs_pwrite_all(fd, &c, 1, (off_t)(bit / 8)), 0);
	close(fd);
	free(at);
}

/* checkpoint: half of it is in index.db alone, the rest in the write-ahead log. */
static int
setup(void **state)
{
	char err[256] = "";
	struct shard *sh;

	(void)state;
	log_init("test_shard_rot", true, LOG_LEVEL_ERR);
	seed = number_of("SEED", 4);
	snprintf(root, sizeof(root), "/tmp/test_rot.XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/store-00", root);
	if ((sh = shard_open(path, err, sizeof(err))) == NULL)
		fail_msg("%s", err);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		mail(sh, 2 * i + 1, i + 1);
		flags(sh, 2 * i + 2, i + 1);
		if (i == MESSAGES / 2)
			assert_true(job(sh, SHARD_CHECKPOINT, NULL, NULL));
	}
	remember();		/* as a crash of the process leaves it */
	shard_close(sh);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < nfiles; i++)
		free(file[i].bytes);
	nfiles = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		free(rows[i]);
		rows[i] = NULL;
	}
	return fs_remove_tree(root);
}

struct count { uint64_t found, older, harmless; };

/* The rows are those after some record (a log that is given again brings the rest), or
 * they cannot be read; and what is not found changes nothing. */
static void
look(size_t i, struct count *n)
{
	char err[256] = "", *is;
	struct shard *sh = shard_open(path, err, sizeof(err));
	struct shard_facts f;
	bool index_bad = false;
	long long bad = 0;

	if (sh == NULL) {
		assert_int_equal(errno, EBADMSG);
		n->found++;
		return;
	}
	shard_facts(sh, &f);
	assert_true(f.applied_lsn <= 2 * MESSAGES);
	is = dump(sh);
	if (!job(sh, SHARD_VERIFY, &bad, &index_bad))
		fail_msg("verify of a flip in %s failed", file[i].name);
	if (bad > 0)
		n->found++;
	else if (f.applied_lsn < 2 * MESSAGES)
		n->older++;
	else
		n->harmless++;
	/* never other rows */
	if (is != NULL)
		assert_string_equal(is, rows[f.applied_lsn]);
	else
		assert_true(bad > 0 && index_bad);
	if (strncmp(file[i].name, "objects/", 8) == 0)
		assert_int_equal(bad, 1);
	free(is);
	shard_close(sh);
}

static void
run(const char *kind, bool (*chosen)(size_t i))
{
	uint64_t flips = number_of("FLIPS", 60) / 3 + 1;
	struct count n = { 0 };

	for (uint64_t k = 0; k < flips; k++) {
		size_t i;

		do
			i = rnd(nfiles);
		while (!chosen(i) || file[i].len == 0);
		restore();
		flip(i, rnd(file[i].len * 8));
		look(i, &n);
		restore_one(i);
	}
	print_message("# %s: flips=%llu found=%llu harmless=%llu older-and-given-again=%llu"
	    " other-rows=0\n", kind, (unsigned long long)flips, (unsigned long long)n.found,
	    (unsigned long long)n.harmless, (unsigned long long)n.older);
}

static bool is_index(size_t i) { return strcmp(file[i].name, "index.db") == 0; }
static bool is_wal(size_t i) { return strcmp(file[i].name, "index.db-wal") == 0; }
static bool is_object(size_t i) { return strncmp(file[i].name, "objects/", 8) == 0; }

static void
test_clean(void **state)
{
	struct count n = { 0 };

	(void)state;
	restore();
	look(0, &n);
	assert_int_equal(n.harmless, 1);
}

static void
test_index(void **state)
{
	(void)state;
	run("index.db", is_index);
}

static void
test_wal(void **state)
{
	(void)state;
	run("index.db-wal", is_wal);
}

static void
test_objects(void **state)
{
	(void)state;
	run("objects of a shard", is_object);
}

/* An index that lies behind its own checkpoint is damaged, and is not made good by a log
 * that may lack what is between. */
static void
test_behind_checkpoint(void **state)
{
	char err[256] = "", *wal = mem_printf("%s/index.db-wal", path);
	char *durable = mem_printf("mailpair-shard 1\nlsn %d\nboot x\n", 2 * MESSAGES);

	(void)state;
	restore();
	assert_int_equal(unlink(wal), 0);
	assert_int_equal(fs_replace(path, "durable", durable, strlen(durable), 0600), 0);
	assert_null(shard_open(path, err, sizeof(err)));
	assert_int_equal(errno, EBADMSG);
	assert_non_null(strstr(err, "before its checkpoint"));
	free(wal);
	free(durable);
}

#define T(f) cmocka_unit_test(f)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { T(test_clean), T(test_index), T(test_wal),
		T(test_objects), T(test_behind_checkpoint) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
