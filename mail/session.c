/* session.c - the life of an IMAP or POP3 session: start, turns, timers, end.
 *
 * Promises: a session never holds more output than the high water mark plus one
 * piece of work, reads nothing while it is above it, gives the loop back after
 * TURN_MS, and ends after idle_s without a byte in either direction.  When the client
 * closes its side, commands that came before are still answered.  Knows nothing of
 * the protocols: see imap.c and pop3.c.  What was read while the lease did not hold stays
 * here until it does (lease.h). */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "clock.h"
#include "hold.h"
#include "lease.h"
#include "log.h"
#include "mem.h"
#include "session_int.h"

#define IN_MAX (64u << 10)	/* bytes of input held here before they are asked for */
#define TURN_MS 10
#define LINGER_S 30		/* to take the last words */
#define RECENT_BOXES 4096

struct recent {
	uint64_t box, used;
	uint32_t next;
};

struct session_set {
	struct event_base *base;
	struct store *store;
	const struct lease *lease;
	struct event *release;		/* looks whether the lease holds again */
	struct session_limits limits;
	TAILQ_HEAD(session_list, session) sessions;
	size_t n;
	uint64_t append_bytes;		/* in the memory files of APPENDs */
	struct recent *recent;		/* by box, direct mapped by hash */
};

static void
hold_soon(struct session_set *set)
{
	static const struct timeval tv = { 0, LEASE_LOOK_MS * 1000 };

	if (!evtimer_pending(set->release, NULL))
		evtimer_add(set->release, &tv);
}

static bool
hold(struct session *s)
{
	if (hold_stream(s->set->lease, s->bev, &s->held))
		hold_soon(s->set);
	return s->held;
}

static void
on_release(evutil_socket_t fd, short what, void *arg)
{
	struct session_set *set = arg;
	struct session *s;

	(void)fd;
	(void)what;
	if (!lease_holds(set->lease)) {
		hold_soon(set);
		return;
	}
	TAILQ_FOREACH(s, &set->sessions, link)
		if (s->held && !hold(s))
			session_kick(s);
}

struct session_set *
session_set_new(struct event_base *base, struct store *store,
    const struct session_limits *limits, const struct lease *lease)
{
	struct session_set *set = mem_alloc(sizeof(*set));

	set->base = base;
	set->store = store;
	set->lease = lease;
	if ((set->release = evtimer_new(base, on_release, set)) == NULL)
		log_fatal("session: out of memory");
	set->limits = *limits;
	set->recent = mem_array(RECENT_BOXES, sizeof(*set->recent));
	TAILQ_INIT(&set->sessions);
	return set;
}

static void
session_free(struct session *s)
{
	log_info("%s %s end user=%s", s->imap != NULL ? "imap" : "pop3", s->sid,
	    log_safe(s->address));
	store_forget(s->store, s);
	s->proto->clear(s);
	TAILQ_REMOVE(&s->set->sessions, s, link);
	s->set->n--;
	bufferevent_free(s->bev);
	evbuffer_free(s->in);
	event_free(s->turn);
	event_free(s->idle);
	free(s->address);
	free(s->sid);
	free(s->ip);
	free(s->tls);
	free(s->tag);
	free(s);
}

void
session_set_free(struct session_set *set)
{
	struct session *s;

	if (set == NULL)
		return;
	while ((s = TAILQ_FIRST(&set->sessions)) != NULL)
		session_free(s);
	event_free(set->release);
	free(set->recent);
	free(set);
}

size_t
session_count(const struct session_set *set)
{
	return set->n;
}

const struct session_limits *
session_limits(const struct session *s)
{
	return &s->set->limits;
}

bool
session_append_take(struct session *s, uint64_t bytes)
{
	struct session_set *set = s->set;

	if (bytes > set->limits.append_memory_max - set->append_bytes)
		return false;
	set->append_bytes += bytes;
	return true;
}

void
session_append_give(struct session *s, uint64_t bytes)
{
	s->set->append_bytes -= bytes;
}

bool
session_room(const struct session *s)
{
	return evbuffer_get_length(s->out) < SESSION_OUT_HIGH;
}

/* A timer of zero and not event_active(): the loop looks at the sockets between two
 * turns, so one busy session does not starve the others. */
void
session_kick(struct session *s)
{
	static const struct timeval now = { 0, 0 };

	evtimer_add(s->turn, &now);
}

void
session_close(struct session *s)
{
	s->closing = true;
	session_kick(s);
}

void
session_wait(struct session *s, void (*done)(struct session *,
    const struct store_result *))
{
	s->waiting = true;
	s->done = done;
}

void
session_done(void *arg, const struct store_result *result)
{
	struct session *s = arg;

	s->waiting = false;
	s->done(s, result);
	(void)hold(s);		/* the turn asks again */
	session_kick(s);
}

void
session_printf(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	evbuffer_add_vprintf(s->out, fmt, ap);
	va_end(ap);
}

uint32_t
session_recent(struct session_set *set, uint64_t box, uint32_t next, bool claim)
{
	struct recent *r = &set->recent[(box ^ box >> 12) % RECENT_BOXES];
	uint32_t first = 1;

	/* not known: as RFC 3501 2.3.2 has it, then every message is recent */
	if (r->used != 0 && r->box == box)
		first = r->next;
	if (claim)
		*r = (struct recent) { .box = box, .used = 1,
			.next = next > first ? next : first };
	return first;
}

bool
session_pop3_lock(const struct session *self)
{
	const struct session *s;

	TAILQ_FOREACH(s, &self->set->sessions, link)
		if (s != self && s->pop3 != NULL && !s->closing &&
		    s->user == self->user && s->shard == self->shard)
			return false;
	return true;
}

