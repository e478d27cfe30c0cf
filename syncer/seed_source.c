/* seed_source.c - the active's half of seeding: shard by shard, objects first, then
 * the index, at the end the place in the log.
 *
 * The log is held from its beginning while snapshots are made, then from the smallest
 * of them until the standby has caught up, so that what is seeded can go on.  An
 * attempt that fails is forgotten and made again RETRY_MS later, as long as the
 * standby wants it. */
#define _GNU_SOURCE
#include "seed_source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "bulk.h"
#include "clock.h"
#include "fs.h"
#include "log.h"
#include "mirror_wire.h"
#include "seed.h"

#define RETRY_MS 3000
#define STALL_MS 120000
#define UNSENT_HIGH (1u << 20)
#define STEPS_A_TURN 16		/* of about 64 KiB */
#define GENS_MAX 256

static void next_shard(struct seed_source *);
static void next_batch(struct seed_source *);
static void next_object(struct seed_source *);
static void on_more(evutil_socket_t, short, void *);

void
seed_source_init(struct seed_source *s, const struct mirror_host *host)
{
	*s = (struct seed_source){ .host = host, .index_fd = -1, .list_fd = -1 };
	seed_send_init(&s->file);
	if ((s->more = event_new(host->base, -1, 0, on_more, s)) == NULL)
		log_fatal("no memory");
}

void
seed_source_clear(struct seed_source *s)
{
	seed_source_stop(s, NULL);
	event_free(s->more);
}

bool
seed_source_may(const struct seed_source *s)
{
	const struct commit *c = s->host->commit;

	return c->role == DATA_ACTIVE && !c->fenced && !c->promoting && !c->split &&
	    !c->failed && c->gen.no != 0;
}

static void
send_frame(struct seed_source *s, enum seed_type type, const void *p, size_t n)
{
	s->moved_ms = clock_ms();
	bulk_send(s->bulk, (uint8_t)type, &s->host->commit->gen, p, n);
}

static void
send_wire(struct seed_source *s, enum seed_type type, struct wire_out *w)
{
	send_frame(s, type, w->p, w->len);
	wire_out_clear(w);
}

static void
forget_shard(struct seed_source *s)
{
	seed_send_clear(&s->file);
	fs_close(&s->index_fd);
	fs_close(&s->list_fd);
	s->have_index = s->have_list = false;
}

void
seed_source_stop(struct seed_source *s, const char *why)
{
	struct wire_out w;

	if (s->step == SEED_IDLE)
		return;
	forget_shard(s);
	s->step = SEED_IDLE;
	s->retry_ms = clock_ms() + RETRY_MS;
	if (why == NULL)
		return;
	log_warnx("seeding stopped: %s", log_safe(why));
	(void)snprintf(s->error, sizeof(s->error), "%s", log_safe(why));
	if (s->bulk == NULL)
		return;
	wire_out_init(&w);
	wire_put_str(&w, s->error);
	send_wire(s, SM_ABORT, &w);
}

static void
stop_at_shard(struct seed_source *s, const char *what)
{
	char text[160];

	(void)snprintf(text, sizeof(text), "%s of shard %u", what,
	    s->at_shard < s->nshards ? (unsigned)s->shards[s->at_shard] : 0u);
	seed_source_stop(s, text);
}

static void
start(struct seed_source *s)
{
	uint16_t absent;
	char text[80];

	s->nshards = s->host->shards(s->host->arg, s->shards, SHARD_MAX);
	s->at_shard = 0;
	s->lowest = UINT64_MAX;
	s->objects = s->bytes = s->skipped = s->resumed = 0;
	s->step = SEED_SNAPSHOT;
	s->moved_ms = clock_ms();
	s->at = (struct seed_progress){ .since_ms = s->moved_ms };
	if (s->nshards == 0) {
		seed_source_stop(s, "no owner of a shard is attached on the active");
		return;
	}
	if (s->host->absent(s->host->arg, &absent)) {
		(void)snprintf(text, sizeof(text), "the owner of shard %u is away", absent);
		seed_source_stop(s, text);
		return;
	}
	s->host->keep_from(s->host->arg, 1);
	s->kept = true;
	s->error[0] = '\0';
	log_info("seeding the standby shards=%zu", s->nshards);
	next_shard(s);
}

/* ---- the end ----------------------------------------------------------- */

