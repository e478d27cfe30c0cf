/* seed_target.c - the standby's half of seeding: asks its owners what they have,
 * receives (seed_recv.c), and offers to the owners, which put things in place durably.
 * The connection is not read while what came is not yet where it belongs.
 *
 * Only a standby takes anything, and never from an older generation than the one its
 * log holds, and nothing while it holds what was acknowledged here and is not there
 * (seed_may).  syncd marks the state as not whole before the first byte (seed_start),
 * so a node that is cut off in the middle is never promoted. */
#define _GNU_SOURCE
#include "seed_target.h"

#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "bulk.h"
#include "clock.h"
#include "hex.h"
#include "log.h"
#include "mirror_wire.h"
#include "seed.h"

#define SEED_FILE_MAX ((uint64_t)64 << 30)
#define UNSENT_HIGH (1u << 20)
#define STEPS_A_TURN 16		/* of about 64 KiB */
#define GENS_MAX 256

static void on_more(evutil_socket_t, short, void *);

void
seed_target_init(struct seed_target *t, const struct mirror_host *host)
{
	*t = (struct seed_target){ .host = host };
	seed_recv_init(&t->recv);
	if ((t->more = event_new(host->base, -1, 0, on_more, t)) == NULL)
		log_fatal("no memory");
}

void
seed_target_clear(struct seed_target *t)
{
	seed_target_stop(t, NULL);
	seed_recv_clear(&t->recv);
	event_free(t->more);
}

static void
again(struct seed_target *t)
{
	event_active(t->more, EV_TIMEOUT, 0);
}

static void
hold(struct seed_target *t, bool on)
{
	if (t->held != on && t->bulk != NULL)
		bulk_read_enable(t->bulk, !on);
	t->held = on;
}

static void
forget_file(struct seed_target *t)
{
	hold(t, false);
	seed_recv_stop(&t->recv);
	t->file = SEED_NO_FILE;
}

static void
answer(struct seed_target *t, enum seed_type type, struct wire_out *w)
{
	bulk_send(t->bulk, (uint8_t)type, &t->gen, w != NULL ? w->p : NULL,
	    w != NULL ? w->len : 0);
	if (w != NULL)
		wire_out_clear(w);
}

void
seed_target_stop(struct seed_target *t, const char *why)
{
	struct wire_out w;
	bool was = t->on;

	forget_file(t);
	t->on = false;
	t->nasked = t->at_asked = 0;
	if (why == NULL || !was)
		return;
	log_warnx("seeding of this node stopped: %s", why);
	if (t->bulk == NULL)
		return;
	wire_out_init(&w);
	wire_put_str(&w, why);
	answer(t, SM_ABORT, &w);
}

/* ---- a shard, and what of it is here ----------------------------------- */

static void
on_shard(struct seed_target *t, struct span body)
{
	struct wire_in in;

	wire_in_init(&in, body.p, body.len);
	t->shard = wire_get_u16(&in);
	t->lsn = wire_get_u64(&in);
	t->at.shard = wire_get_u32(&in);
	t->at.shards = wire_get_u32(&in);
	t->at.objects = wire_get_u64(&in);
	t->at.object = 0;
	if (!wire_in_done(&in) || t->file != SEED_NO_FILE || t->shard >= SHARD_MAX) {
		seed_target_stop(t, "malformed message");
		return;
	}
	log_info("seeding shard=%u lsn=%llu", t->shard, (unsigned long long)t->lsn);
}

static void
no_owner(struct seed_target *t)
{
	t->owed--;
	seed_target_stop(t, "no owner of the shard is attached on the standby");
}

static void
ask_next(struct seed_target *t)
{
	struct wire_out w;

	if (t->at_asked < t->nasked) {
		t->owed++;
		if (t->host->offer_object(t->host->arg, t->shard, t->asked + 32 * t->at_asked,
		    -1) == -1)
			no_owner(t);
		return;
	}
	wire_out_init(&w);
	wire_put_u16(&w, t->shard);
	wire_put_raw(&w, t->missing, 32 * t->nmissing);
	t->nasked = t->at_asked = 0;
	answer(t, SM_MISSING, &w);
}

