/* owner.c - the client of syncd's owner socket: what is proposed and not yet
 * settled, and where each shard's stream stands.
 *
 * Promises: a token ends in exactly one record() or refused(), also over any number
 * of reconnections; a shard's records come in LSN order, each once; no answer from
 * inside owner_append().  An append that was sent and not answered when the
 * connection broke has an unknown outcome: it is proposed again only after the
 * replay of its shard has reached the present without it (OWN_LIVE).
 *
 * What can fail: syncd is away.  Up to OWNER_AWAY_MS everything waits as if nothing
 * had happened; then the role turns inactive and what was never sent is refused.
 * Does not: apply, decide about roles, or read the log. */
#include "owner.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "fs.h"
#include "hex.h"
#include "ipc.h"
#include "log.h"
#include "mem.h"

#define OWNER_RETRY_MS 250
#define OWNER_AWAY_MS 5000
#define OWNER_HELD_MAX (64u << 20)	/* bytes held while syncd is away */
#define APPEND_HEAD 11			/* u64 origin, u16 shard, u8 type */

struct append {				/* one proposal; body is the OWN_APPEND frame */
	TAILQ_ENTRY(append) next;
	uint64_t origin;
	uint16_t shard;
	uint8_t type;
	bool sent;			/* on this connection */
	bool maybe_logged;		/* was sent once: its outcome is syncd's to tell */
	bool undecided;			/* the owner was told so */
	uint8_t refusal;		/* when doomed */
	size_t len;			/* of body */
	char body[];
};
TAILQ_HEAD(append_list, append);

struct stream {				/* one attached shard */
	uint16_t shard;
	bool live;			/* replay has reached the present */
	bool was_live;			/* on this connection: a second attach keeps the role */
	bool rewinding;			/* still sees what the attach before this one sent */
	uint64_t seen;			/* the newest delivered; attach asks for what follows */
	uint64_t rewound;		/* seen before the rewind */
};

struct owner {
	struct event_base *base;
	char *path;
	struct owner_ops ops;
	void *arg;
	struct ipc *ipc;		/* NULL: not connected */
	struct event *retry, *deferred;
	int64_t away_since;		/* 0: connected */
	struct owner_role told, wire;	/* what the owner was told, what syncd said last */
	bool ever_told, wire_known;
	uint32_t origin_hi, origin_lo;
	struct stream *streams;
	size_t nstreams;
	struct append_list pending, doomed;
	size_t npending, pending_bytes;
	struct owner_merge merge;	/* its second descriptor is on its way */
	char stamp[OWNER_STAMP_MAX + 1];
};

const char *
owner_refusal_name(enum owner_refusal r)
{
	static const char *const names[] = { "none", "not-active", "not-twice", "disk-full",
		"busy", "failed" };

	return (size_t)r < sizeof(names) / sizeof(*names) ? names[r] : "unknown";
}

const char *
owner_mend_name(enum owner_mend r)
{
	static const char *const names[] = { "ok", "no-peer", "absent", "bad" };

	return (size_t)r < sizeof(names) / sizeof(*names) ? names[r] : "unknown";
}

static void undecided_all(struct owner *);

static struct stream *
stream_find(struct owner *o, uint16_t shard)
{
	for (size_t i = 0; i < o->nstreams; i++)
		if (o->streams[i].shard == shard)
			return &o->streams[i];
	return NULL;
}

/* ---- role ---- */

static bool
streams_live(const struct owner *o)
{
	for (size_t i = 0; i < o->nstreams; i++)
		if (!o->streams[i].was_live)
			return false;
	return true;
}

/* The owner hears "active" only when every shard has everything that was there
 * before; it hears "not active" at once. */
static void
role_tell(struct owner *o)
{
	struct owner_role r = o->wire;
	bool was = o->ever_told && o->told.active;

	if (!o->wire_known)
		return;
	if (!streams_live(o)) {
		if (o->ever_told && o->told.active && r.active)
			return;		/* a short absence of syncd: nothing has changed yet */
		r.active = r.live = false;
	}
	if (o->ever_told && r.active == o->told.active && r.live == o->told.live &&
	    r.copies == o->told.copies && gen_same(&r.gen, &o->told.gen)) {
		o->told.commit_lsn = r.commit_lsn;
		return;
	}
	o->told = r;
	o->ever_told = true;
	o->ops.role(o->arg, &o->told);
	if (was && !r.active)
		undecided_all(o);
}

