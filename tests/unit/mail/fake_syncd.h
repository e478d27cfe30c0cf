/* fake_syncd.h - a syncd in the event loop of a test: one log in memory, commits at
 * once, or when told; keeps the log over reconnections. */
#ifndef FAKE_SYNCD_H
#define FAKE_SYNCD_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "fs.h"
#include "gen.h"
#include "hex.h"
#include "ipc.h"
#include "mem.h"
#include "owner.h"
#include "ownertail.h"

struct fake_record {
	uint64_t origin, lsn, gen_no;
	uint16_t shard;
	uint8_t type;
	bool committed, refused;
	char *payload;
	size_t len;
};

struct fake_syncd {
	struct event_base *base;
	struct event *accept;
	struct ipc *ipc;
	char path[128];
	int listen_fd;
	struct fake_record *log;
	size_t n;
	uint64_t lsn;
	struct gen gen;
	uint8_t copies;
	bool active, hold;		/* hold: what comes waits for fake_release() */
	enum owner_refusal refuse;	/* 0: commits */
	uint16_t shards[64];
	size_t nshards;
	uint64_t applied[64], checkpoint[64];
	unsigned offers_ok, offers_no;
	unsigned mends;			/* objects asked for */
	enum owner_mend mend_rc;	/* what it answers: OK with the bytes of mend_text */
	const char *mend_text;
	size_t mend_len;
	bool mend_silent;
	size_t refuse_at;		/* 0, or what comes behind so many is refused */
	int changes_fd;			/* what OWN_CHANGES brought, or -1 */
	unsigned changes;		/* answers of either kind */
	char *merged;			/* the newest report */
	bool merged_ok;
	unsigned merges;
	char verified[4096];		/* the last report; verified_ok: the owner's word */
	bool verified_ok;
	uint32_t verified_run;
	int snapshot_index, snapshot_list;
	uint64_t snapshot_lsn;
};

static void
fake_send(struct fake_syncd *f, uint16_t type, struct wire_out *w)
{
	if (f->ipc != NULL && ipc_send(f->ipc, type, 0, w->p, w->len, -1) == -1)
		abort();
	wire_out_clear(w);
}

static void
fake_role(struct fake_syncd *f)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, f->active);
	wire_put_u8(&w, 1);
	wire_put_u8(&w, f->copies);
	gen_put(&w, &f->gen);
	wire_put_u64(&w, f->lsn);
	fake_send(f, OWN_ROLE, &w);
}

static void
fake_word(struct fake_syncd *f, uint16_t type, uint16_t shard)
{
	struct wire_out w;

	wire_out_init(&w);
	if (type != OWN_BATCH_END)
		wire_put_u16(&w, shard);
	fake_send(f, type, &w);
}

static void
fake_send_record(struct fake_syncd *f, const struct fake_record *r, uint16_t shard)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, r->lsn);
	wire_put_u64(&w, r->gen_no);
	wire_put_u64(&w, r->origin);
	wire_put_u16(&w, shard);
	wire_put_u8(&w, r->type);
	wire_put_u8(&w, f->copies);
	wire_put_u64(&w, 1700000000000ull + r->lsn);
	wire_put_raw(&w, r->payload, r->len);
	fake_send(f, OWN_RECORD, &w);
}

static void
fake_commit(struct fake_syncd *f, struct fake_record *r)
{
	struct wire_out w;

	r->lsn = ++f->lsn;
	r->gen_no = f->gen.no;
	r->committed = true;
	wire_out_init(&w);
	wire_put_u64(&w, r->origin);
	wire_put_u64(&w, r->lsn);
	wire_put_u64(&w, r->gen_no);
	wire_put_u8(&w, f->copies);
	wire_put_u64(&w, 1700000000000ull + r->lsn);
	fake_send(f, OWN_COMMITTED, &w);
}

static void
fake_refuse(struct fake_syncd *f, struct fake_record *r, enum owner_refusal why)
{
	struct wire_out w;

	r->refused = true;
	wire_out_init(&w);
	wire_put_u64(&w, r->origin);
	wire_put_u8(&w, (uint8_t)why);
	fake_send(f, OWN_REFUSED, &w);
}

/* Commits (or refuses) everything that waits. */
static inline void
fake_release(struct fake_syncd *f, enum owner_refusal why)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->log[i].committed || f->log[i].refused)
			continue;
		if (why != 0)
			fake_refuse(f, &f->log[i], why);
		else
			fake_commit(f, &f->log[i]);
	}
	fake_word(f, OWN_BATCH_END, 0);
}

