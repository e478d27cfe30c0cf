/* split_tail.c - see split_tail.h. */
#include "split_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"
#include "log.h"
#include "owners.h"
#include "ownertail.h"

#define STEP_RECORDS 512
#define STEP_BYTES (1u << 20)

int
split_file(const struct syncd *s)
{
	int fd = open(s->conf.log_directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd == -1 && errno == EOPNOTSUPP)
		fd = memfd_create("split", MFD_CLOEXEC);
	if (fd == -1)
		log_warn("merge: no file in %s", s->conf.log_directory);
	return fd;
}

static int
by_number(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

int
split_tails_begin(struct split_tails *t, struct syncd *s, uint64_t fork, uint64_t to)
{
	uint64_t oldest = feed_oldest(s->feed);

	split_tails_clear(t);
	t->s = s;
	t->to = to;
	t->whole = oldest <= fork + 1;
	t->next = t->whole ? fork + 1 : oldest;
	t->n = owners_shards(s->owners, t->shards, SHARD_MAX);
	qsort(t->shards, t->n, sizeof(t->shards[0]), by_number);
	for (size_t i = 0; i < t->n; i++)
		t->fd[i] = -1;
	for (size_t i = 0; i < t->n; i++)
		if ((t->fd[i] = split_file(s)) == -1)
			return -1;
	return 0;
}

static int
put(struct split_tails *t, size_t i, const struct record *r)
{
	struct owner_record o = { .lsn = r->lsn, .gen_no = r->gen_no, .shard = t->shards[i],
		.type = r->type, .time_ms = r->time_ms, .payload = r->payload };

	return t->fd[i] == -1 ? 0 : owner_tail_put(t->fd[i], &o);
}

static int
put_record(struct split_tails *t, const struct record *r)
{
	struct gen g;
	bool all = feed_gen(r, &g), placed = all || r->shard == SHARD_PAIR;

	for (size_t i = 0; i < t->n; i++) {
		if (!all && t->shards[i] != r->shard)
			continue;
		placed = true;
		if (put(t, i, r) == -1)
			return -1;
	}
	if (!placed) {		/* it would be left out */
		log_warnx("merge: shard %u has records behind the fork, and no owner", r->shard);
		errno = ESRCH;
		return -1;
	}
	return 0;
}

int
split_tails_step(struct split_tails *t)
{
	struct record r;
	size_t bytes = 0;
	int rc;

	for (int n = 0; n < STEP_RECORDS && bytes < STEP_BYTES && t->next <= t->to; n++, t->next++) {
		rc = feed_read(t->s->feed, &t->reader, t->next, &r);
		if (rc != 1 || put_record(t, &r) == -1) {
			if (rc == 0)
				errno = ERANGE;
			if (errno != ESRCH)
				log_warn("merge: the log cannot be read lsn=%llu",
				    (unsigned long long)t->next);
			return -1;
		}
		bytes += r.payload.len;
	}
	return t->next > t->to;
}

int
split_tails_take(struct split_tails *t, uint16_t shard)
{
	for (size_t i = 0; i < t->n; i++) {
		int fd = t->fd[i];

		if (t->shards[i] != shard || fd == -1)
			continue;
		if (lseek(fd, 0, SEEK_SET) == -1)
			return -1;
		t->fd[i] = -1;
		return fd;
	}
	errno = ENOENT;
	return -1;
}

void
split_tails_clear(struct split_tails *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->fd[i] != -1)
			close(t->fd[i]);
	feed_reader_clear(&t->reader);
	memset(t, 0, sizeof(*t));
}