static void
on_have(struct seed_target *t, struct span body)
{
	struct wire_in in;
	struct span rest;
	uint16_t shard;

	wire_in_init(&in, body.p, body.len);
	shard = wire_get_u16(&in);
	rest = wire_get_rest(&in);
	if (!wire_in_ok(&in) || shard != t->shard || rest.len % 32 != 0 ||
	    rest.len > sizeof(t->asked) || t->nasked != 0 || t->file != SEED_NO_FILE) {
		seed_target_stop(t, "malformed message");
		return;
	}
	memcpy(t->asked, rest.p, rest.len);
	t->nasked = rest.len / 32;
	t->at.object += t->nasked;
	t->at_asked = t->nmissing = 0;
	ask_next(t);
}

/* ---- a file ------------------------------------------------------------ */

static void
no_file(struct seed_target *t)
{
	log_warn("seeding: no file in %s", t->host->spool_dir);
	seed_target_stop(t, "no file can be made on the standby");
}

static void
begin_object(struct seed_target *t, uint64_t size)
{
	bool says = seed_says(false, size);
	uint64_t have;
	struct wire_out w;

	if (seed_recv_object(&t->recv, t->host->spool_dir, t->name, size, says, &have) == -1) {
		no_file(t);
		return;
	}
	t->resumed = have > 0;
	t->resumed_bytes += have;
	t->file = SEED_COMING;
	if (!says)
		return;
	wire_out_init(&w);
	wire_put_u64(&w, have);
	answer(t, SM_FROM, &w);
}

/* fd: what the owner has, or -1. */
static void
begin_index(struct seed_target *t, int fd)
{
	if (seed_recv_index(&t->recv, t->host->spool_dir, t->shard, fd, SEED_FILE_MAX) == -1) {
		no_file(t);
		return;
	}
	t->resumed = true;
	t->file = SEED_SAYING;
	again(t);
}

static void
on_file(struct seed_target *t, struct span body)
{
	struct wire_in in;
	uint16_t shard;
	uint64_t size;

	wire_in_init(&in, body.p, body.len);
	shard = wire_get_u16(&in);
	t->is_index = wire_get_u8(&in) != 0;
	wire_get_raw(&in, t->name, sizeof(t->name));
	size = wire_get_u64(&in);
	if (!wire_in_done(&in) || shard != t->shard || t->nasked != 0 ||
	    t->file != SEED_NO_FILE || size > SEED_FILE_MAX) {
		seed_target_stop(t, "malformed message");
		return;
	}
	t->ended = false;
	if (!t->is_index) {
		begin_object(t, size);
		return;
	}
	t->file = SEED_OWN_ASKED;	/* what it has may be here before the call returns */
	if (seed_recv_knows(&t->recv, t->host->spool_dir, shard) ||
	    t->host->ask_snapshot(t->host->arg, shard) == -1)
		begin_index(t, -1);
}

void
seed_target_snapshot(struct seed_target *t, uint16_t shard, bool ok, int fd)
{
	if (!t->on || t->file != SEED_OWN_ASKED || shard != t->shard) {
		if (fd != -1)
			close(fd);
		return;
	}
	if (!ok && fd != -1) {
		close(fd);
		fd = -1;
	}
	begin_index(t, fd);
}

/* The sums of what is here, so much at a time as the connection takes. */
static void
say_sums(struct seed_target *t)
{
	struct evbuffer *out = evbuffer_new();
	enum seed_recv_rc rc;
	size_t n;

	if (out == NULL)
		log_fatal("no memory");
	rc = seed_recv_sums(&t->recv, out);
	while ((n = evbuffer_get_contiguous_space(out)) > 0) {
		n = n < MIRROR_CHUNK ? n : MIRROR_CHUNK;
		bulk_send(t->bulk, SM_SUMS, &t->gen, evbuffer_pullup(out, (ev_ssize_t)n), n);
		evbuffer_drain(out, n);
	}
	evbuffer_free(out);
	if (rc == SEED_RECV_FAIL) {
		seed_target_stop(t, "what is here of an index cannot be read");
	} else if (rc == SEED_RECV_DONE) {
		t->file = SEED_COMING;
		answer(t, SM_SUMS_END, NULL);
	} else {
		again(t);
	}
}