static void
finish(struct seed_source *s)
{
	struct gen gens[GENS_MAX];
	uint8_t hash[16];
	struct wire_out w;
	size_t n = 0;

	if (s->host->point(s->host->arg, s->lowest, hash, gens, GENS_MAX, &n) == -1) {
		seed_source_stop(s, "the log does not reach back to the oldest snapshot");
		return;
	}
	s->host->keep_from(s->host->arg, s->lowest);
	wire_out_init(&w);
	wire_put_u64(&w, s->lowest);
	wire_put_raw(&w, hash, sizeof(hash));
	wire_put_u16(&w, (uint16_t)n);
	for (size_t i = 0; i < n; i++)
		gen_put(&w, &gens[i]);
	s->step = SEED_FINISH;
	send_wire(s, SM_DONE, &w);
}

static void
on_ok(struct seed_source *s)
{
	log_info("seeded the standby lsn=%llu objects=%llu bytes=%llu skipped=%llu "
	    "resumed=%llu",
	    (unsigned long long)s->lowest, (unsigned long long)s->objects,
	    (unsigned long long)s->bytes, (unsigned long long)s->skipped,
	    (unsigned long long)s->resumed);
	s->step = SEED_IDLE;
	s->wanted = false;
}

/* ---- one shard --------------------------------------------------------- */

static void
next_shard(struct seed_source *s)
{
	forget_shard(s);
	if (s->at_shard == s->nshards) {
		finish(s);
		return;
	}
	s->step = SEED_SNAPSHOT;
	if (s->host->ask_snapshot(s->host->arg, s->shards[s->at_shard]) == -1)
		stop_at_shard(s, "nobody makes a snapshot");
}

static bool
expected(const struct seed_source *s, enum seed_step step, uint16_t shard)
{
	return s->step == step && s->at_shard < s->nshards && s->shards[s->at_shard] == shard;
}

static uint64_t
list_length(int fd)
{
	struct stat st;

	return fd != -1 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size / 32 : 0;
}

static void
shard_ready(struct seed_source *s)
{
	struct wire_out w;

	if (!s->have_index || !s->have_list)
		return;
	if (s->lsn < s->lowest)
		s->lowest = s->lsn;
	s->at.shard = (uint32_t)s->at_shard;
	s->at.shards = (uint32_t)s->nshards;
	s->at.object = 0;
	s->at.objects = list_length(s->list_fd);
	wire_out_init(&w);
	wire_put_u16(&w, s->shards[s->at_shard]);
	wire_put_u64(&w, s->lsn);
	wire_put_u32(&w, s->at.shard);
	wire_put_u32(&w, s->at.shards);
	wire_put_u64(&w, s->at.objects);
	send_wire(s, SM_SHARD, &w);
	next_batch(s);
}

void
seed_source_snapshot(struct seed_source *s, uint16_t shard, uint64_t lsn, bool ok, int fd)
{
	uint64_t oldest;

	if (!expected(s, SEED_SNAPSHOT, shard) || s->have_index) {
		fs_close(&fd);
		return;
	}
	if (!ok || fd == -1 || lseek(fd, 0, SEEK_SET) == -1) {
		fs_close(&fd);
		stop_at_shard(s, "no snapshot");
		return;
	}
	oldest = s->host->oldest(s->host->arg);
	s->index_fd = fd;
	/* An idle shard's own number may lie before the log's first record: there is no
	 * record of it in between, or the log would still have that one. */
	s->lsn = oldest > 0 && lsn < oldest - 1 ? oldest - 1 : lsn;
	s->have_index = true;
	shard_ready(s);
}

void
seed_source_list(struct seed_source *s, uint16_t shard, bool ok, int fd)
{
	if (!expected(s, SEED_SNAPSHOT, shard) || s->have_list) {
		fs_close(&fd);
		return;
	}
	if (!ok || (fd != -1 && lseek(fd, 0, SEEK_SET) == -1)) {
		fs_close(&fd);
		stop_at_shard(s, "no list of objects");
		return;
	}
	s->list_fd = fd;		/* -1: no objects at all */
	s->have_list = true;
	shard_ready(s);
}

/* ---- files ------------------------------------------------------------- */