/* ---- proposals ---- */

static void
append_settle(struct owner *o, struct append *a)
{
	TAILQ_REMOVE(&o->pending, a, next);
	o->npending--;
	o->pending_bytes -= a->len;
}

/* Commits come in the order of the proposals, so this is nearly always the head. */
static struct append *
append_find(struct owner *o, uint64_t origin)
{
	struct append *a;

	if ((uint32_t)(origin >> 32) != o->origin_hi)
		return NULL;
	TAILQ_FOREACH(a, &o->pending, next)
		if (a->origin == origin)
			return a;
	return NULL;
}

/* The proposal stays: only who waits for it is let go. */
static void
append_undecided(struct owner *o, struct append *a)
{
	if (a->undecided || !a->maybe_logged)
		return;
	a->undecided = true;
	if (o->ops.undecided != NULL)
		o->ops.undecided(o->arg, a->origin);
}

/* A callback may propose more, which is put at the end, and takes nothing away. */
static void
undecided_all(struct owner *o)
{
	struct append *a;

	TAILQ_FOREACH(a, &o->pending, next)
		append_undecided(o, a);
}

static void
append_send(struct owner *o, struct append *a)
{
	if (ipc_send(o->ipc, OWN_APPEND, 0, a->body, a->len, -1) == 0)
		a->sent = a->maybe_logged = true;
	/* else the channel is dying: on_gone follows, and the next connection sends it */
}

static void
append_doom(struct owner *o, struct append *a, enum owner_refusal why)
{
	const struct timeval now = { 0, 0 };

	append_settle(o, a);
	a->refusal = (uint8_t)why;
	TAILQ_INSERT_TAIL(&o->doomed, a, next);
	evtimer_add(o->deferred, &now);
}

static void
on_deferred(evutil_socket_t fd, short what, void *arg)
{
	struct owner *o = arg;
	struct append *a;

	(void)fd;
	(void)what;
	while ((a = TAILQ_FIRST(&o->doomed)) != NULL) {
		TAILQ_REMOVE(&o->doomed, a, next);
		o->ops.refused(o->arg, a->origin, a->refusal);
		free(a);
	}
}

uint64_t
owner_append(struct owner *o, uint16_t shard, uint8_t type, const struct span *parts,
    size_t nparts)
{
	struct stream *s = stream_find(o, shard);
	struct append *a;
	size_t len = APPEND_HEAD;
	char *p;

	assert(s != NULL && type != OWNER_REC_GENERATION);
	for (size_t i = 0; i < nparts; i++)
		len += parts[i].len;
	assert(len - APPEND_HEAD <= OWNER_PAYLOAD_MAX);
	a = mem_alloc(sizeof(*a) + len);
	a->origin = (uint64_t)o->origin_hi << 32 | ++o->origin_lo;
	a->shard = shard;
	a->type = type;
	a->len = len;
	wire_store64(a->body, a->origin);
	wire_store16(a->body + 8, shard);
	a->body[10] = (char)type;
	p = a->body + APPEND_HEAD;
	for (size_t i = 0; i < nparts; i++) {
		if (parts[i].len > 0)
			memcpy(p, parts[i].p, parts[i].len);
		p += parts[i].len;
	}
	TAILQ_INSERT_TAIL(&o->pending, a, next);
	o->npending++;
	o->pending_bytes += len;
	if (o->ipc != NULL && s->live)
		append_send(o, a);
	else if (o->away_since != 0 && clock_ms() - o->away_since > OWNER_AWAY_MS)
		append_doom(o, a, OWNER_NOT_ACTIVE);
	else if (o->pending_bytes > OWNER_HELD_MAX)
		append_doom(o, a, OWNER_BUSY);
	return a->origin;
}

size_t
owner_pending(const struct owner *o, size_t *bytes)
{
	if (bytes != NULL)
		*bytes = o->pending_bytes;
	return o->npending;
}

const struct owner_role *
owner_role(const struct owner *o)
{
	return &o->told;
}

