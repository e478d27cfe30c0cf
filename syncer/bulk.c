/* bulk.c - see bulk.h.  A frame that is too long or too short ends the connection:
 * the peer is authentic, so that is a bug or another version, and nothing behind it
 * can be trusted to be framed. */
#include "bulk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "mirror_wire.h"
#include "wire.h"

#define UNSENT_LOW (256u << 10)
#define LIMIT_TICK_MS 20	/* what waits for the limit moves on so often */
#define LIMIT_BURST_MS 500
#define FRAMES_A_TURN 64	/* then the log's channel and the timers have theirs */

struct bulk {
	struct bufferevent *bev;
	uint64_t limit;		/* bytes a second; 0: none */
	int64_t tokens, filled_ms;	/* bytes that may leave now */
	struct evbuffer *held;	/* waits for the limit */
	size_t rest;		/* of a frame whose beginning is not held any more */
	struct event *tick;
	struct event *more;	/* input that no event announces any more */
	const struct bulk_ops *ops;
	void *arg;
	bool *gone;		/* set when freed inside a callback */
};

/* One frame; false when there is none, or the channel is dead. */
static bool
one_frame(struct bulk *b, bool *gone)
{
	struct evbuffer *in = bufferevent_get_input(b->bev);
	uint8_t head[4], *whole;
	uint32_t len;

	if (evbuffer_copyout(in, head, sizeof(head)) < (ssize_t)sizeof(head))
		return false;
	len = wire_load32(head);
	if (len < MIRROR_HEAD || len > MIRROR_HEAD + MIRROR_BODY_MAX) {
		b->ops->gone(b->arg, "bad frame");
		return false;
	}
	if (evbuffer_get_length(in) < sizeof(head) + len)
		return false;
	evbuffer_drain(in, sizeof(head));
	whole = mem_alloc(len);
	evbuffer_remove(in, whole, len);
	b->ops->frame(b->arg, whole[0], (struct span){ (const char *)whole, len });
	free(whole);
	return !*gone;
}

static void
read_frames(struct bulk *b)
{
	bool gone = false;
	int n = 0;

	b->gone = &gone;
	while ((bufferevent_get_enabled(b->bev) & EV_READ) && one_frame(b, &gone))
		if (++n == FRAMES_A_TURN) {
			event_active(b->more, EV_TIMEOUT, 0);
			break;
		}
	if (!gone)
		b->gone = NULL;
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	read_frames(arg);
}

static void
on_more(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_frames(arg);
}

static void tell_room(struct bulk *);
static void on_tick(evutil_socket_t, short, void *);

static void
on_write(struct bufferevent *bev, void *arg)
{
	struct bulk *b = arg;
	bool gone = false, *outer = b->gone;

	(void)bev;
	if (b->ops->first != NULL) {
		b->gone = &gone;
		b->ops->first(b->arg);
		if (gone) {
			if (outer != NULL)
				*outer = true;
			return;
		}
		b->gone = outer;
	}
	tell_room(b);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct bulk *b = arg;

	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
		b->ops->gone(b->arg, what & BEV_EVENT_EOF ? "closed" : "broken");
}

struct bulk *
bulk_new(struct bufferevent *bev, const struct bulk_ops *ops, void *arg)
{
	struct bulk *b = mem_alloc(sizeof(*b));

	b->bev = bev;
	b->ops = ops;
	b->arg = arg;
	b->more = event_new(bufferevent_get_base(bev), -1, 0, on_more, b);
	b->tick = event_new(bufferevent_get_base(bev), -1, 0, on_tick, b);
	b->held = evbuffer_new();
	b->filled_ms = clock_ms();
	if (b->more == NULL || b->tick == NULL || b->held == NULL)
		log_fatal("no memory");
	bufferevent_setcb(bev, on_read, on_write, on_event, b);
	bufferevent_setwatermark(bev, EV_READ, 0, 4 * (MIRROR_HEAD + MIRROR_BODY_MAX));
	bufferevent_setwatermark(bev, EV_WRITE, UNSENT_LOW, 0);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	event_active(b->more, EV_TIMEOUT, 0);
	return b;
}

void
bulk_free(struct bulk *b)
{
	if (b == NULL)
		return;
	if (b->gone != NULL)
		*b->gone = true;
	event_free(b->more);
	event_free(b->tick);
	evbuffer_free(b->held);
	bufferevent_free(b->bev);
	free(b);
}