/* sha: of the object; NULL: the index. */
static void
begin_file(struct seed_source *s, int fd, const uint8_t sha[32])
{
	static const uint8_t none[32];
	uint64_t size = 0;
	struct wire_out w;

	if (seed_send_begin(&s->file, fd, sha, &size) == -1) {
		stop_at_shard(s, "cannot read a file");
		return;
	}
	wire_out_init(&w);
	wire_put_u16(&w, s->shards[s->at_shard]);
	wire_put_u8(&w, sha == NULL);
	wire_put_raw(&w, sha == NULL ? none : sha, 32);
	wire_put_u64(&w, size);
	s->step = seed_says(sha == NULL, size) ? SEED_HAS : SEED_SENDING;
	send_wire(s, SM_FILE, &w);
	seed_source_pump(s);
}

static void
end_file(struct seed_source *s)
{
	uint8_t sha[32];

	memcpy(sha, s->file.digest, sizeof(sha));
	s->step = SEED_TAKEN;
	send_frame(s, SM_FILE_END, sha, sizeof(sha));
}

/* One step of the file to the standby; false: nothing more to do in this turn. */
static bool
send_step(struct seed_source *s)
{
	struct evbuffer *out = evbuffer_new();
	enum seed_send_rc rc;
	size_t n;

	if (out == NULL)
		log_fatal("no memory");
	s->moved_ms = clock_ms();
	rc = seed_send_step(&s->file, out);
	while (rc != SEED_SEND_FAIL && (n = evbuffer_get_contiguous_space(out)) > 0) {
		n = n < MIRROR_CHUNK ? n : MIRROR_CHUNK;
		s->bytes += n;
		send_frame(s, SM_DATA, evbuffer_pullup(out, (ev_ssize_t)n), n);
		evbuffer_drain(out, n);
	}
	evbuffer_free(out);
	if (rc == SEED_SEND_FAIL)
		stop_at_shard(s, "cannot read a file");
	else if (rc == SEED_SEND_DONE)
		end_file(s);
	return rc == SEED_SEND_MORE;
}

/* A delta may say much in few bytes: the steps of a turn are counted, so that the log's
 * channel has its turn too. */
void
seed_source_pump(struct seed_source *s)
{
	int n = 0;

	while (s->step == SEED_SENDING && bulk_unsent(s->bulk) < UNSENT_HIGH)
		if (!send_step(s))
			return;
		else if (++n == STEPS_A_TURN) {
			event_active(s->more, EV_TIMEOUT, 0);
			return;
		}
}

static void
on_more(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	seed_source_pump(arg);
}

static void
send_index(struct seed_source *s)
{
	int fd = s->index_fd;

	s->index_fd = -1;
	begin_file(s, fd, NULL);
}

/* ---- objects ----------------------------------------------------------- */

static void
next_batch(struct seed_source *s)
{
	uint8_t shas[SEED_BATCH * 32];
	ssize_t n = 0;
	size_t have = 0;
	struct wire_out w;

	while (s->list_fd != -1 && have < sizeof(shas) &&
	    (n = read(s->list_fd, shas + have, sizeof(shas) - have)) > 0)
		have += (size_t)n;
	if (n == -1 || have % 32 != 0) {
		stop_at_shard(s, "cannot read the list of objects");
		return;
	}
	if (have == 0) {
		send_index(s);
		return;
	}
	wire_out_init(&w);
	wire_put_u16(&w, s->shards[s->at_shard]);
	wire_put_raw(&w, shas, have);
	s->at.object += have / 32;
	s->step = SEED_HAVE;
	send_wire(s, SM_HAVE, &w);
}

static void
next_object(struct seed_source *s)
{
	const uint8_t *sha = s->missing + 32 * s->at_missing;

	if (s->at_missing == s->nmissing) {
		next_batch(s);
		return;
	}
	s->step = SEED_OBJECT;
	if (s->host->ask_object(s->host->arg, s->shards[s->at_shard], sha) == -1)
		stop_at_shard(s, "nobody reads objects");
}

/* An object that is gone since the snapshot: a later record says so, and the standby
 * will see that record. */
void
seed_source_object(struct seed_source *s, uint16_t shard, const uint8_t sha[32], bool ok,
    int fd)
{
	if (!expected(s, SEED_OBJECT, shard) ||
	    memcmp(sha, s->missing + 32 * s->at_missing, 32) != 0) {
		fs_close(&fd);
		return;
	}
	if (!ok || fd == -1) {
		fs_close(&fd);
		s->skipped++;
		s->at_missing++;
		next_object(s);
		return;
	}
	s->objects++;
	begin_file(s, fd, s->missing + 32 * s->at_missing);
}