/* The active's copy is damaged: that must not keep this node from everything else. */
static void
leave_out(struct seed_target *t)
{
	char hex[65];

	log_err("seeding shard=%u: object %s is damaged on the other node and missing here",
	    t->shard, hex_encode(t->name, 32, hex));
	forget_file(t);
	answer(t, SM_TAKEN, NULL);
}

static void
place(struct seed_target *t)
{
	int rc, fd;

	if (!seed_recv_take(&t->recv, t->announced, &fd)) {
		if (!t->is_index && !t->resumed)
			leave_out(t);
		else
			seed_target_stop(t, "a file does not have its SHA-256");
		return;
	}
	t->file = SEED_PLACING;
	t->owed++;
	rc = t->is_index ? t->host->offer_index(t->host->arg, t->shard, t->lsn, fd) :
	    t->host->offer_object(t->host->arg, t->shard, t->name, fd);
	if (rc == -1)
		no_owner(t);
}

static void
take_steps(struct seed_target *t)
{
	enum seed_recv_rc rc = SEED_RECV_MORE;

	for (int n = 0; rc == SEED_RECV_MORE && n < STEPS_A_TURN; n++)
		rc = seed_recv_step(&t->recv);
	switch (rc) {
	case SEED_RECV_WAIT:
		hold(t, false);
		break;
	case SEED_RECV_MORE:
		hold(t, true);		/* until it is where it belongs */
		again(t);
		break;
	case SEED_RECV_DONE:
		hold(t, false);
		place(t);
		break;
	case SEED_RECV_FAIL:
		seed_target_stop(t, "a file cannot be put together on the standby");
		break;
	}
}

static void
on_data(struct seed_target *t, struct span body)
{
	t->bytes += body.len;
	if (t->file != SEED_COMING || t->ended) {
		seed_target_stop(t, "data of no file, or too much");
	} else if (seed_recv_data(&t->recv, body) == -1) {
		log_warn("seeding: cannot write");
		seed_target_stop(t, "cannot write on the standby");
	} else {
		take_steps(t);
	}
}

static void
on_file_end(struct seed_target *t, struct span body)
{
	if (t->file != SEED_COMING || t->ended || body.len != sizeof(t->announced)) {
		seed_target_stop(t, "malformed message");
		return;
	}
	memcpy(t->announced, body.p, sizeof(t->announced));
	t->ended = true;
	seed_recv_end(&t->recv);
	take_steps(t);
}

void
seed_target_pump(struct seed_target *t)
{
	if (!t->on || t->bulk == NULL)
		return;
	if (t->file == SEED_SAYING && bulk_unsent(t->bulk) < UNSENT_HIGH)
		say_sums(t);
	else if (t->file == SEED_COMING)
		take_steps(t);
}

static void
on_more(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	seed_target_pump(arg);
}

void
seed_target_offer(struct seed_target *t, uint16_t shard, bool ok)
{
	t->owed -= t->owed > 0;
	if (!t->on || shard != t->shard)
		return;
	if (t->at_asked < t->nasked) {
		if (!ok)
			memcpy(t->missing + 32 * t->nmissing++, t->asked + 32 * t->at_asked, 32);
		t->at_asked++;
		ask_next(t);
	} else if (t->file == SEED_PLACING && ok) {
		t->files++;
		t->seeded[shard] = t->seeded[shard] || t->is_index;
		seed_recv_placed(&t->recv);
		forget_file(t);
		answer(t, SM_TAKEN, NULL);
	} else if (t->file == SEED_PLACING) {
		seed_target_stop(t, "an owner could not put a file in place");
	}
}

