/* split_keeper.c - see split.h.  The active asks the standby for what changed there
 * behind the fork, shard by shard, has it merged by its own owners, and says at the
 * end that all of it is in this log.
 *
 * A shard is confirmed only when its owner said that everything it proposed is
 * committed.  A merge that ends before its end has changed nothing at the giver. */
#include "split_keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "bulk.h"
#include "clock.h"
#include "core.h"
#include "ctl.h"
#include "fs.h"
#include "log.h"
#include "owners.h"
#include "ship.h"
#include "split.h"
#include "wire.h"

#define WAIT_MS 15000		/* for the fork to be found, and for a bulk connection */
#define STALL_MS 600000		/* the giver may be silent so long: it reads its log */

const char *
split_keeper_step_name(enum keeper_step step)
{
	static const char *const names[] = { "idle", "looking for the fork", "connecting",
		"reading the log", "asked the other node", "receiving", "merging", "handing over" };

	return names[step];
}

static void
step_to(struct split_keeper *k, enum keeper_step step)
{
	k->step = step;
	k->since_ms = k->moved_ms = clock_ms();
}

static void
send_wire(struct split_keeper *k, enum split_type type, struct wire_out *w)
{
	if (k->bulk != NULL)
		bulk_send(k->bulk, (uint8_t)type, &k->s->commit.gen, w->p, w->len);
	wire_out_clear(w);
}

static void
forget_file(struct split_keeper *k)
{
	fs_close(&k->fd);
	EVP_MD_CTX_free(k->sha);
	k->sha = NULL;
}

/* Takes the result out: what was done so far, for the caller and for `split show`. */
static void
finish(struct split_keeper *k, const char *error)
{
	bool half = error != NULL && !k->dry && json_array_size(k->shards) > 0;
	json_t *data = json_pack("{s:b, s:I, s:I, s:o, s:o, s:I}", "dry_run", k->dry, "fork",
	    (json_int_t)k->fork, "bytes", (json_int_t)k->all_bytes, "totals", k->totals,
	    "shards", k->shards, "ended_ms", (json_int_t)clock_wall_ms());

	k->totals = k->shards = NULL;
	forget_file(k);
	split_tails_clear(&k->tails);
	k->step = KEEPER_IDLE;
	if (error != NULL)
		json_object_set_new(data, "failed", json_string(error));
	json_decref(k->last);
	k->last = json_deep_copy(data);
	if (k->call == NULL) {
		json_decref(data);
		return;
	}
	ctl_done(k->call, error == NULL ? CTL_OK : half ? CTL_HALF_DONE : CTL_REFUSED, data, error,
	    NULL, error == NULL ? NULL : "nothing was given up; repeat it: hactl split resolve");
	k->call = NULL;
}

void
split_keeper_stop(struct split_keeper *k, const char *why)
{
	struct wire_out w;

	if (k->step == KEEPER_IDLE)
		return;
	log_warnx("merge stopped: %s", log_safe(why));
	if (k->step >= KEEPER_ASKED) {
		wire_out_init(&w);
		wire_put_str(&w, why);
		send_wire(k, SP_FAIL, &w);
	}
	if (k->step == KEEPER_MERGING)
		k->owed = k->shard;
	finish(k, why);
}

bool
split_keeper_may(const struct split_keeper *k)
{
	const struct commit *c = &k->s->commit;

	return c->role == DATA_ACTIVE && !c->fenced && !c->promoting && !c->failed &&
	    commit_serving(c);
}

/* ---- beginning ---- */

static void
on_call_gone(struct ctl_call *call, void *arg)
{
	struct split_keeper *k = arg;

	if (k->call == call)
		k->call = NULL;		/* the merge goes on */
}

void
split_keeper_resolve(struct split_keeper *k, struct ctl_call *call, bool dry)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;

	gmtime_r(&now, &tm);
	(void)strftime(k->stamp, sizeof(k->stamp), "%Y-%m-%d", &tm);
	k->dry = dry;
	k->call = call;
	k->fork = k->all_bytes = 0;
	k->shards = json_array();
	k->totals = json_object();
	ctl_on_gone(call, on_call_gone, k);
	step_to(k, KEEPER_FORK);
	ship_facts(k->s->ship);		/* the other one answers, and the fork is looked for */
}

static void
read_log(struct split_keeper *k)
{
	const struct commit *c = &k->s->commit;

	if (split_tails_begin(&k->tails, k->s, k->fork, c->commit_lsn) == -1) {
		split_keeper_stop(k, "no file can be made in the log directory");
		return;
	}
	step_to(k, KEEPER_READING);
	event_active(k->pump, EV_TIMEOUT, 0);
}