/* ---- streams ---- */

static void
attach_send(struct owner *o, const struct stream *s)
{
	uint8_t body[10];

	wire_store16(body, s->shard);
	wire_store64(body + 2, s->seen);
	ipc_send(o->ipc, OWN_ATTACH, 0, body, sizeof(body), -1);
}

void
owner_attach(struct owner *o, uint16_t shard, uint64_t from)
{
	struct stream *s = stream_find(o, shard);

	if (s == NULL) {
		o->streams = mem_grow(o->streams, o->nstreams + 1, sizeof(*o->streams));
		s = &o->streams[o->nstreams++];
		memset(s, 0, sizeof(*s));
		s->shard = shard;
	} else if (from == OWNER_FROM_LOST) {
		s->was_live = s->rewinding = false;
	} else if (o->ipc != NULL && s->seen != OWNER_FROM_LOST && from < s->seen) {
		/* What is on its way from the attach before is newer than `rewound`; the new
		 * stream begins with something that is not. */
		if (!s->rewinding)
			s->rewound = s->seen;
		s->rewinding = true;
	}
	s->seen = from;
	s->live = false;
	if (o->ipc != NULL)
		attach_send(o, s);
}

/* Is this record the next of its stream?  Older ones come twice after an attach. */
static bool
stream_take(struct stream *s, uint64_t lsn)
{
	if (s->rewinding) {
		if (lsn > s->rewound)
			return false;
		s->rewinding = false;
	}
	if (lsn <= s->seen)
		return false;
	s->seen = lsn;
	return true;
}

static void
stream_live(struct owner *o, struct stream *s)
{
	struct append *a;

	if (s->rewinding || s->seen == OWNER_FROM_LOST)
		return;			/* said about the attach before */
	s->live = s->was_live = true;
	TAILQ_FOREACH(a, &o->pending, next)
		if (a->shard == s->shard && !a->sent)
			append_send(o, a);
	role_tell(o);
}

/* ---- what syncd says; each returns false when it cannot be understood ---- */

static bool
got_record(struct owner *o, struct wire_in *in)
{
	struct owner_record r = { 0 };
	struct append *a;
	struct stream *s;
	uint64_t origin, token = 0;

	r.lsn = wire_get_u64(in);
	r.gen_no = wire_get_u64(in);
	origin = wire_get_u64(in);
	r.shard = wire_get_u16(in);
	r.type = wire_get_u8(in);
	r.copies = wire_get_u8(in);
	r.time_ms = (int64_t)wire_get_u64(in);
	r.payload = wire_get_rest(in);
	if (!wire_in_ok(in) || r.payload.len > OWNER_PAYLOAD_MAX)
		return false;
	if ((s = stream_find(o, r.shard)) == NULL || !stream_take(s, r.lsn))
		return true;
	a = append_find(o, origin);
	if (a != NULL) {
		append_settle(o, a);
		token = a->origin;
	}
	o->ops.record(o->arg, &r, token);
	free(a);
	return true;
}

static bool
got_committed(struct owner *o, struct wire_in *in)
{
	struct owner_record r = { 0 };
	struct append *a;
	struct stream *s;
	uint64_t origin = wire_get_u64(in);

	r.lsn = wire_get_u64(in);
	r.gen_no = wire_get_u64(in);
	r.copies = wire_get_u8(in);
	r.time_ms = (int64_t)wire_get_u64(in);
	if (!wire_in_done(in) || (a = append_find(o, origin)) == NULL)
		return false;
	s = stream_find(o, a->shard);
	if (!stream_take(s, r.lsn))
		return true;		/* comes again as a record, and is settled then */
	append_settle(o, a);
	r.shard = a->shard;
	r.type = a->type;
	r.payload = (struct span){ a->body + APPEND_HEAD, a->len - APPEND_HEAD };
	o->ops.record(o->arg, &r, a->origin);
	free(a);
	return true;
}

static bool
got_refused(struct owner *o, struct wire_in *in)
{
	uint64_t origin = wire_get_u64(in);
	uint8_t why = wire_get_u8(in);
	struct append *a;

	if (!wire_in_done(in) || why < OWNER_NOT_ACTIVE || why > OWNER_FAILED)
		return false;
	if ((a = append_find(o, origin)) == NULL)
		return true;
	append_settle(o, a);
	o->ops.refused(o->arg, origin, why);
	free(a);
	return true;
}

