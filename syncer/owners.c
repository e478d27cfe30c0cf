/* owners.c - the owners of shards: a connection per process, several shards on each.
 *
 * A connection has one cursor that walks over the committed log; a record is sent
 * when its shard is attached here and not yet delivered.  An attach that reaches back
 * sets the cursor back, and the delivered marks keep the others from seeing anything
 * twice.  "Live" is said when everything that was in the log at the time of the attach is
 * delivered or cut, so that an owner may then propose again what it does not know.
 *
 * A wrong message, or a shard that this uid may not own, ends the connection. */
#include "owners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "agent_link.h"
#include "clock.h"
#include "core.h"
#include "daemon.h"
#include "ipc.h"
#include "listener.h"
#include "log.h"
#include "mem.h"
#include "owners_wire.h"
#include "split.h"
#include "wire.h"

#define RUN_MAX 512		/* records before the loop looks at others */
#define REFILL_MS 60000		/* after a seeding that left a shard out, before the next */

/* ---- who may own what ---- */

static bool
user_is(const char *name, uid_t uid)
{
	struct daemon_user u;

	return daemon_user_find(name, &u) == 0 ? u.uid == uid : uid == geteuid();
}

static bool
may_own(uid_t uid, uint16_t shard)
{
	if (uid == 0 && geteuid() == 0)
		return true;
	if (shard == SHARD_DIRECTORY)
		return user_is("mailauth", uid);
	if (shard == SHARD_QUEUE)
		return user_is("mailqueue", uid);
	return shard >= SHARD_STORE0 && shard < SHARD_MAX && user_is("mailstore", uid);
}

/* One that may own nothing must not take the place of one that does. */
static bool
may_own_any(uid_t uid)
{
	return may_own(uid, SHARD_DIRECTORY) || may_own(uid, SHARD_QUEUE) ||
	    may_own(uid, SHARD_STORE0);
}

/* ---- limits ---- */

/* An owner that does not read gets no more than this. */
static size_t
unsent_max(const struct owners *o)
{
	return (size_t)o->s->conf.unsent_max;
}

/* A record in memory, whatever is in it. */
static size_t
weight(size_t payload)
{
	return record_size(payload);
}

/* Too much waits for this disk, or, while two copies are acknowledged, for the standby's.
 * Else an owner is read on: what it proposes then is held or refused, and it hears so
 * (commit_append()); and its answers are wanted. */
static bool
too_much(const struct oconn *c, uint64_t max)
{
	const struct syncd *s = c->o->s;

	return log_writer_bytes(s->writer) > max ||
	    (c->uncommitted > max && s->commit.mode == DATA_SYNC);
}

/* ---- connections ---- */

bool
owners_lost(const struct attach *a)
{
	return a->from == OWNER_FROM_LOST;
}

struct attach *
owners_attach_of(struct oconn *c, uint16_t shard)
{
	for (size_t i = 0; i < c->nattach; i++)
		if (c->attach[i].shard == shard)
			return &c->attach[i];
	return NULL;
}

struct oconn *
owners_of(struct owners *o, uint16_t shard)
{
	struct oconn *c;

	TAILQ_FOREACH(c, &o->conns, next)
		if (owners_attach_of(c, shard) != NULL)
			return c;
	return NULL;
}

static void
drop_held(struct owners *o, struct oconn *c)
{
	struct held *h, *after;

	for (h = TAILQ_FIRST(&o->held); h != NULL; h = after) {
		after = TAILQ_NEXT(h, next);
		if (h->conn != c)
			continue;
		TAILQ_REMOVE(&o->held, h, next);
		commit_unheld(&o->s->commit, 1, weight(h->payload.len));
		free(h);
	}
}

static void
conn_free(struct oconn *c)
{
	struct owners *o = c->o;

	drop_held(o, c);
	TAILQ_REMOVE(&o->conns, c, next);
	o->nconns--;
	for (size_t i = 0; i < c->nattach; i++)
		owners_seed_gone(o, &c->attach[i]);
	feed_reader_clear(&c->reader);
	ipc_free(c->ipc);
	free(c->attach);
	free(c->own);
	free(c);
}

