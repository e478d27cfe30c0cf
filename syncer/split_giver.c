/* split_giver.c - see split.h.  A standby in SPLIT says what is in its log behind the
 * fork, and gives that up only when the active says that it has all of it, up to this
 * node's very tip.
 *
 * Order at the end: the durable mark "not whole" first; a crash behind it leaves a node
 * that asks to be seeded, never one whose indexes are ahead of its log.  What was sent
 * is in forks/NAME/shard-N, durable before the active is told that it was the last. */
#include "split_giver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "agent_link.h"
#include "bulk.h"
#include "core.h"
#include "fs.h"
#include "log.h"
#include "mem.h"
#include "mirror_wire.h"
#include "owners.h"
#include "ship.h"
#include "split.h"
#include "wire.h"

#define UNSENT_HIGH (1u << 20)
#define SYNC_EACH (8u << 20)	/* one sync of everything would hold up the loop for long */

static void ask_shard(struct split_giver *);

static void
send_frame(struct split_giver *g, enum split_type type, const void *p, size_t n)
{
	if (g->bulk != NULL)
		bulk_send(g->bulk, (uint8_t)type, &g->s->commit.gen, p, n);
}

static void
send_wire(struct split_giver *g, enum split_type type, struct wire_out *w)
{
	send_frame(g, type, w->p, w->len);
	wire_out_clear(w);
}

static void
forget(struct split_giver *g)
{
	fs_close(&g->fd);
	fs_close(&g->keep_fd);
	EVP_MD_CTX_free(g->sha);
	g->sha = NULL;
	split_tails_clear(&g->tails);
	free(g->keep_dir);
	g->keep_dir = NULL;
	g->step = GIVER_IDLE;
}

void
split_giver_stop(struct split_giver *g, const char *why)
{
	struct wire_out w;

	if (g->step == GIVER_IDLE)
		return;
	forget(g);
	if (why == NULL)
		return;
	log_warnx("merge stopped: %s", why);
	wire_out_init(&w);
	wire_put_str(&w, why);
	send_wire(g, SP_FAIL, &w);
}

static void
refuse(struct split_giver *g, const char *why)
{
	g->step = GIVER_SETTLING;	/* so that the keeper hears it */
	split_giver_stop(g, why);
}

/* ---- asked ---- */

static const char *
objection(struct split_giver *g, const struct gen *sender, bool known, const uint8_t hash[16])
{
	struct syncd *s = g->s;
	uint8_t mine[16];
	uint16_t absent;

	if (s->commit.role != DATA_STANDBY || !s->commit.split || s->commit.seeding)
		return "the other node does not stand in SPLIT";
	if (sender->no < s->commit.fence_no)
		return "the other node knows of a newer generation";
	if (g->fork >= feed_tip(s->feed).lsn)
		return "the other node's log ends before the fork";
	if (known && feed_hash(s->feed, g->fork, mine) == 0 && memcmp(mine, hash, 16) != 0)
		return "the logs do not part where they were thought to";
	if (owners_absent(s->owners, &absent))
		return "an owner of a shard is away on the other node";
	if (!log_writer_settle(s->writer))
		return "the other node's log cannot be written";
	return NULL;
}

static void
on_ask(struct split_giver *g, const struct gen *sender, struct span body)
{
	struct commit_acts acts = { .n = 0 };
	struct log_tip tip = feed_tip(g->s->feed);
	struct wire_in in;
	uint8_t hash[16];
	bool known;
	const char *why;

	split_giver_stop(g, NULL);
	wire_in_init(&in, body.p, body.len);
	g->fork = wire_get_u64(&in);
	known = wire_get_u8(&in) != 0;
	wire_get_raw(&in, hash, 16);
	g->dry = wire_get_u8(&in) != 0;
	why = wire_in_done(&in) ? objection(g, sender, known, hash) : "malformed message";
	if (why != NULL) {
		refuse(g, why);
		return;
	}
	g->tip = tip.lsn;
	memcpy(g->tip_hash, tip.hash, 16);
	g->step = GIVER_SETTLING;
	log_info("merge: this node says what is in its log behind lsn=%llu, up to %llu",
	    (unsigned long long)g->fork, (unsigned long long)g->tip);
	commit_settle(&g->s->commit, &acts);
	core_run(g->s, &acts);
	split_giver_tick(g);
}