static bool
got_undecided(struct owner *o, struct wire_in *in)
{
	struct append *a;
	uint64_t origin = wire_get_u64(in);

	if (!wire_in_done(in))
		return false;
	if ((a = append_find(o, origin)) != NULL)
		append_undecided(o, a);
	return true;
}

static bool
got_role(struct owner *o, struct wire_in *in)
{
	struct owner_role r = { 0 };

	r.active = wire_get_u8(in) != 0;
	r.live = wire_get_u8(in) != 0;
	r.copies = wire_get_u8(in);
	gen_get(in, &r.gen);
	r.commit_lsn = wire_get_u64(in);
	if (!wire_in_done(in))
		return false;
	o->wire = r;
	o->wire_known = true;
	role_tell(o);
	return true;
}

static bool
got_shard_word(struct owner *o, uint16_t type, struct wire_in *in)
{
	uint16_t shard = wire_get_u16(in);
	struct stream *s = stream_find(o, shard);

	if (!wire_in_done(in))
		return false;
	if (s == NULL)
		return true;
	if (type == OWN_LIVE)
		stream_live(o, s);
	else if (o->ops.snapshot != NULL)
		o->ops.snapshot(o->arg, shard);
	else
		owner_snapshot_done(o, shard, 0, -1, -1);
	return true;
}

/* fd is ours to pass on or close. */
static bool
got_seed(struct owner *o, uint16_t type, struct wire_in *in, int fd)
{
	uint16_t shard = wire_get_u16(in);
	uint64_t lsn = type == OWN_INDEX_OFFERED ? wire_get_u64(in) : 0;
	uint8_t sha[32] = { 0 };

	if (type != OWN_INDEX_OFFERED)
		wire_get_raw(in, sha, sizeof(sha));
	if (type == OWN_OBJECT_OFFERED && (wire_get_u8(in) != 0) != (fd != -1))
		in->bad = true;
	if (!wire_in_done(in) || (type == OWN_INDEX_OFFERED && fd == -1)) {
		if (fd != -1)
			close(fd);
		return false;
	}
	if (type == OWN_INDEX_OFFERED && o->ops.index_offered != NULL)
		o->ops.index_offered(o->arg, shard, lsn, fd);
	else if (type == OWN_OBJECT_OFFERED && o->ops.object_offered != NULL)
		o->ops.object_offered(o->arg, shard, sha, fd);
	else if (type == OWN_OBJECT_WANTED && o->ops.object_wanted != NULL)
		o->ops.object_wanted(o->arg, shard, sha);
	else {
		if (fd != -1)
			close(fd);
		if (type == OWN_OBJECT_WANTED)
			owner_object_answer(o, shard, sha, -1);
		else
			owner_offer_answer(o, shard, false);
	}
	return true;
}

static void
forget_merge(struct owner *o)
{
	fs_close(&o->merge.tail_fd);
	o->merge.shard = 0;
}

static bool
got_merge(struct owner *o, struct wire_in *in, int fd)
{
	struct owner_merge m = { .stamp = o->stamp, .tail_fd = fd, .theirs_fd = -1 };

	forget_merge(o);
	m.shard = wire_get_u16(in);
	m.fork = wire_get_u64(in);
	m.whole = wire_get_u8(in) != 0;
	m.dry = wire_get_u8(in) != 0;
	wire_get_str(in, o->stamp, sizeof(o->stamp));
	o->merge = m;
	if (wire_in_done(in) && fd != -1)
		return true;
	forget_merge(o);
	return false;
}

static bool
got_theirs(struct owner *o, struct wire_in *in, int fd)
{
	struct owner_merge m = o->merge;
	bool good = wire_get_u16(in) == m.shard && wire_in_done(in) && m.tail_fd != -1 && fd != -1;

	o->merge.tail_fd = -1;
	m.theirs_fd = fd;
	if (good && o->ops.merge != NULL) {
		o->ops.merge(o->arg, &m);
		return true;
	}
	fs_close(&m.tail_fd);
	fs_close(&m.theirs_fd);
	if (good)
		owner_merge_done(o, m.shard, false, "{\"error\": \"the shard cannot be merged\"}");
	return good;
}