void
seed_target_gone(struct seed_target *t, uint16_t shard, unsigned offers)
{
	t->owed -= offers < t->owed ? offers : t->owed;
	if (t->on && (offers > 0 || t->file == SEED_OWN_ASKED) && shard == t->shard)
		seed_target_stop(t, "the owner of the shard went away on the standby");
}

/* ---- the end ----------------------------------------------------------- */

/* A shard of this node that was not copied would lack what the log does not hold. */
static bool
all_seeded(struct seed_target *t)
{
	uint16_t shards[SHARD_MAX];
	size_t n = t->host->shards(t->host->arg, shards, SHARD_MAX);

	for (size_t i = 0; i < n; i++)
		if (!t->seeded[shards[i]]) {
			log_warnx("seeding: shard %u was not copied", shards[i]);
			return false;
		}
	return true;
}

static void
on_done(struct seed_target *t, struct span body)
{
	struct gen gens[GENS_MAX];
	uint8_t hash[16];
	struct wire_in in;
	uint64_t lsn;
	size_t n;

	wire_in_init(&in, body.p, body.len);
	lsn = wire_get_u64(&in);
	wire_get_raw(&in, hash, sizeof(hash));
	n = wire_get_u16(&in);
	for (size_t i = 0; i < n && i < GENS_MAX; i++)
		gen_get(&in, &gens[i]);
	if (!wire_in_done(&in) || n > GENS_MAX || t->file != SEED_NO_FILE || t->nasked != 0) {
		seed_target_stop(t, "malformed message");
		return;
	}
	if (!all_seeded(t)) {
		seed_target_stop(t, "a shard of the standby was not copied");
		return;
	}
	if (t->host->seed_done(t->host->arg, lsn, hash, gens, n) == -1) {
		seed_target_stop(t, "the standby's log cannot be set");
		return;
	}
	log_info("seeded lsn=%llu files=%llu", (unsigned long long)lsn,
	    (unsigned long long)t->files);
	t->on = false;
	seed_recv_forget(&t->recv, t->host->spool_dir);
	answer(t, SM_OK, NULL);
}

static bool
begin(struct seed_target *t, const struct gen *sender)
{
	const struct commit *c = t->host->commit;

	t->gen = *sender;
	t->on = true;
	t->files = t->bytes = t->resumed_bytes = 0;
	t->at = (struct seed_progress){ .since_ms = clock_ms() };
	memset(t->seeded, 0, sizeof(t->seeded));
	if (c->role != DATA_STANDBY || sender->no < c->gen.no) {
		seed_target_stop(t, c->role != DATA_STANDBY ? "the receiving node is active" :
		    "the sender is of an older generation");
		return false;
	}
	if (t->owed > 0) {	/* an answer to the last attempt would be taken for ours */
		seed_target_stop(t, "an owner still works for the last attempt");
		return false;
	}
	if (!t->host->seed_may(t->host->arg)) {
		seed_target_stop(t, "the standby may hold what was acknowledged alone");
		return false;
	}
	if (t->host->seed_start(t->host->arg) == -1) {
		log_warn("seeding: cannot mark the log as being seeded");
		seed_target_stop(t, "the standby cannot write its mark");
		return false;
	}
	return true;
}

void
seed_target_frame(struct seed_target *t, uint8_t type, const struct gen *sender,
    struct span body)
{
	if (!t->on && (type != SM_SHARD || !begin(t, sender)))
		return;			/* the rest of an attempt that is over */
	if (t->host->commit->role != DATA_STANDBY || sender->no < t->host->commit->gen.no) {
		seed_target_stop(t, "this node's role or generation changed");
		return;
	}
	switch (type) {
	case SM_SHARD: on_shard(t, body); break;
	case SM_HAVE: on_have(t, body); break;
	case SM_FILE: on_file(t, body); break;
	case SM_DATA: on_data(t, body); break;
	case SM_FILE_END: on_file_end(t, body); break;
	case SM_DONE: on_done(t, body); break;
	case SM_ABORT: seed_target_stop(t, NULL); break;
	default: seed_target_stop(t, "unexpected message");
	}
}