static void
on_gone(struct ipc *ipc, const char *why, void *arg)
{
	struct oconn *c = arg;

	(void)ipc;
	log_info("owner gone name=%s why=%s", log_safe(c->name), log_safe(why));
	conn_free(c);
}

static void
conn_refused(struct oconn *c, uint64_t origin, enum owner_refusal why)
{
	uint8_t body[9];

	wire_store64(body, origin);
	body[8] = (uint8_t)why;
	ipc_send(c->ipc, OWN_REFUSED, 0, body, sizeof(body), -1);
}

/* ---- role ---- */

static void
conn_role(struct oconn *c)
{
	const struct commit *m = &c->o->s->commit;
	struct wire_out w;
	uint8_t active, copies;
	bool live = true;

	for (size_t i = 0; i < c->nattach; i++)
		live = live && c->attach[i].live;
	active = live && commit_serving(m) && c->cursor > m->serve_lsn;
	copies = active ? commit_copies(m) : 0;
	if (c->role_told && c->told_active == active && c->told_live == live &&
	    c->told_copies == copies && c->told_gen == m->gen.no)
		return;
	c->role_told = true;
	c->told_active = active;
	c->told_live = live;
	c->told_copies = copies;
	c->told_gen = m->gen.no;
	wire_out_init(&w);
	wire_put_u8(&w, active);
	wire_put_u8(&w, live);
	wire_put_u8(&w, copies);
	gen_put(&w, &m->gen);
	wire_put_u64(&w, m->commit_lsn);
	ipc_send(c->ipc, OWN_ROLE, 0, w.p, w.len, -1);
	wire_out_clear(&w);
}

void
owners_role(struct owners *o)
{
	struct oconn *c;

	TAILQ_FOREACH(c, &o->conns, next)
		conn_role(c);
	owners_room(o);
}

/* ---- delivery ---- */

static void
send_record(struct oconn *c, const struct record *r, uint16_t shard)
{
	struct wire_out w;
	struct span parts[2];

	wire_out_init(&w);
	wire_put_u64(&w, r->lsn);
	wire_put_u64(&w, r->gen_no);
	wire_put_u64(&w, r->origin);
	wire_put_u16(&w, shard);
	wire_put_u8(&w, r->type);
	wire_put_u8(&w, 0);
	wire_put_u64(&w, (uint64_t)r->time_ms);
	parts[0] = wire_out_span(&w);
	parts[1] = r->payload;
	ipc_send_parts(c->ipc, OWN_RECORD, 0, parts, 2, -1);
	wire_out_clear(&w);
}

/* An append of this connection: the owner still has the payload. */
static void
send_committed(struct oconn *c, const struct record *r)
{
	const struct syncd *s = c->o->s;
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, r->origin);
	wire_put_u64(&w, r->lsn);
	/* one copy is only ever acknowledged in the name of a generation that says so */
	wire_put_u64(&w, s->ack_copies == 1 ? s->commit.gen.no : r->gen_no);
	wire_put_u8(&w, s->ack_copies);
	wire_put_u64(&w, (uint64_t)r->time_ms);
	ipc_send(c->ipc, OWN_COMMITTED, 0, w.p, w.len, -1);
	wire_out_clear(&w);
}

/* Appends of a connection get rising LSNs, so the next to commit is the first. */
static bool
own_take(struct oconn *c, uint64_t lsn)
{
	while (c->own_at < c->nown && c->own[c->own_at].lsn < lsn)
		c->uncommitted -= c->own[c->own_at++].bytes;
	if (c->own_at == c->nown || c->own[c->own_at].lsn != lsn)
		return false;
	c->uncommitted -= c->own[c->own_at].bytes;
	if (++c->own_at == c->nown)
		c->own_at = c->nown = 0;
	return true;
}