static void
touch(struct session *s)
{
	uint32_t idle = s->pop3 != NULL ? s->set->limits.pop3_idle_s
					: s->set->limits.idle_s;
	struct timeval tv = { s->closing || s->leaving ? LINGER_S : (time_t)idle, 0 };

	evtimer_add(s->idle, &tv);
}

/* Takes over what the stream has read, up to a limit; the rest stays there and the
 * stream's own high water mark stops reading. */
static void
pull(struct session *s)
{
	struct evbuffer *from = bufferevent_get_input(s->bev);
	size_t have = evbuffer_get_length(s->in);

	if (have < IN_MAX)
		evbuffer_remove_buffer(from, s->in, IN_MAX - have);
}

static void
turn(struct session *s)
{
	int64_t until = clock_ms() + TURN_MS;
	bool more = true, late = false;

	if (hold(s)) {
		if (s->broken || s->leaving)
			session_free(s);
		return;
	}
	while (more && !late && !s->closing && !s->broken && session_room(s)) {
		pull(s);
		more = s->proto->step(s);
		late = clock_ms() >= until;
	}
	if (hold(s))
		return;
	if (more && late) {
		session_kick(s);
		return;
	}
	if (!more && s->eof && !s->waiting && evbuffer_get_length(s->in) == 0)
		s->closing = true;
	if (s->broken || (s->closing && evbuffer_get_length(s->out) == 0)) {
		session_free(s);
		return;
	}
	if (s->closing) {
		bufferevent_disable(s->bev, EV_READ);
		touch(s);
	}
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	turn(arg);
}

static void
on_bytes(struct bufferevent *bev, void *arg)
{
	(void)bev;
	touch(arg);
	session_kick(arg);
}

static void
on_stream(struct bufferevent *bev, short what, void *arg)
{
	struct session *s = arg;

	(void)bev;
	if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING))
		s->eof = true;
	else
		s->broken = true;
	session_kick(s);
}

static void
say_bye(struct session *s, const char *why)
{
	(void)hold(s);
	s->leaving = true;
	s->proto->bye(s, why);
	touch(s);
	session_kick(s);
}

static void
on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	if (s->closing || s->leaving) {
		s->broken = true;
		session_kick(s);
	} else {
		log_info("session %s idle user=%s", s->sid, log_safe(s->address));
		say_bye(s, "Idle for too long");
	}
}

static struct session *
session_new(struct session_set *set, int fd, const struct session_login *l)
{
	struct session *s = mem_alloc(sizeof(*s));

	s->set = set;
	s->store = set->store;
	s->user = l->user;
	s->shard = l->shard;
	s->service = l->service;
	s->address = mem_dup(l->address != NULL ? l->address : "");
	s->sid = mem_dup(l->sid != NULL ? l->sid : "");
	s->ip = mem_dup(l->ip != NULL ? l->ip : "");
	s->tls = mem_dup(l->tls != NULL ? l->tls : "");
	s->tag = mem_dup(l->tag != NULL ? l->tag : "");
	evutil_make_socket_nonblocking(fd);
	s->bev = bufferevent_socket_new(set->base, fd, BEV_OPT_CLOSE_ON_FREE);
	s->in = evbuffer_new();
	s->turn = evtimer_new(set->base, on_turn, s);
	s->idle = evtimer_new(set->base, on_idle, s);
	if (s->bev == NULL || s->in == NULL || s->turn == NULL || s->idle == NULL)
		log_fatal("session: out of memory");
	s->out = bufferevent_get_output(s->bev);
	evbuffer_add(s->in, l->early.p, l->early.len);
	return s;
}

static uint32_t
sessions_of(const struct session_set *set, const struct session *like)
{
	const struct session *s;
	uint32_t n = 0;

	TAILQ_FOREACH(s, &set->sessions, link)
		n += s->user == like->user && s->shard == like->shard;
	return n;
}

void
session_start(struct session_set *set, int fd, const struct session_login *l)
{
	struct session *s = session_new(set, fd, l);
	bool pop3 = l->service == MAIL_POP3 || l->service == MAIL_POP3S;
	bool refused = sessions_of(set, s) >= set->limits.per_user;

	TAILQ_INSERT_TAIL(&set->sessions, s, link);
	set->n++;
	s->proto = pop3 ? &pop3_proto : &imap_proto;
	bufferevent_setcb(s->bev, on_bytes, on_bytes, on_stream, s);
	bufferevent_setwatermark(s->bev, EV_READ, 0, IN_MAX);
	bufferevent_setwatermark(s->bev, EV_WRITE, SESSION_OUT_LOW, 0);
	log_info("%s %s login user=%s from=%s tls=%s%s", pop3 ? "pop3" : "imap", s->sid,
	    log_safe(s->address), log_safe(s->ip), s->tls[0] != '\0' ? log_safe(s->tls) : "none",
	    refused ? " refused=sessions" : "");
	if (refused && pop3)
		session_printf(s, "-ERR [SYS/TEMP] Too many sessions of this user\r\n");
	else if (refused)
		session_printf(s, "* BYE Too many sessions of this user\r\n"
		    "%s NO [LIMIT] Too many sessions of this user\r\n", s->tag);
	s->closing = refused;
	if (!refused)
		s->proto->start(s);
	touch(s);
	bufferevent_enable(s->bev, EV_READ | EV_WRITE);
	(void)hold(s);		/* POP3 greets with what it read */
	session_kick(s);
}

void
session_bye_all(struct session_set *set, const char *why)
{
	struct session *s;

	TAILQ_FOREACH(s, &set->sessions, link) {	/* none is freed here */
		if (s->closing && hold(s)) {	/* its last words would wait for the lease */
			s->broken = true;
			session_kick(s);
		}
		if (s->closing || s->leaving)
			continue;
		say_bye(s, why);
	}
}