static bool
make_keep_dir(struct split_giver *g)
{
	char *path = mem_printf("%s/forks/split-gen-%llu-lsn-%llu", g->s->conf.log_directory,
	    (unsigned long long)g->s->commit.gen.no, (unsigned long long)g->fork + 1);

	free(g->keep_dir);
	g->keep_dir = path;
	return fs_mkdirs(path, 0700) == 0;
}

void
split_giver_tick(struct split_giver *g)
{
	if (g->step != GIVER_SETTLING || owners_applied(g->s->owners) < g->tip)
		return;
	if (!g->dry && !make_keep_dir(g)) {
		log_warn("merge: %s", g->keep_dir);
		split_giver_stop(g, "no folder for the copy that stays can be made");
	} else if (split_tails_begin(&g->tails, g->s, g->fork, g->tip) == -1) {
		split_giver_stop(g, "no file can be made on the other node");
	} else {
		g->step = GIVER_READING;
		g->at = 0;
		event_active(g->pump, EV_TIMEOUT, 0);
	}
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct split_giver *g = arg;
	int rc;

	(void)fd;
	(void)what;
	if (g->step != GIVER_READING)
		return;
	rc = split_tails_step(&g->tails);
	if (rc == -1)
		split_giver_stop(g, errno == ESRCH ? "an owner of a shard is away on the other node" :
		    "the other node's log cannot be read, or copied");
	else if (rc == 0)
		event_active(g->pump, EV_TIMEOUT, 0);
	else
		ask_shard(g);
}

/* ---- one shard ---- */

static void
last(struct split_giver *g)
{
	struct wire_out w;

	if (!g->dry && fs_sync_dir(g->keep_dir) == -1) {
		split_giver_stop(g, "the copy that stays cannot be made durable");
		return;
	}
	wire_out_init(&w);
	wire_put_u64(&w, g->tip);
	wire_put_raw(&w, g->tip_hash, 16);
	g->step = GIVER_LAST;
	send_wire(g, SP_LAST, &w);
}

static void
ask_shard(struct split_giver *g)
{
	uint16_t shard;
	int fd;

	if (g->at == g->tails.n) {
		last(g);
		return;
	}
	shard = g->tails.shards[g->at];
	fd = split_tails_take(&g->tails, shard);
	g->step = GIVER_ASKED;
	if (fd == -1 || owners_ask_changes(g->s->owners, shard, g->fork, g->tails.whole, fd) == -1)
		split_giver_stop(g, "an owner of a shard is away on the other node");
}

static bool
keep_copy(struct split_giver *g, uint16_t shard)
{
	char *path = mem_printf("%s/shard-%u", g->keep_dir, shard);

	g->keep_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (g->keep_fd == -1)
		log_warn("merge: %s", path);
	free(path);
	g->unsynced = 0;
	return g->keep_fd != -1;
}

static int
put_copy(struct split_giver *g, const void *p, size_t n)
{
	if (g->keep_fd == -1)
		return 0;
	if (fs_write_all(g->keep_fd, p, n) == -1)
		return -1;
	g->unsynced += n;
	if (g->unsynced < SYNC_EACH)
		return 0;
	g->unsynced = 0;
	return fdatasync(g->keep_fd);
}