/* Sends what of this record concerns the connection; true when anything was. */
static bool
deliver(struct oconn *c, const struct record *r)
{
	struct attach *a;
	struct gen g;
	bool sent = false, own = own_take(c, r->lsn);

	if (feed_gen(r, &g)) {
		for (size_t i = 0; i < c->nattach; i++) {
			a = &c->attach[i];
			if (a->from >= r->lsn)
				continue;
			a->from = r->lsn;
			send_record(c, r, a->shard);
			sent = true;
		}
		return sent;
	}
	a = owners_attach_of(c, r->shard);
	if (a == NULL || a->from >= r->lsn)
		return false;
	a->from = r->lsn;
	if (own)
		send_committed(c, r);
	else
		send_record(c, r, r->shard);
	return true;
}

static void
check_live(struct oconn *c)
{
	uint8_t body[2];

	for (size_t i = 0; i < c->nattach; i++) {
		struct attach *a = &c->attach[i];

		if (a->live || owners_lost(a) || c->cursor <= a->live_at)
			continue;
		a->live = true;
		wire_store16(body, a->shard);
		ipc_send(c->ipc, OWN_LIVE, 0, body, sizeof(body), -1);
	}
	conn_role(c);
}

static void on_drained(struct ipc *, void *);

/* What an owner asks for is answered: one that does not read its answers is not read
 * either, so that what waits for it has an end. */
static void
conn_read(struct oconn *c)
{
	bool room = ipc_unsent(c->ipc) <= unsent_max(c->o);

	if (!room)
		ipc_on_drained(c->ipc, unsent_max(c->o) / 2, on_drained);
	ipc_read_enable(c->ipc, room && !c->choked);
}

/* Returns true when there is more to do at once. */
static bool
conn_deliver(struct oconn *c)
{
	struct syncd *s = c->o->s;
	uint64_t oldest = feed_oldest(s->feed);
	struct record r;
	bool sent = false;
	int n = 0;

	/* While the node is seeded its log is not the one that the new indexes follow. */
	if (c->nattach == 0 || s->commit.seeding)
		return false;
	if (c->cursor < oldest)
		c->cursor = oldest;
	while (c->cursor <= s->commit.commit_lsn && n++ < RUN_MAX) {
		if (ipc_unsent(c->ipc) > unsent_max(c->o)) {
			ipc_on_drained(c->ipc, unsent_max(c->o) / 2, on_drained);
			break;
		}
		if (feed_read(s->feed, &c->reader, c->cursor, &r) != 1) {
			log_warn("cannot read the log for an owner lsn=%llu",
			    (unsigned long long)c->cursor);
			break;
		}
		sent = deliver(c, &r) || sent;
		c->cursor++;
	}
	if (sent)
		ipc_send(c->ipc, OWN_BATCH_END, 0, NULL, 0, -1);
	check_live(c);
	return n > RUN_MAX;
}

static void
on_drained(struct ipc *ipc, void *arg)
{
	struct oconn *c = arg;

	(void)ipc;
	conn_read(c);
	owners_kick(c->o);
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct owners *o = arg;
	struct oconn *c;
	bool more = false;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(c, &o->conns, next)
		more = conn_deliver(c) || more;
	owners_room(o);
	if (more)
		owners_kick(o);
}

void
owners_kick(struct owners *o)
{
	event_active(o->pump, EV_TIMEOUT, 0);
}

/* ---- appends ---- */

static void
own_add(struct oconn *c, uint64_t lsn, uint64_t origin, size_t bytes)
{
	if (c->nown == c->own_cap) {
		if (c->own_at > 0)
			memmove(c->own, c->own + c->own_at,
			    (c->nown - c->own_at) * sizeof(*c->own));
		c->nown -= c->own_at;
		c->own_at = 0;
		if (c->nown * 2 > c->own_cap || c->own_cap == 0) {
			c->own_cap = c->own_cap * 2 + 64;
			c->own = mem_grow(c->own, c->own_cap, sizeof(*c->own));
		}
	}
	c->uncommitted += bytes;
	c->own[c->nown].bytes = bytes;
	c->own[c->nown].lsn = lsn;
	c->own[c->nown++].origin = origin;
}