static bool
got_changes_wanted(struct owner *o, struct wire_in *in, int fd)
{
	uint16_t shard = wire_get_u16(in);
	uint64_t fork = wire_get_u64(in);
	bool whole = wire_get_u8(in) != 0;

	if (!wire_in_done(in) || fd == -1) {
		fs_close(&fd);
		return false;
	}
	if (o->ops.changes != NULL) {
		o->ops.changes(o->arg, shard, fork, whole, fd);
		return true;
	}
	fs_close(&fd);
	owner_changes_done(o, shard, -1);
	return true;
}

/* fd is ours to pass on or close. */
static bool
got_mended(struct owner *o, struct wire_in *in, int fd)
{
	uint16_t shard = wire_get_u16(in);
	uint8_t sha[32], rc;
	bool good;

	wire_get_raw(in, sha, sizeof(sha));
	rc = wire_get_u8(in);
	good = wire_in_done(in) && rc <= OWNER_MEND_BAD && (rc == OWNER_MEND_OK) == (fd != -1);
	if (good && o->ops.mended != NULL)
		o->ops.mended(o->arg, shard, sha, rc, fd);
	else if (fd != -1)
		close(fd);
	return good;
}

static bool
got_verify(struct owner *o, uint16_t type, struct wire_in *in)
{
	uint16_t shard = wire_get_u16(in);
	struct owner_verify v = { 0 };

	if (type == OWN_VERIFY) {
		v.run = wire_get_u32(in);
		v.rate = wire_get_u64(in);
		v.repair = wire_get_u8(in) != 0;
	}
	if (!wire_in_done(in))
		return false;
	if (type == OWN_VERIFY && o->ops.verify != NULL)
		o->ops.verify(o->arg, shard, &v);
	else if (type == OWN_VERIFY)
		owner_verified(o, shard, v.run, false, "{\"error\": \"it cannot be verified\"}");
	else if (o->ops.verify_stop != NULL)
		o->ops.verify_stop(o->arg, shard);
	return true;
}

static void
lost(struct owner *o, const char *why)
{
	const struct timeval soon = { 0, OWNER_RETRY_MS * 1000 };
	struct append *a;

	log_warnx("owner: connection to syncd lost: %s; %zu proposals under way", why,
	    o->npending);
	ipc_free(o->ipc);
	o->ipc = NULL;
	forget_merge(o);
	o->away_since = clock_ms();
	o->wire_known = false;
	TAILQ_FOREACH(a, &o->pending, next)
		a->sent = false;	/* outcome unknown until the shard is live again */
	for (size_t i = 0; i < o->nstreams; i++)
		o->streams[i].live = o->streams[i].was_live = o->streams[i].rewinding = false;
	evtimer_add(o->retry, &soon);
}

static void
on_msg(struct ipc *ipc, const struct ipc_msg *m, void *arg)
{
	struct owner *o = arg;
	struct wire_in in;
	bool ok = true, seed = m->type == OWN_OBJECT_WANTED ||
	    m->type == OWN_OBJECT_OFFERED || m->type == OWN_INDEX_OFFERED;
	bool mended = m->type == OWN_MENDED;
	bool merge = m->type >= OWN_CHANGES_WANTED && m->type <= OWN_MERGE_THEIRS;

	(void)ipc;
	wire_in_init(&in, m->body.p, m->body.len);
	if (m->fd != -1 && !seed && !merge && !mended)
		close(m->fd);
	if (seed)
		ok = got_seed(o, m->type, &in, m->fd);
	else if (mended)
		ok = got_mended(o, &in, m->fd);
	else if (m->type == OWN_VERIFY || m->type == OWN_VERIFY_STOP)
		ok = got_verify(o, m->type, &in);
	else if (m->type == OWN_CHANGES_WANTED)
		ok = got_changes_wanted(o, &in, m->fd);
	else if (m->type == OWN_MERGE)
		ok = got_merge(o, &in, m->fd);
	else if (m->type == OWN_MERGE_THEIRS)
		ok = got_theirs(o, &in, m->fd);
	else if (m->type == OWN_RECORD)
		ok = got_record(o, &in);
	else if (m->type == OWN_COMMITTED)
		ok = got_committed(o, &in);
	else if (m->type == OWN_BATCH_END)
		o->ops.batch_end(o->arg);
	else if (m->type == OWN_REFUSED)
		ok = got_refused(o, &in);
	else if (m->type == OWN_UNDECIDED)
		ok = got_undecided(o, &in);
	else if (m->type == OWN_ROLE)
		ok = got_role(o, &in);
	else if (m->type == OWN_LIVE || m->type == OWN_SNAPSHOT)
		ok = got_shard_word(o, m->type, &in);
	else
		log_debug("owner: message of unknown type %u skipped", m->type);
	if (!ok)
		lost(o, "message not understood");
}