static struct fake_record *
fake_add(struct fake_syncd *f, uint64_t origin, uint16_t shard, uint8_t type, struct span body)
{
	struct fake_record *r;

	f->log = mem_grow(f->log, f->n + 1, sizeof(*f->log));
	r = &f->log[f->n++];
	memset(r, 0, sizeof(*r));
	r->origin = origin;
	r->shard = shard;
	r->type = type;
	r->payload = mem_copy(body.p == NULL ? "" : body.p, body.len);
	r->len = body.len;
	return r;
}

/* A new generation: its record in the stream of every shard, then the role. */
static inline void
fake_generation(struct fake_syncd *f, enum gen_kind kind, unsigned node)
{
	struct wire_out w;
	struct fake_record *r;

	f->gen = gen_make(f->gen.no, node, kind, 3, 0);
	wire_out_init(&w);
	gen_put(&w, &f->gen);
	r = fake_add(f, 0, SHARD_PAIR, OWNER_REC_GENERATION, wire_out_span(&w));
	wire_out_clear(&w);
	r->lsn = ++f->lsn;
	r->gen_no = f->gen.no;
	r->committed = true;
	for (size_t i = 0; i < f->nshards; i++)
		fake_send_record(f, r, f->shards[i]);
	fake_word(f, OWN_BATCH_END, 0);
	fake_role(f);
}

static void
fake_attach(struct fake_syncd *f, uint16_t shard, uint64_t from)
{
	size_t i;

	for (i = 0; i < f->nshards && f->shards[i] != shard; i++)
		;
	if (i == f->nshards)
		f->shards[f->nshards++] = shard;
	for (i = 0; i < f->n; i++)
		if (f->log[i].committed && f->log[i].lsn > from &&
		    (f->log[i].shard == shard || f->log[i].shard == SHARD_PAIR))
			fake_send_record(f, &f->log[i], shard);
	fake_word(f, OWN_BATCH_END, 0);
	fake_word(f, OWN_LIVE, shard);
}

static void
fake_append(struct fake_syncd *f, struct wire_in *in)
{
	uint64_t origin = wire_get_u64(in);
	uint16_t shard = wire_get_u16(in);
	uint8_t type = wire_get_u8(in);
	struct fake_record *r = fake_add(f, origin, shard, type, wire_get_rest(in));

	if (f->hold)
		return;
	if (f->refuse_at != 0 && f->n > f->refuse_at)
		fake_refuse(f, r, OWNER_BUSY);
	else if (f->refuse != 0)
		fake_refuse(f, r, f->refuse);
	else
		fake_commit(f, r);
	fake_word(f, OWN_BATCH_END, 0);
}

/* What the other node has of it. */
static void
fake_mend(struct fake_syncd *f, uint16_t shard, struct wire_in *in)
{
	struct wire_out w;
	uint8_t sha[32];
	int fd = -1;

	f->mends++;
	if (f->mend_silent)
		return;
	if (f->mend_rc == OWNER_MEND_OK) {
		fd = memfd_create("mend", MFD_CLOEXEC);
		if (fd == -1 || fs_write_all(fd, f->mend_text, f->mend_len) == -1)
			abort();
	}
	wire_get_raw(in, sha, 32);
	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_raw(&w, sha, 32);
	wire_put_u8(&w, (uint8_t)f->mend_rc);
	if (ipc_send(f->ipc, OWN_MENDED, 0, w.p, w.len, fd) == -1)
		abort();
	wire_out_clear(&w);
}

/* The records of a shard behind `fork`, as syncd would hand them over. */
static inline int
fake_tail(const struct fake_syncd *f, uint16_t shard, uint64_t fork)
{
	int fd = memfd_create("tail", MFD_CLOEXEC);

	if (fd == -1)
		abort();
	for (size_t i = 0; i < f->n; i++) {
		const struct fake_record *r = &f->log[i];
		const struct owner_record rec = { .lsn = r->lsn, .gen_no = r->gen_no,
			.shard = shard, .type = r->type, .copies = f->copies,
			.time_ms = (int64_t)(1700000000000ull + r->lsn),
			.payload = { r->payload, r->len } };

		if (r->committed && r->lsn > fork &&
		    (r->shard == shard || r->shard == SHARD_PAIR) &&
		    owner_tail_put(fd, &rec) == -1)
			abort();
	}
	return fd;
}

/* Asks for the changes behind `fork`; whole as the tail is (both are the caller's say). */
static inline void
fake_want_changes(struct fake_syncd *f, uint16_t shard, uint64_t fork, bool whole, int tail_fd)
{
	struct wire_out w;

	if (f->changes_fd != -1)
		close(f->changes_fd);
	f->changes_fd = -1;
	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_u64(&w, fork);
	wire_put_u8(&w, whole);
	if (ipc_send(f->ipc, OWN_CHANGES_WANTED, 0, w.p, w.len, tail_fd) == -1)
		abort();
	wire_out_clear(&w);
}