static void
hold(struct oconn *c, const struct held *what)
{
	struct held *h = mem_alloc(sizeof(*h) + what->payload.len);

	*h = *what;
	h->conn = c;
	if (what->payload.len > 0)
		memcpy(h->bytes, what->payload.p, what->payload.len);
	h->payload.p = h->bytes;
	TAILQ_INSERT_TAIL(&c->o->held, h, next);
}

static void
write_append(struct oconn *c, const struct held *h)
{
	uint64_t lsn = core_write(c->o->s, h->shard, h->type, h->origin, h->payload);

	own_add(c, lsn, h->origin, weight(h->payload.len));
}

static bool
got_append(struct oconn *c, struct wire_in *in)
{
	struct syncd *s = c->o->s;
	struct held h = { .origin = wire_get_u64(in) };
	enum owner_refusal why;
	const struct attach *a;

	h.shard = wire_get_u16(in);
	h.type = wire_get_u8(in);
	h.payload = wire_get_rest(in);
	if (!wire_in_ok(in) || h.payload.len > RECORD_PAYLOAD_MAX ||
	    h.type == OWNER_REC_GENERATION || (a = owners_attach_of(c, h.shard)) == NULL)
		return false;
	if (owners_lost(a)) {
		conn_refused(c, h.origin, OWNER_NOT_ACTIVE);
		return true;
	}
	split_proposed(s->split, h.shard);
	switch (commit_append(&s->commit, weight(h.payload.len), &why)) {
	case COMMIT_DO_WRITE:
		write_append(c, &h);
		c->choked = too_much(c, s->conf.pending_max);
		break;
	case COMMIT_DO_HOLD:
		hold(c, &h);
		break;
	case COMMIT_DO_REFUSE:
		conn_refused(c, h.origin, why);
		break;
	}
	return true;
}

void
owners_room(struct owners *o)
{
	struct oconn *c;

	TAILQ_FOREACH(c, &o->conns, next)
		if (c->choked && !too_much(c, o->s->conf.pending_max / 2)) {
			c->choked = false;
			conn_read(c);
		}
}

void
owners_release(struct owners *o)
{
	struct held *h;

	while ((h = TAILQ_FIRST(&o->held)) != NULL) {
		TAILQ_REMOVE(&o->held, h, next);
		write_append(h->conn, h);
		free(h);
	}
}

void
owners_refuse(struct owners *o, enum owner_refusal why)
{
	struct held *h;

	while ((h = TAILQ_FIRST(&o->held)) != NULL) {
		TAILQ_REMOVE(&o->held, h, next);
		conn_refused(h->conn, h->origin, why);
		free(h);
	}
}

void
owners_undecided(struct owners *o)
{
	struct oconn *c;
	uint8_t body[8];

	TAILQ_FOREACH(c, &o->conns, next)
		for (size_t i = c->own_at; i < c->nown; i++) {
			wire_store64(body, c->own[i].origin);
			ipc_send(c->ipc, OWN_UNDECIDED, 0, body, sizeof(body), -1);
		}
}

void
owners_cut(struct owners *o, uint64_t lsn)
{
	struct oconn *c;

	TAILQ_FOREACH(c, &o->conns, next) {
		while (c->nown > c->own_at && c->own[c->nown - 1].lsn > lsn) {
			c->uncommitted -= c->own[--c->nown].bytes;
			conn_refused(c, c->own[c->nown].origin, OWNER_NOT_ACTIVE);
		}
		feed_reader_clear(&c->reader);
		if (c->cursor > lsn + 1)
			c->cursor = lsn + 1;
		for (size_t i = 0; i < c->nattach; i++)
			if (c->attach[i].live_at > lsn)
				c->attach[i].live_at = lsn;
		check_live(c);
	}
	/* Numbers behind it were of another history. */
	if (o->known > lsn)
		o->known = lsn;
	for (size_t i = 0; i < SHARD_MAX; i++)
		if (o->checkpoint[i] > lsn)
			o->checkpoint[i] = lsn;
	owners_kick(o);
}