/* Bytes of whole frames, and of the beginning of one. */
static void
pass(struct bulk *b, size_t n)
{
	struct evbuffer *out = bufferevent_get_output(b->bev);
	uint8_t head[4];

	while (n > 0) {
		size_t part;

		if (b->rest == 0) {
			if (evbuffer_copyout(b->held, head, sizeof(head)) < (ssize_t)sizeof(head))
				log_fatal("bulk: no frame is held");
			b->rest = sizeof(head) + wire_load32(head);
		}
		part = n < b->rest ? n : b->rest;
		if (evbuffer_remove_buffer(b->held, out, part) == -1)
			log_fatal("no memory");
		b->rest -= part;
		n -= part;
	}
}

/* Lets as much go as the time since the last call allows. */
static void
let_go(struct bulk *b)
{
	const struct timeval tick = { 0, LIMIT_TICK_MS * 1000 };
	size_t left = evbuffer_get_length(b->held), n = left;
	int64_t now = clock_ms(), most = (int64_t)(b->limit * LIMIT_BURST_MS / 1000);

	if (b->limit > 0) {
		b->tokens += (now - b->filled_ms) * (int64_t)b->limit / 1000;
		if (b->tokens > most)
			b->tokens = most;
		if ((int64_t)n > b->tokens)
			n = b->tokens > 0 ? (size_t)b->tokens : 0;
		b->tokens -= (int64_t)n;
	}
	b->filled_ms = now;
	pass(b, n);
	if (n < left && !event_pending(b->tick, EV_TIMEOUT, NULL) &&
	    event_add(b->tick, &tick) == -1)
		log_fatal("no timer");
}

/* The callee may free b. */
static void
tell_room(struct bulk *b)
{
	if (bulk_unsent(b) <= UNSENT_LOW)
		b->ops->room(b->arg);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	let_go(arg);
	tell_room(arg);
}

void
bulk_limit(struct bulk *b, uint64_t bytes_per_s)
{
	assert(bytes_per_s == 0 || bytes_per_s >= BULK_LIMIT_MIN);
	b->limit = bytes_per_s;
	b->tokens = 0;
	let_go(b);
}

void
bulk_relay(struct bulk *b, struct span whole)
{
	uint8_t head[4];

	wire_store32(head, (uint32_t)whole.len);
	if (evbuffer_add(b->held, head, sizeof(head)) == -1 ||
	    evbuffer_add(b->held, whole.p, whole.len) == -1)
		log_fatal("no memory");
	let_go(b);
}

static void
put(struct evbuffer *to, uint8_t type, const struct gen *gen, const void *p, size_t n)
{
	uint8_t head[4 + MIRROR_HEAD];

	wire_store32(head, (uint32_t)(MIRROR_HEAD + n));
	head[4] = type;
	wire_store32(head + 5, 0);
	wire_store64(head + 9, gen->no);
	memcpy(head + 17, gen->id, 16);
	if (evbuffer_add(to, head, sizeof(head)) == -1 || evbuffer_add(to, p, n) == -1)
		log_fatal("no memory");
}

void
bulk_send(struct bulk *b, uint8_t type, const struct gen *gen, const void *p, size_t n)
{
	put(b->held, type, gen, p, n);
	let_go(b);
}

/* The frame that is being sent has to end before. */
void
bulk_send_first(struct bulk *b, uint8_t type, const struct gen *gen, const void *p, size_t n)
{
	int64_t most = (int64_t)(b->limit * LIMIT_BURST_MS / 1000);

	b->tokens -= (int64_t)(b->rest + n);
	if (b->tokens < -most)
		b->tokens = -most;
	pass(b, b->rest);
	put(bufferevent_get_output(b->bev), type, gen, p, n);
}

size_t
bulk_unsent(const struct bulk *b)
{
	return evbuffer_get_length(b->held) +
	    evbuffer_get_length(bufferevent_get_output(b->bev));
}

size_t
bulk_unsent_first(const struct bulk *b)
{
	return evbuffer_get_length(bufferevent_get_output(b->bev));
}

void
bulk_read_enable(struct bulk *b, bool on)
{
	if (!on) {
		bufferevent_disable(b->bev, EV_READ);
		return;
	}
	bufferevent_enable(b->bev, EV_READ);
	event_active(b->more, EV_TIMEOUT, 0);
}