static inline void
fake_merge(struct fake_syncd *f, uint16_t shard, uint64_t fork, bool whole, bool dry,
    int tail_fd, int theirs_fd)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_u64(&w, fork);
	wire_put_u8(&w, whole);
	wire_put_u8(&w, dry);
	wire_put_str(&w, "2026-11-28");
	if (ipc_send(f->ipc, OWN_MERGE, 0, w.p, w.len, tail_fd) == -1 ||
	    ipc_send(f->ipc, OWN_MERGE_THEIRS, 0, w.p, 2, theirs_fd) == -1)
		abort();
	wire_out_clear(&w);
}

static void
fake_verified(struct fake_syncd *f, struct wire_in *in)
{
	struct span rest;

	f->verified_run = wire_get_u32(in);
	f->verified_ok = wire_get_u8(in) != 0;
	rest = wire_get_rest(in);
	snprintf(f->verified, sizeof(f->verified), "%.*s", (int)rest.len, rest.p);
}

static void
fake_got(struct ipc *ipc, const struct ipc_msg *m, void *arg)
{
	struct fake_syncd *f = arg;
	struct wire_in in;
	uint16_t shard;
	bool keep = false;

	(void)ipc;
	wire_in_init(&in, m->body.p, m->body.len);
	if (m->type == OWN_HELLO) {
		fake_role(f);
	} else if (m->type == OWN_APPEND) {
		fake_append(f, &in);
	} else if (m->type != OWN_HELLO) {
		shard = wire_get_u16(&in);
		if (m->type == OWN_ATTACH)
			fake_attach(f, shard, wire_get_u64(&in));
		else if (m->type == OWN_APPLIED)
			f->applied[shard % 64] = wire_get_u64(&in);
		else if (m->type == OWN_CHECKPOINT)
			f->checkpoint[shard % 64] = wire_get_u64(&in);
		else if (m->type == OWN_OFFER_ANSWER)
			*(wire_get_u8(&in) ? &f->offers_ok : &f->offers_no) += 1;
		else if (m->type == OWN_VERIFIED)
			fake_verified(f, &in);
		else if (m->type == OWN_MEND)
			fake_mend(f, shard, &in);
		else if (m->type == OWN_SNAPSHOT_DONE) {
			f->snapshot_lsn = wire_get_u64(&in);
			f->snapshot_index = m->fd;
			keep = true;
		} else if (m->type == OWN_SNAPSHOT_LIST) {
			f->snapshot_list = m->fd;
			keep = true;
		} else if (m->type == OWN_CHANGES) {
			f->changes_fd = m->fd;
			f->changes++;
			keep = true;
		} else if (m->type == OWN_MERGED) {
			f->merged_ok = wire_get_u8(&in) != 0;
			free(f->merged);
			f->merged = span_dup(wire_get_rest(&in));
			f->merges++;
		}
	}
	if (m->fd != -1 && !keep)
		close(m->fd);
}

static void
fake_gone(struct ipc *ipc, const char *why, void *arg)
{
	(void)why;
	ipc_free(ipc);
	((struct fake_syncd *)arg)->ipc = NULL;
}

static void
fake_accept(evutil_socket_t fd, short what, void *arg)
{
	struct fake_syncd *f = arg;
	int c = accept(fd, NULL, NULL);

	(void)what;
	if (c == -1)
		abort();
	ipc_free(f->ipc);
	f->nshards = 0;
	f->ipc = ipc_new(f->base, c, IPC_BODY_MAX, fake_got, fake_gone, f);
}

static void
fake_start(struct fake_syncd *f, struct event_base *base, const char *dir)
{
	memset(f, 0, sizeof(*f));
	f->base = base;
	f->active = true;
	f->copies = 2;
	f->snapshot_index = f->snapshot_list = f->changes_fd = -1;
	f->gen = gen_make(0, 0, GEN_CLEAN, 3, 0);
	snprintf(f->path, sizeof(f->path), "%s/owner.sock", dir);
	if ((f->listen_fd = ipc_listen(f->path, 0600, getgid())) == -1)
		abort();
	f->accept = event_new(base, f->listen_fd, EV_READ | EV_PERSIST, fake_accept, f);
	event_add(f->accept, NULL);
}

static void
fake_stop(struct fake_syncd *f)
{
	ipc_free(f->ipc);
	event_free(f->accept);
	close(f->listen_fd);
	unlink(f->path);
	for (size_t i = 0; i < f->n; i++)
		free(f->log[i].payload);
	free(f->log);
	free(f->merged);
	if (f->changes_fd != -1)
		close(f->changes_fd);
	if (f->snapshot_index != -1)
		close(f->snapshot_index);
	if (f->snapshot_list != -1)
		close(f->snapshot_list);
}

static inline void
fake_loop(struct event_base *base, int ms)
{
	const struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

#endif