void
owners_anew(struct owners *o)
{
	struct oconn *c, *after;

	for (c = TAILQ_FIRST(&o->conns); c != NULL; c = after) {
		after = TAILQ_NEXT(c, next);
		on_gone(c->ipc, "the log is another one now", c);
	}
	o->known = 0;
	memset(o->checkpoint, 0, sizeof(o->checkpoint));
}

/* ---- attach and progress ---- */

static void
detach(struct owners *o, uint16_t shard, const struct oconn *by, unsigned *offers)
{
	struct oconn *c = owners_of(o, shard);
	struct attach *a, was;

	if (c == NULL)
		return;
	a = owners_attach_of(c, shard);
	was = *a;
	*a = c->attach[--c->nattach];
	if (c != by)
		owners_seed_gone(o, &was);
	else
		*offers = was.offers;
}

static bool
got_attach(struct oconn *c, struct wire_in *in)
{
	const struct commit *m = &c->o->s->commit;
	uint16_t shard = wire_get_u16(in);
	uint64_t from = wire_get_u64(in);
	unsigned offers = 0;		/* an owner that begins its stream anew still answers */
	struct attach *a;

	if (!wire_in_done(in) || shard >= SHARD_MAX || !may_own(c->uid, shard)) {
		log_warnx("owner refused name=%s uid=%u shard=%u", log_safe(c->name),
		    (unsigned)c->uid, shard);
		return false;
	}
	detach(c->o, shard, c, &offers);	/* the last to come owns it */
	c->attach = mem_grow(c->attach, c->nattach + 1, sizeof(*c->attach));
	a = &c->attach[c->nattach++];
	memset(a, 0, sizeof(*a));
	a->shard = shard;
	a->offers = offers;
	c->o->known_shard[shard] = true;
	a->from = from;
	a->applied = owners_lost(a) ? 0 : from;
	/* On a standby too: what this node wrote before a restart may yet be committed, so
	 * that until then nobody may hear that an append will never be. */
	a->live_at = m->tip_lsn;
	if (owners_lost(a)) {
		log_err("owner name=%s shard=%u has lost its index: it is given nothing until it has "
		    "one of the other node%s", log_safe(c->name), shard, m->role == DATA_ACTIVE ?
		    "; that one has to serve before" : "");
		c->o->checkpoint[shard] = 0;	/* nothing of it is outside of the log */
		from = m->commit_lsn;
		agent_link_state(c->o->s->agent);
	} else if (from > c->o->known) {
		c->o->known = from;
	}
	if (c->nattach == 1 || (c->cursor > from + 1 && !owners_lost(a)))
		c->cursor = from + 1;
	conn_role(c);
	owners_kick(c->o);
	return true;
}

static bool
got_progress(struct oconn *c, struct wire_in *in, bool checkpoint)
{
	uint16_t shard = wire_get_u16(in);
	uint64_t lsn = wire_get_u64(in);
	struct attach *a;

	if (!wire_in_done(in) || (a = owners_attach_of(c, shard)) == NULL)
		return false;
	if (checkpoint) {
		if (lsn > c->o->checkpoint[shard])
			c->o->checkpoint[shard] = lsn;
		return true;
	}
	if (lsn > a->applied)
		a->applied = lsn;
	if (lsn > c->o->known)
		c->o->known = lsn;
	return true;
}

static bool
got_hello(struct oconn *c, struct wire_in *in)
{
	uint16_t version = wire_get_u16(in);

	wire_get_str(in, c->name, sizeof(c->name));
	if (!wire_in_done(in) || version != OWNER_VERSION)
		return false;
	log_info("owner name=%s uid=%u", log_safe(c->name), (unsigned)c->uid);
	return true;
}