/* An answer that never comes is no answer "it is gone": the attempt ends. */
void
seed_source_gone(struct seed_source *s, uint16_t shard)
{
	if (expected(s, SEED_SNAPSHOT, shard) || expected(s, SEED_OBJECT, shard))
		stop_at_shard(s, "the owner went away");
}

static void
on_missing(struct seed_source *s, struct span body)
{
	struct wire_in in;
	struct span rest;
	uint16_t shard;

	wire_in_init(&in, body.p, body.len);
	shard = wire_get_u16(&in);
	rest = wire_get_rest(&in);
	if (!expected(s, SEED_HAVE, shard) || rest.len % 32 != 0 ||
	    rest.len > sizeof(s->missing)) {
		seed_source_stop(s, "malformed answer of the standby");
		return;
	}
	memcpy(s->missing, rest.p, rest.len);
	s->nmissing = rest.len / 32;
	s->at_missing = 0;
	next_object(s);
}

/* How much of an object the standby has from an earlier attempt. */
static void
on_from(struct seed_source *s, struct span body)
{
	struct wire_in in;
	uint64_t from;

	wire_in_init(&in, body.p, body.len);
	from = wire_get_u64(&in);
	if (!wire_in_done(&in) || s->step != SEED_HAS || s->file.index ||
	    seed_send_from(&s->file, from) == -1) {
		seed_source_stop(s, "malformed answer of the standby");
		return;
	}
	s->resumed += from;
	s->step = SEED_SENDING;
	seed_source_pump(s);
}

static void
on_sums(struct seed_source *s, struct span body, bool end)
{
	if (s->step != SEED_HAS || !s->file.index ||
	    seed_send_sums(&s->file, body, end) == -1) {
		seed_source_stop(s, "malformed answer of the standby");
	} else if (end) {
		s->step = SEED_SENDING;
		seed_source_pump(s);
	}
}

static void
on_taken(struct seed_source *s)
{
	if (s->step != SEED_TAKEN) {
		seed_source_stop(s, "unexpected answer of the standby");
	} else if (s->file.index) {
		s->at_shard++;
		next_shard(s);
	} else {
		s->at_missing++;
		next_object(s);
	}
}

static void
on_abort(struct seed_source *s, struct span body)
{
	struct wire_in in;
	char text[200];

	wire_in_init(&in, body.p, body.len);
	wire_get_str(&in, text, sizeof(text));
	log_warnx("seeding stopped by the standby: %s", log_safe(text));
	(void)snprintf(s->error, sizeof(s->error), "%s", log_safe(text));
	seed_source_stop(s, NULL);
}

void
seed_source_frame(struct seed_source *s, uint8_t type, struct span body)
{
	if (s->step == SEED_IDLE)
		return;			/* the rest of an attempt that is over */
	s->moved_ms = clock_ms();
	switch (type) {
	case SM_MISSING: on_missing(s, body); break;
	case SM_FROM: on_from(s, body); break;
	case SM_SUMS: on_sums(s, body, false); break;
	case SM_SUMS_END: on_sums(s, body, true); break;
	case SM_TAKEN: on_taken(s); break;
	case SM_OK:
		if (s->step == SEED_FINISH)
			on_ok(s);
		break;
	case SM_ABORT: on_abort(s, body); break;
	default: seed_source_stop(s, "unexpected message of the standby");
	}
}

/* The standby follows the log again: nothing has to be held for it any more. */
static void
release(struct seed_source *s)
{
	const struct commit *c = s->host->commit;

	if (!s->kept || s->wanted || !c->peer_matched || c->peer_durable_lsn < s->lowest)
		return;
	s->host->keep_from(s->host->arg, 0);
	s->kept = false;
}

void
seed_source_tick(struct seed_source *s, int64_t now_ms)
{
	if (s->step != SEED_IDLE && now_ms - s->moved_ms > STALL_MS)
		seed_source_stop(s, "no progress for two minutes");
	if (!seed_source_may(s)) {
		s->wanted = false;
		seed_source_stop(s, "this node is not active any more");
		if (s->kept)
			s->host->keep_from(s->host->arg, 0);
		s->kept = false;
		return;
	}
	release(s);
	if (s->step == SEED_IDLE && s->host->commit->peer_matched)
		s->wanted = false;	/* it follows the log, though its last word was lost */
	if (s->wanted && s->step == SEED_IDLE && s->bulk != NULL && now_ms >= s->retry_ms)
		start(s);
}