void
split_giver_changes(struct split_giver *g, uint16_t shard, int fd)
{
	struct wire_out w;

	if (g->step != GIVER_ASKED || shard != g->tails.shards[g->at]) {
		fs_close(&fd);
		return;
	}
	g->fd = fd;
	if (fd == -1 || lseek(fd, 0, SEEK_SET) == -1) {
		split_giver_stop(g, "an owner on the other node could not say what changed there");
		return;
	}
	if (!g->dry && !keep_copy(g, shard)) {
		split_giver_stop(g, "the copy that stays cannot be made");
		return;
	}
	if ((g->sha = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(g->sha, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	wire_out_init(&w);
	wire_put_u16(&w, shard);
	g->step = GIVER_SENDING;
	send_wire(g, SP_SHARD, &w);
	split_giver_pump(g);
}

static void
end_file(struct split_giver *g)
{
	uint8_t sha[32];

	if (g->keep_fd != -1 && fsync(g->keep_fd) == -1) {
		log_warn("merge: %s", g->keep_dir);
		split_giver_stop(g, "the copy that stays cannot be made durable");
		return;
	}
	if (EVP_DigestFinal_ex(g->sha, sha, NULL) != 1)
		log_fatal("no SHA-256");
	EVP_MD_CTX_free(g->sha);
	g->sha = NULL;
	fs_close(&g->fd);
	fs_close(&g->keep_fd);
	g->step = GIVER_WAITING;
	send_frame(g, SP_END, sha, sizeof(sha));
}

void
split_giver_pump(struct split_giver *g)
{
	uint8_t buf[MIRROR_CHUNK];
	ssize_t n;

	while (g->step == GIVER_SENDING && bulk_unsent(g->bulk) < UNSENT_HIGH) {
		do
			n = read(g->fd, buf, sizeof(buf));
		while (n == -1 && errno == EINTR);
		if (n == 0) {
			end_file(g);
		} else if (n == -1 || put_copy(g, buf, (size_t)n) == -1) {
			log_warn("merge: a copy in %s", g->dry ? "-" : g->keep_dir);
			split_giver_stop(g, "what changed cannot be read or kept on the other node");
		} else {
			if (EVP_DigestUpdate(g->sha, buf, (size_t)n) != 1)
				log_fatal("no SHA-256");
			send_frame(g, SP_DATA, buf, (size_t)n);
		}
	}
}

void
split_giver_gone(struct split_giver *g, uint16_t shard)
{
	if (g->step == GIVER_ASKED && shard == g->tails.shards[g->at])
		split_giver_stop(g, "an owner of a shard went away on the other node");
}

/* ---- the end ---- */

static void
give_up(struct split_giver *g)
{
	struct syncd *s = g->s;
	struct commit_acts acts = { .n = 0 };
	char *dir;
	const char *name;

	if (core_mark_seeding(s, true) == -1) {
		log_warn("merge: cannot mark the log as being seeded");
		split_giver_stop(g, "the other node cannot write its mark; nothing was given up");
		return;
	}
	dir = g->keep_dir;
	name = strrchr(dir, '/') + 1;
	g->keep_dir = NULL;
	forget(g);		/* what changes now is meant to */
	if (feed_oldest(s->feed) <= g->fork + 1 && feed_cut(s->feed, g->fork, name) == -1)
		core_log_lost(s, "the tail cannot be cut", errno);
	log_warnx("merged: the records from=%llu to=%llu were given up, the other node has what "
	    "they did; they and it are kept in forks/%s", (unsigned long long)g->fork + 1,
	    (unsigned long long)g->tip, name);
	core_log_changed(s);
	owners_cut(s->owners, g->fork);
	commit_merged(&s->commit, &acts);
	core_run(s, &acts);
	send_frame(g, SP_GIVEN, NULL, 0);
	free(dir);
	agent_link_state(s->agent);
	ship_facts(s->ship);
}

static void
on_merged(struct split_giver *g, struct span body)
{
	struct wire_in in;
	uint8_t hash[16];
	uint64_t lsn;

	wire_in_init(&in, body.p, body.len);
	lsn = wire_get_u64(&in);
	wire_get_raw(&in, hash, 16);
	if (g->step != GIVER_LAST || g->dry || !wire_in_done(&in) || lsn != g->tip ||
	    memcmp(hash, g->tip_hash, 16) != 0 || feed_tip(g->s->feed).lsn != g->tip)
		split_giver_stop(g, "this is not the log that was merged");
	else
		give_up(g);
}

static void
on_taken(struct split_giver *g, struct span body)
{
	struct wire_in in;
	uint16_t shard;

	wire_in_init(&in, body.p, body.len);
	shard = wire_get_u16(&in);
	if (g->step != GIVER_WAITING || !wire_in_done(&in) || shard != g->tails.shards[g->at]) {
		split_giver_stop(g, "unexpected message");
		return;
	}
	g->at++;
	ask_shard(g);
}

void
split_giver_frame(struct split_giver *g, uint8_t type, const struct gen *sender, struct span body)
{
	if (type == SP_ASK)
		on_ask(g, sender, body);
	else if (g->step == GIVER_IDLE)
		return;			/* the rest of an attempt that is over */
	else if (type == SP_TAKEN)
		on_taken(g, body);
	else if (type == SP_MERGED)
		on_merged(g, body);
	else
		split_giver_stop(g, NULL);	/* SP_FAIL: the keeper gave up */
}

void
split_giver_init(struct split_giver *g, struct syncd *s)
{
	*g = (struct split_giver){ .s = s, .fd = -1, .keep_fd = -1 };
	if ((g->pump = event_new(s->base, -1, 0, on_pump, g)) == NULL)
		log_fatal("merge: no event");
}

void
split_giver_clear(struct split_giver *g)
{
	forget(g);
	event_free(g->pump);
}