static void
ask(struct split_keeper *k)
{
	struct syncd *s = k->s;
	uint8_t hash[16] = { 0 };
	struct wire_out w;
	bool known = feed_hash(s->feed, k->fork, hash) == 0;

	log_info("merge of what the other node did alone fork=%llu dry_run=%d",
	    (unsigned long long)k->fork, k->dry);
	wire_out_init(&w);
	wire_put_u64(&w, k->fork);
	wire_put_u8(&w, known);
	wire_put_raw(&w, hash, 16);
	wire_put_u8(&w, k->dry);
	step_to(k, KEEPER_ASKED);
	send_wire(k, SP_ASK, &w);
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct split_keeper *k = arg;
	int rc;

	(void)fd;
	(void)what;
	if (k->step != KEEPER_READING)
		return;
	rc = split_tails_step(&k->tails);
	if (rc == -1)
		split_keeper_stop(k, errno == ESRCH ? "an owner of a shard is away on this node" :
		    "the log of this node cannot be read, or copied");
	else if (rc == 0)
		event_active(k->pump, EV_TIMEOUT, 0);
	else
		ask(k);
}

static void
owner_stalls(struct split_keeper *k)
{
	char why[160];

	(void)snprintf(why, sizeof(why), "shard %u: its owner on this node gets no further with the "
	    "merge for %d s (owner-stall-s); look at maild, or restart it", k->shard,
	    k->s->conf.owner_stall_s);
	split_keeper_stop(k, why);
}

void
split_keeper_proposed(struct split_keeper *k, uint16_t shard)
{
	if (k->step == KEEPER_MERGING && shard == k->shard)
		k->moved_ms = clock_ms();
}

void
split_keeper_tick(struct split_keeper *k, int64_t now_ms)
{
	uint16_t absent;

	if (k->step == KEEPER_FORK && ship_fork(k->s->ship, &k->fork)) {
		if (owners_absent(k->s->owners, &absent))
			split_keeper_stop(k, "an owner of a shard is away on this node");
		else
			step_to(k, KEEPER_BULK);
	}
	if (k->step == KEEPER_BULK && k->bulk != NULL)
		read_log(k);
	if (k->step == KEEPER_FORK && now_ms - k->since_ms > WAIT_MS)
		split_keeper_stop(k, "the place where the logs part was not found");
	else if (k->step == KEEPER_BULK && now_ms - k->since_ms > WAIT_MS)
		split_keeper_stop(k, "no bulk connection to the other node");
	else if ((k->step == KEEPER_ASKED || k->step == KEEPER_TAKING || k->step == KEEPER_MERGED) &&
	    now_ms - k->moved_ms > STALL_MS)
		split_keeper_stop(k, "the other node says nothing more");
	else if (k->step == KEEPER_MERGING &&
	    now_ms - k->moved_ms > (int64_t)k->s->conf.owner_stall_s * 1000)
		owner_stalls(k);
}

/* ---- one shard ---- */

