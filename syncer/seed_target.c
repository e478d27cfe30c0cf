/* seed_target.c - the standby's half of seeding: asks its owners what they have,
 * receives into unnamed files, verifies SHA-256, and offers to the owners, which put
 * things in place durably.
 *
 * Only a standby takes anything, and never from an older generation than the one its
 * log holds, and nothing while it holds what was acknowledged here and is not there
 * (seed_may).  syncd marks the state as not whole before the first byte (seed_start),
 * so a node that is cut off in the middle is never promoted. */
#define _GNU_SOURCE
#include "seed_target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bulk.h"
#include "fs.h"
#include "hex.h"
#include "log.h"
#include "seed.h"

#define FILE_MAX ((uint64_t)64 << 30)
#define GENS_MAX 256

void
seed_target_init(struct seed_target *t, const struct mirror_host *host)
{
	*t = (struct seed_target){ .host = host, .fd = -1 };
}

static void
forget_file(struct seed_target *t)
{
	if (t->fd != -1)
		close(t->fd);
	t->fd = -1;
	t->placing = false;
	EVP_MD_CTX_free(t->sha);
	t->sha = NULL;
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
	if (!wire_in_done(&in) || t->shard >= SHARD_MAX) {
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
	    rest.len > sizeof(t->asked) || t->nasked != 0 || t->fd != -1) {
		seed_target_stop(t, "malformed message");
		return;
	}
	memcpy(t->asked, rest.p, rest.len);
	t->nasked = rest.len / 32;
	t->at_asked = t->nmissing = 0;
	ask_next(t);
}

/* ---- a file ------------------------------------------------------------ */

static void
on_file(struct seed_target *t, struct span body)
{
	struct wire_in in;
	uint16_t shard;

	wire_in_init(&in, body.p, body.len);
	shard = wire_get_u16(&in);
	t->is_index = wire_get_u8(&in) != 0;
	wire_get_raw(&in, t->name, sizeof(t->name));
	if (!wire_in_done(&in) || shard != t->shard || t->nasked != 0 || t->fd != -1) {
		seed_target_stop(t, "malformed message");
		return;
	}
	t->bytes = 0;
	t->fd = open(t->host->spool_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (t->fd == -1 && errno == EOPNOTSUPP)
		t->fd = memfd_create("seed", MFD_CLOEXEC);
	if (t->fd == -1) {
		log_warn("seeding: no file in %s", t->host->spool_dir);
		seed_target_stop(t, "no file can be made on the standby");
		return;
	}
	if ((t->sha = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(t->sha, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
}

static void
on_data(struct seed_target *t, struct span body)
{
	t->bytes += body.len;
	if (t->fd == -1 || t->placing || t->bytes > FILE_MAX) {
		seed_target_stop(t, "data of no file, or too much");
	} else if (fs_write_all(t->fd, body.p, body.len) == -1) {
		log_warn("seeding: cannot write");
		seed_target_stop(t, "cannot write on the standby");
	} else if (EVP_DigestUpdate(t->sha, body.p, body.len) != 1) {
		log_fatal("no SHA-256");
	}
}

/* As it was sent; *rotten: and yet not the object that it is called. */
static bool
verified(struct seed_target *t, struct span body, bool *rotten)
{
	uint8_t sha[32];

	if (EVP_DigestFinal_ex(t->sha, sha, NULL) != 1)
		log_fatal("no SHA-256");
	*rotten = !t->is_index && memcmp(sha, t->name, 32) != 0;
	return body.len == 32 && memcmp(sha, body.p, 32) == 0;
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
on_file_end(struct seed_target *t, struct span body)
{
	bool rotten;
	int rc, fd;

	if (t->fd == -1 || t->placing || !verified(t, body, &rotten)) {
		seed_target_stop(t, "a file does not have its SHA-256");
		return;
	}
	if (rotten) {
		leave_out(t);
		return;
	}
	if (lseek(t->fd, 0, SEEK_SET) == -1 ||
	    (fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 3)) == -1) {
		seed_target_stop(t, "a file cannot be handed over");
		return;
	}
	t->placing = true;
	t->owed++;
	rc = t->is_index ? t->host->offer_index(t->host->arg, t->shard, t->lsn, fd) :
	    t->host->offer_object(t->host->arg, t->shard, t->name, fd);
	if (rc == -1)
		no_owner(t);
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
	} else if (t->placing && ok) {
		t->files++;
		t->seeded[shard] = t->seeded[shard] || t->is_index;
		forget_file(t);
		answer(t, SM_TAKEN, NULL);
	} else if (t->placing) {
		seed_target_stop(t, "an owner could not put a file in place");
	}
}

void
seed_target_gone(struct seed_target *t, uint16_t shard, unsigned offers)
{
	t->owed -= offers < t->owed ? offers : t->owed;
	if (t->on && offers > 0 && shard == t->shard)
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
	if (!wire_in_done(&in) || n > GENS_MAX || t->fd != -1 || t->nasked != 0) {
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
	answer(t, SM_OK, NULL);
}

static bool
begin(struct seed_target *t, const struct gen *sender)
{
	const struct commit *c = t->host->commit;

	t->gen = *sender;
	t->on = true;
	t->files = 0;
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
	t->host->seed_start(t->host->arg);
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