static void
on_gone(struct ipc *ipc, const char *why, void *arg)
{
	(void)ipc;
	lost(arg, why);
}

/* ---- connecting ---- */

static void
hello_send(struct owner *o)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u16(&out, OWNER_VERSION);
	wire_put_str(&out, "owner");
	ipc_send(o->ipc, OWN_HELLO, 0, out.p, out.len, -1);
	wire_out_clear(&out);
}

/* syncd has been away for long: say so, and hold nothing that it never saw.  What it
 * may have seen has to wait for it. */
static void
away(struct owner *o)
{
	struct append *a, *next;

	for (a = TAILQ_FIRST(&o->pending); a != NULL; a = next) {
		next = TAILQ_NEXT(a, next);
		if (!a->maybe_logged)
			append_doom(o, a, OWNER_NOT_ACTIVE);
	}
	if (o->ever_told && o->told.active) {
		o->told.active = o->told.live = false;
		o->ops.role(o->arg, &o->told);
	}
}

static void
on_retry(evutil_socket_t sock, short what, void *arg)
{
	const struct timeval soon = { 0, OWNER_RETRY_MS * 1000 };
	struct owner *o = arg;
	int fd = ipc_connect(o->path);

	(void)sock;
	(void)what;
	if (fd == -1) {
		if (clock_ms() - o->away_since > OWNER_AWAY_MS)
			away(o);
		evtimer_add(o->retry, &soon);
		return;
	}
	o->ipc = ipc_new(o->base, fd, IPC_BODY_MAX, on_msg, on_gone, o);
	o->away_since = 0;
	hello_send(o);
	for (size_t i = 0; i < o->nstreams; i++)
		attach_send(o, &o->streams[i]);
}

struct owner *
owner_new(struct event_base *base, const char *path, const struct owner_ops *ops, void *arg)
{
	const struct timeval now = { 0, 0 };
	struct owner *o = mem_alloc(sizeof(*o));

	o->base = base;
	o->path = mem_dup(path);
	o->ops = *ops;
	o->arg = arg;
	o->away_since = clock_ms();
	o->merge.tail_fd = -1;
	TAILQ_INIT(&o->pending);
	TAILQ_INIT(&o->doomed);
	random_bytes(&o->origin_hi, sizeof(o->origin_hi));
	o->retry = evtimer_new(base, on_retry, o);
	o->deferred = evtimer_new(base, on_deferred, o);
	if (o->retry == NULL || o->deferred == NULL)
		log_fatal("owner: no event");
	evtimer_add(o->retry, &now);
	return o;
}

static void
list_free(struct append_list *list)
{
	struct append *a;

	while ((a = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, a, next);
		free(a);
	}
}

void
owner_free(struct owner *o)
{
	if (o == NULL)
		return;
	ipc_free(o->ipc);
	forget_merge(o);
	event_free(o->retry);
	event_free(o->deferred);
	list_free(&o->pending);
	list_free(&o->doomed);
	free(o->streams);
	free(o->path);
	free(o);
}

/* ---- telling syncd ---- */

static void
tell_lsn(struct owner *o, uint16_t type, uint16_t shard, uint64_t lsn)
{
	uint8_t body[10];

	if (o->ipc == NULL)
		return;			/* said again at the next batch or checkpoint */
	wire_store16(body, shard);
	wire_store64(body + 2, lsn);
	ipc_send(o->ipc, type, 0, body, sizeof(body), -1);
}