static void
on_msg(struct ipc *ipc, const struct ipc_msg *m, void *arg)
{
	struct oconn *c = arg;
	struct wire_in in;
	bool ok = true;

	wire_in_init(&in, m->body.p, m->body.len);
	switch (m->type) {
	case OWN_HELLO:
		ok = got_hello(c, &in);
		break;
	case OWN_ATTACH:
		ok = got_attach(c, &in);
		break;
	case OWN_APPEND:
		ok = got_append(c, &in);
		break;
	case OWN_APPLIED:
	case OWN_CHECKPOINT:
		ok = got_progress(c, &in, m->type == OWN_CHECKPOINT);
		break;
	default:
		ok = owners_seed_message(c, m, &in);	/* takes the descriptor */
		break;
	}
	if (!ok)
		on_gone(ipc, "broken message", c);
	else
		conn_read(c);
}

static bool
too_many(struct owners *o)
{
	bool crowd = o->nconns >= (size_t)o->s->conf.owners_max;

	if (crowd && !o->crowd_told)
		log_warnx("owners refused: more than owners-max=%d connections",
		    o->s->conf.owners_max);
	o->crowd_told = crowd;
	return crowd;
}

static void
on_accept(int fd, const struct sockaddr *from, void *arg)
{
	struct owners *o = arg;
	struct oconn *c;
	gid_t gid;
	pid_t pid;

	(void)from;
	if (too_many(o)) {
		close(fd);
		return;
	}
	c = mem_alloc(sizeof(*c));
	c->o = o;
	c->ipc = ipc_new(o->s->base, fd, IPC_BODY_MAX, on_msg, on_gone, c);
	TAILQ_INSERT_TAIL(&o->conns, c, next);
	o->nconns++;
	if (ipc_peer(c->ipc, &c->uid, &gid, &pid) == -1 || !may_own_any(c->uid)) {
		on_gone(c->ipc, "may own nothing", c);
		return;
	}
	conn_role(c);
}

/* ---- facts ---- */

uint64_t
owners_applied(const struct owners *o)
{
	uint64_t least = o->s->commit.commit_lsn;
	const struct oconn *c;

	TAILQ_FOREACH(c, &o->conns, next)
		for (size_t i = 0; i < c->nattach; i++) {
			const struct attach *a = &c->attach[i];

			if ((owners_lost(a) || a->applied < a->from) && a->applied < least)
				least = a->applied;
			else if (c->cursor > 0 && c->cursor - 1 < least)
				least = c->cursor - 1;
		}
	return least;
}

bool
owners_any_lost(const struct owners *o)
{
	const struct oconn *c;

	TAILQ_FOREACH(c, &o->conns, next)
		for (size_t i = 0; i < c->nattach; i++)
			if (owners_lost(&c->attach[i]))
				return true;
	return false;
}

void
owners_second(struct owners *o)
{
	int64_t now = clock_ms();

	if ((o->refilled_ms == 0 || now - o->refilled_ms >= REFILL_MS) && owners_any_lost(o) &&
	    core_refill(o->s, "an owner has lost its index"))
		o->refilled_ms = now;
}

uint64_t
owners_known(const struct owners *o)
{
	return o->known;
}

uint64_t
owners_checkpoint(const struct owners *o, uint16_t shard)
{
	return shard < SHARD_MAX ? o->checkpoint[shard] : 0;
}

struct owners *
owners_new(struct syncd *s, int fd)
{
	struct owners *o = mem_alloc(sizeof(*o));

	o->s = s;
	TAILQ_INIT(&o->conns);
	TAILQ_INIT(&o->held);
	o->pump = event_new(s->base, -1, 0, on_pump, o);
	o->listen = listener_new(s->base, fd, "syncd-owner.sock", on_accept, o);
	return o;
}

void
owners_free(struct owners *o)
{
	struct oconn *c;

	if (o == NULL)
		return;
	while ((c = TAILQ_FIRST(&o->conns)) != NULL)
		conn_free(c);
	listener_free(o->listen);
	event_free(o->pump);
	free(o);
}