static void
on_shard(struct split_keeper *k, struct span body)
{
	struct wire_in in;

	wire_in_init(&in, body.p, body.len);
	k->shard = wire_get_u16(&in);
	if (k->step != KEEPER_ASKED || !wire_in_done(&in)) {
		split_keeper_stop(k, "unexpected message of the other node");
		return;
	}
	k->bytes = 0;
	if ((k->fd = split_file(k->s)) == -1) {
		split_keeper_stop(k, "no file can be made in the log directory");
		return;
	}
	if ((k->sha = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(k->sha, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	step_to(k, KEEPER_TAKING);
}

static void
on_data(struct split_keeper *k, struct span body)
{
	if (k->step != KEEPER_TAKING) {
		split_keeper_stop(k, "unexpected message of the other node");
	} else if (fs_write_all(k->fd, body.p, body.len) == -1) {
		log_warn("merge: cannot write in %s", k->s->conf.log_directory);
		split_keeper_stop(k, "cannot write in the log directory");
	} else if (EVP_DigestUpdate(k->sha, body.p, body.len) != 1) {
		log_fatal("no SHA-256");
	} else {
		k->bytes += body.len;
	}
}

static void
merge_shard_here(struct split_keeper *k)
{
	struct owner_merge m = { .shard = k->shard, .whole = k->tails.whole, .dry = k->dry,
		.fork = k->fork, .stamp = k->stamp, .theirs_fd = k->fd };

	m.tail_fd = split_tails_take(&k->tails, k->shard);
	k->fd = -1;
	step_to(k, KEEPER_MERGING);
	if (m.tail_fd == -1) {
		close(m.theirs_fd);
		step_to(k, KEEPER_ASKED);
		split_keeper_stop(k, "a shard of the other node has no owner here");
	} else if (owners_ask_merge(k->s->owners, &m) == -1) {
		step_to(k, KEEPER_ASKED);	/* nobody will answer */
		split_keeper_stop(k, "an owner of a shard is away on this node");
	}
}

static void
on_end(struct split_keeper *k, struct span body)
{
	uint8_t sha[32];

	if (k->step != KEEPER_TAKING) {
		split_keeper_stop(k, "unexpected message of the other node");
		return;
	}
	if (EVP_DigestFinal_ex(k->sha, sha, NULL) != 1)
		log_fatal("no SHA-256");
	EVP_MD_CTX_free(k->sha);
	k->sha = NULL;
	if (body.len != 32 || memcmp(body.p, sha, 32) != 0 || lseek(k->fd, 0, SEEK_SET) == -1) {
		split_keeper_stop(k, "what came of the other node does not have its SHA-256");
		return;
	}
	k->all_bytes += k->bytes;
	merge_shard_here(k);
}

static void
add_numbers(json_t *totals, json_t *report)
{
	const char *key;
	json_t *v;

	json_object_foreach(report, key, v)
		if (json_is_integer(v))
			json_object_set_new(totals, key, json_integer(json_integer_value(v) +
			    json_integer_value(json_object_get(totals, key))));
}

void
split_keeper_merged(struct split_keeper *k, uint16_t shard, bool ok, struct span text)
{
	json_t *report;
	struct wire_out w;
	char why[300];

	if (shard == k->owed) {
		k->owed = 0;
		return;
	}
	if (k->step != KEEPER_MERGING || shard != k->shard)
		return;
	report = json_loadb(text.p, text.len, 0, NULL);
	if (!json_is_object(report)) {
		json_decref(report);
		report = json_object();
	}
	if (!ok) {
		step_to(k, KEEPER_ASKED);	/* it has answered */
		(void)snprintf(why, sizeof(why), "shard %u: %.200s", shard,
		    json_is_string(json_object_get(report, "error"))
		    ? json_string_value(json_object_get(report, "error")) : "it was not merged");
		json_decref(report);
		split_keeper_stop(k, why);
		return;
	}
	add_numbers(k->totals, report);
	json_object_set_new(report, "shard", json_integer(shard));
	json_array_append_new(k->shards, report);
	step_to(k, KEEPER_ASKED);
	wire_out_init(&w);
	wire_put_u16(&w, shard);
	send_wire(k, SP_TAKEN, &w);
}

void
split_keeper_gone(struct split_keeper *k, uint16_t shard)
{
	if (k->step == KEEPER_MERGING && shard == k->shard)
		split_keeper_stop(k, "the owner of a shard went away on this node");
	if (shard == k->owed)
		k->owed = 0;		/* it answers nothing any more */
}

/* ---- the end ---- */

/* A shard that only this node has, or that the other one left out, ends it too. */
static bool
all_taken(const struct split_keeper *k)
{
	for (size_t i = 0; i < k->tails.n; i++)
		if (k->tails.fd[i] != -1)
			return false;
	return true;
}

static void
on_last(struct split_keeper *k, struct span body)
{
	struct wire_out w;

	if (k->step != KEEPER_ASKED || body.len != 24) {
		split_keeper_stop(k, "unexpected message of the other node");
	} else if (!all_taken(k)) {
		split_keeper_stop(k, "the other node has no owner of a shard that is here");
	} else if (k->dry) {
		wire_out_init(&w);
		wire_put_str(&w, "it was only asked what would be done");
		send_wire(k, SP_FAIL, &w);
		finish(k, NULL);
	} else {
		step_to(k, KEEPER_MERGED);
		wire_out_init(&w);
		wire_put_raw(&w, body.p, body.len);
		send_wire(k, SP_MERGED, &w);
	}
}

static void
on_given(struct split_keeper *k)
{
	if (k->step != KEEPER_MERGED) {
		split_keeper_stop(k, "unexpected message of the other node");
		return;
	}
	log_info("merged what the other node did alone fork=%llu bytes=%llu",
	    (unsigned long long)k->fork, (unsigned long long)k->all_bytes);
	finish(k, NULL);
}

static void
on_fail(struct split_keeper *k, struct span body)
{
	struct wire_in in;
	char why[200];

	wire_in_init(&in, body.p, body.len);
	wire_get_str(&in, why, sizeof(why));
	split_keeper_stop(k, wire_in_done(&in) ? log_safe(why) : "the other node stopped it");
}

void
split_keeper_frame(struct split_keeper *k, uint8_t type, struct span body)
{
	if (k->step < KEEPER_ASKED)
		return;			/* the rest of an attempt that is over */
	k->moved_ms = clock_ms();
	switch (type) {
	case SP_SHARD: on_shard(k, body); break;
	case SP_DATA: on_data(k, body); break;
	case SP_END: on_end(k, body); break;
	case SP_LAST: on_last(k, body); break;
	case SP_GIVEN: on_given(k); break;
	default: on_fail(k, body); break;
	}
}

void
split_keeper_init(struct split_keeper *k, struct syncd *s)
{
	*k = (struct split_keeper){ .s = s, .fd = -1 };
	if ((k->pump = event_new(s->base, -1, 0, on_pump, k)) == NULL)
		log_fatal("merge: no event");
}

void
split_keeper_clear(struct split_keeper *k)
{
	split_keeper_stop(k, "syncd ends");
	json_decref(k->last);
	event_free(k->pump);
}