void
owner_applied(struct owner *o, uint16_t shard, uint64_t lsn)
{
	tell_lsn(o, OWN_APPLIED, shard, lsn);
}

void
owner_checkpoint(struct owner *o, uint16_t shard, uint64_t lsn)
{
	tell_lsn(o, OWN_CHECKPOINT, shard, lsn);
}

/* Sends, or drops with its descriptor when there is nobody: syncd asks anew. */
static void
tell_fd(struct owner *o, uint16_t type, const void *body, size_t len, int fd)
{
	if (o->ipc != NULL)
		ipc_send(o->ipc, type, 0, body, len, fd);
	else if (fd != -1)
		close(fd);
}

void
owner_snapshot_done(struct owner *o, uint16_t shard, uint64_t lsn, int index_fd,
    int objects_fd)
{
	uint8_t body[11];
	bool ok = index_fd != -1 && objects_fd != -1;

	wire_store16(body, shard);
	wire_store64(body + 2, lsn);
	body[10] = ok;
	tell_fd(o, OWN_SNAPSHOT_DONE, body, sizeof(body), index_fd);
	body[2] = ok;
	tell_fd(o, OWN_SNAPSHOT_LIST, body, 3, objects_fd);
}

void
owner_object_answer(struct owner *o, uint16_t shard, const uint8_t sha[32], int fd)
{
	uint8_t body[35];

	wire_store16(body, shard);
	memcpy(body + 2, sha, 32);
	body[34] = fd != -1;
	tell_fd(o, OWN_OBJECT_ANSWER, body, sizeof(body), fd);
}

void
owner_offer_answer(struct owner *o, uint16_t shard, bool ok)
{
	uint8_t body[3];

	wire_store16(body, shard);
	body[2] = ok;
	tell_fd(o, OWN_OFFER_ANSWER, body, sizeof(body), -1);
}

void
owner_changes_done(struct owner *o, uint16_t shard, int fd)
{
	uint8_t body[3];

	wire_store16(body, shard);
	body[2] = fd != -1;
	tell_fd(o, OWN_CHANGES, body, sizeof(body), fd);
}

void
owner_merge_done(struct owner *o, uint16_t shard, bool ok, const char *report)
{
	size_t len = strlen(report);
	struct wire_out out;

	assert(len <= OWNER_REPORT_MAX);
	wire_out_init(&out);
	wire_put_u16(&out, shard);
	wire_put_u8(&out, ok);
	wire_put_raw(&out, report, len);
	tell_fd(o, OWN_MERGED, out.p, out.len, -1);
	wire_out_clear(&out);
}

int
owner_mend(struct owner *o, uint16_t shard, const uint8_t sha[32])
{
	uint8_t body[34];

	if (o->ipc == NULL) {
		errno = ENOTCONN;
		return -1;
	}
	wire_store16(body, shard);
	memcpy(body + 2, sha, 32);
	return ipc_send(o->ipc, OWN_MEND, 0, body, sizeof(body), -1);
}

void
owner_verified(struct owner *o, uint16_t shard, uint32_t run, bool ok, const char *report)
{
	static const char too_long[] = "{\"error\": \"the report is too long\"}";
	size_t len = strlen(report);
	struct wire_out out;

	if (len > OWNER_REPORT_MAX) {
		ok = false;
		report = too_long;
		len = sizeof(too_long) - 1;
	}
	wire_out_init(&out);
	wire_put_u16(&out, shard);
	wire_put_u32(&out, run);
	wire_put_u8(&out, ok);
	wire_put_raw(&out, report, len);
	tell_fd(o, OWN_VERIFIED, out.p, out.len, -1);
	wire_out_clear(&out);
}

void
owner_verifying(struct owner *o, uint16_t shard, uint32_t run, uint64_t done, uint64_t of)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u16(&out, shard);
	wire_put_u32(&out, run);
	wire_put_u64(&out, done);
	wire_put_u64(&out, of);
	tell_fd(o, OWN_VERIFYING, out.p, out.len, -1);
	wire_out_clear(&out);
}
