/* mirror_chan.c - see mirror_chan.h.
 *
 * ipc frames (lib/ipc.h) by hand, because a worker blocks: its syncd stops reading
 * when the network is full, and that is what slows a source down.  A pass is lockstep
 * (the target asks, the source answers), so only one side has much to say at a time
 * and two blocked writers cannot meet.  Messages travel in packs (mirror_pack.h). */
#define _GNU_SOURCE
#include "mirror_chan.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

#define HEADER 12u
#define FRAME_MAX (MIRROR_HEAD + MIRROR_BODY_MAX)
#define TICK_MS 500
#define SILENT_MS 120000
#define CALM_MS 50

void
mirror_chan_init(struct mirror_chan *c, int fd)
{
	*c = (struct mirror_chan){ .fd = fd, .watch_fd = -1, .silent_ms = SILENT_MS,
		.phase = "" };
}

void
mirror_chan_clear(struct mirror_chan *c)
{
	close(c->fd);
	mirror_pack_free(c->pack);
	free(c->buf);
	*c = (struct mirror_chan){ .fd = -1, .watch_fd = -1 };
}

int
mirror_chan_fail(struct mirror_chan *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	return -1;
}

static int
broken(struct mirror_chan *c, const char *what)
{
	c->broken = true;
	(void)mirror_chan_fail(c, "the channel to syncd is broken: %s", what);
	return -1;
}

/* ---- frames ------------------------------------------------------------ */

static void
advance(struct iovec *iov, size_t n, size_t bytes)
{
	for (size_t i = 0; i < n && bytes > 0; i++) {
		size_t k = bytes < iov[i].iov_len ? bytes : iov[i].iov_len;

		iov[i].iov_base = (char *)iov[i].iov_base + k;
		iov[i].iov_len -= k;
		bytes -= k;
	}
}

static int
write_all(struct mirror_chan *c, struct iovec *iov, size_t n, size_t left)
{
	while (left > 0) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
		ssize_t k = sendmsg(c->fd, &m, MSG_NOSIGNAL);

		if (k == -1 && errno == EINTR)
			continue;
		if (k == -1)
			return broken(c, strerror(errno));
		advance(iov, n, (size_t)k);
		left -= (size_t)k;
	}
	return 0;
}

/* One frame to syncd, its body in two pieces. */
static int
put_frame(struct mirror_chan *c, uint16_t type, struct span head, struct span body)
{
	uint8_t h[HEADER];
	struct iovec iov[3] = { { h, HEADER }, { (void *)(uintptr_t)head.p, head.len },
		{ (void *)(uintptr_t)body.p, body.len } };

	wire_store32(h, (uint32_t)(head.len + body.len));
	wire_store16(h + 4, type);
	h[6] = 1;
	h[7] = 0;
	wire_store32(h + 8, c->pass);
	return write_all(c, iov, 3, HEADER + head.len + body.len);
}

static int
read_all(struct mirror_chan *c, uint8_t *dst, size_t n)
{
	while (n > 0) {
		ssize_t k = recv(c->fd, dst, n, MSG_WAITALL);

		if (k == -1 && errno == EINTR)
			continue;
		if (k == 0)
			return broken(c, "end of file");
		if (k == -1)
			return broken(c, strerror(errno));
		dst += k;
		n -= (size_t)k;
	}
	return 0;
}

static int
readable(struct mirror_chan *c, int wait_ms)
{
	struct pollfd p[2] = { { .fd = c->fd, .events = POLLIN },
		{ .fd = c->watch_fd, .events = POLLIN } };	/* -1 is left out */
	int n = poll(p, 2, wait_ms);

	if (n <= 0)
		return n == -1 && errno == EINTR ? 0 : n;
	if (p[1].revents != 0)
		c->on_watch(c->watch_arg);
	return p[0].revents != 0;
}

/* Between passes: until syncd has something to say.  Many events are taken together. */
static int
wait_idle(struct mirror_chan *c)
{
	for (;;) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		int n = readable(c, -1);

		if (n != 0)
			return n == 1 ? 0 : broken(c, strerror(errno));
		if (poll(&p, 1, CALM_MS) == 1)
			return 0;
	}
}

static int
get_frame(struct mirror_chan *c, struct mirror_msg *m)
{
	uint8_t h[HEADER];
	uint32_t len;

	if (read_all(c, h, sizeof(h)) == -1)
		return -1;
	len = wire_load32(h);
	if (len > FRAME_MAX || h[6] != 1 || h[7] != 0)
		return broken(c, "bad frame");
	if (len > c->cap) {
		c->cap = FRAME_MAX;
		c->buf = mem_grow(c->buf, c->cap, 1);
	}
	if (read_all(c, c->buf, len) == -1)
		return -1;
	*m = (struct mirror_msg){ .kind = wire_load16(h + 4), .pass = wire_load32(h + 8) };
	wire_in_init(&m->body, c->buf, len);
	return 0;
}

/* ---- what arrives ------------------------------------------------------ */

static const char *
direction(const struct mirror_chan *c)
{
	return c->source ? mirror_guard_source(&c->view) :
	    mirror_guard_target(&c->view, &c->gen);
}

/* Our own node changed: a pass goes on only in the generation that it began in. */
static int
take_state(struct mirror_chan *c, struct mirror_msg *m)
{
	struct mirror_view v = { 0 };
	const char *why;

	v.active = wire_get_u8(&m->body) != 0;
	v.standby = wire_get_u8(&m->body) != 0;
	v.connected = wire_get_u8(&m->body) != 0;
	gen_get(&m->body, &v.gen);
	if (!wire_in_done(&m->body))
		return broken(c, "bad state");
	c->view = v;
	if (!c->in_pass)
		return 0;
	if (!v.connected)
		return mirror_chan_fail(c, "the connection to the peer was lost");
	if ((why = direction(c)) != NULL)
		return mirror_chan_fail(c, "%s", why);
	if (c->source && !gen_same(&v.gen, &c->gen))
		return mirror_chan_fail(c, "a new generation began");
	return 0;
}

static int
take_peer_head(struct mirror_chan *c, struct mirror_msg *m)
{
	m->type = wire_get_u8(&m->body);
	m->pass = wire_get_u32(&m->body);
	m->gen.no = wire_get_u64(&m->body);
	wire_get_raw(&m->body, m->gen.id, sizeof(m->gen.id));
	return wire_in_ok(&m->body) ? 0 : broken(c, "bad head");
}

int
mirror_chan_next(struct mirror_chan *c, struct mirror_msg *m)
{
	for (;;) {
		if (wait_idle(c) == -1 || get_frame(c, m) == -1)
			return -1;
		if (m->kind == MW_STATE) {
			if (take_state(c, m) == -1)
				return -1;
			continue;
		}
		return m->kind == MW_PEER ? take_peer_head(c, m) : 0;
	}
}

static int
take_alive(struct mirror_chan *c, struct mirror_msg *m)
{
	static const char *const known[] = { "scanning", "comparing", "listing", "deleting",
		"preparing", "copying", "linking", "finishing" };
	uint64_t done, of;
	char phase[40];

	wire_get_str(&m->body, phase, sizeof(phase));
	done = wire_get_u64(&m->body);
	of = wire_get_u64(&m->body);
	if (!wire_in_done(&m->body))
		return mirror_chan_fail(c, "malformed message");
	if (!c->source)
		return 0;		/* the target knows best how far it is */
	c->done = done;
	c->of = of;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(phase, known[i]) == 0)
			c->phase = known[i];
	return 0;
}

static int
take_abort(struct mirror_chan *c, struct mirror_msg *m)
{
	char text[300];

	wire_get_str(&m->body, text, sizeof(text));
	return mirror_chan_fail(c, "the other node ended the pass: %s", log_safe(text));
}

/* 1 and the next message of the pack that is open; 0: there is none. */
static int
next_packed(struct mirror_chan *c, struct mirror_msg *m)
{
	struct mirror_msg next = { .kind = MW_PEER, .pass = c->pass, .gen = c->gen };

	if (c->pack == NULL || mirror_pack_next(c->pack, &next.type, &next.body) == 0)
		return 0;
	*m = next;
	return 1;
}

/* One frame during a pass: 1 a message for the caller, 0 taken in, -1 pass over. */
static int
take(struct mirror_chan *c, struct mirror_msg *m)
{
	const char *why;

	if (get_frame(c, m) == -1)
		return -1;
	if (m->kind == MW_STATE)
		return take_state(c, m);
	if (m->kind != MW_PEER)
		return 0;		/* a second MW_RUN: syncd knows that we are busy */
	if (take_peer_head(c, m) == -1)
		return -1;
	if (m->pass != c->pass)
		return 0;		/* the rest of a pass that is over */
	if (!c->source && (why = mirror_guard_target(&c->view, &m->gen)) != NULL)
		return mirror_chan_fail(c, "refused: %s", why);
	if (m->type == MM_ALIVE)
		return take_alive(c, m);
	if (m->type == MM_ABORT)
		return take_abort(c, m);
	if (m->type != MM_PACK)
		return 1;
	if (c->pack == NULL || mirror_pack_open(c->pack, wire_get_rest(&m->body)) == -1)
		return mirror_chan_fail(c, "malformed pack");
	return next_packed(c, m);
}

int
mirror_chan_recv(struct mirror_chan *c, struct mirror_msg *m)
{
	int64_t until = clock_ms() + c->silent_ms;

	if (next_packed(c, m) == 1)
		return 0;
	if (mirror_chan_flush(c) == -1)
		return -1;
	for (;;) {
		int rc = readable(c, TICK_MS);

		if (rc == -1)
			return broken(c, strerror(errno));
		if (rc == 0) {
			if (clock_ms() > until)
				return mirror_chan_fail(c, "the other node was silent for %d s",
				    c->silent_ms / 1000);
			if (mirror_chan_tick(c) == -1)
				return -1;
			continue;
		}
		if ((rc = take(c, m)) != 0)
			return rc == 1 ? 0 : -1;
		until = clock_ms() + c->silent_ms;
	}
}

/* ---- what leaves ------------------------------------------------------- */

/* One message, as it is. */
static int
send_now(struct mirror_chan *c, enum mirror_type type, const void *p, size_t n)
{
	uint8_t head[MIRROR_HEAD];

	head[0] = (uint8_t)type;
	wire_store32(head + 1, c->pass);
	wire_store64(head + 5, c->gen.no);
	memcpy(head + 13, c->gen.id, 16);
	c->sent += MIRROR_HEAD + n;
	return put_frame(c, MW_PEER, (struct span){ (const char *)head, sizeof(head) },
	    (struct span){ p, n });
}

int
mirror_chan_flush(struct mirror_chan *c)
{
	struct span body;

	if (c->pack == NULL || !mirror_pack_waiting(c->pack))
		return 0;
	body = mirror_pack_take(c->pack);
	return send_now(c, MM_PACK, body.p, body.len);
}

/* Signs of life and the end do not wait in a pack. */
int
mirror_chan_send_raw(struct mirror_chan *c, enum mirror_type type, const void *p, size_t n)
{
	if (c->pack == NULL || type == MM_ALIVE || type == MM_ABORT)
		return send_now(c, type, p, n);
	if (!mirror_pack_fits(c->pack, n) && mirror_chan_flush(c) == -1)
		return -1;
	if (!mirror_pack_fits(c->pack, n))
		return send_now(c, type, p, n);
	mirror_pack_add(c->pack, (uint8_t)type, p, n);
	return 0;
}

void
mirror_chan_pack(struct mirror_chan *c, int level)
{
	mirror_pack_free(c->pack);
	c->pack = mirror_pack_new(level);
}

int
mirror_chan_send(struct mirror_chan *c, enum mirror_type type, const struct wire_out *w)
{
	return mirror_chan_send_raw(c, type, w != NULL ? w->p : NULL, w != NULL ? w->len : 0);
}

static int
send_progress(struct mirror_chan *c)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_str(&w, c->phase);
	wire_put_u64(&w, c->done);
	wire_put_u64(&w, c->of);
	rc = mirror_chan_flush(c);
	if (rc == 0)
		rc = mirror_chan_send(c, MM_ALIVE, &w);
	wire_put_u64(&w, c->sent);
	if (rc == 0)
		rc = put_frame(c, MW_PROGRESS, wire_out_span(&w), SPAN(""));
	wire_out_clear(&w);
	return rc;
}

/* Is what comes next something that can be taken at any time?  Everything else waits
 * for the next recv; data may well be under way to a target that ticks. */
static bool
at_any_time(struct mirror_chan *c)
{
	uint8_t h[HEADER + 1];
	ssize_t n = recv(c->fd, h, sizeof(h), MSG_PEEK | MSG_DONTWAIT);

	if (n == 0)
		return true;		/* syncd is gone: get_frame says so */
	if (n < (ssize_t)sizeof(h))
		return false;
	if (wire_load16(h + 4) != MW_PEER)
		return true;
	return h[HEADER] == MM_ALIVE || h[HEADER] == MM_ABORT;
}

/* Takes states, signs of life and the end of the pass; the caller's message stays. */
static int
take_waiting(struct mirror_chan *c)
{
	uint8_t *buf = c->buf;
	size_t cap = c->cap;
	struct mirror_msg m;
	int rc = 0;

	c->buf = NULL;
	c->cap = 0;
	while (rc == 0 && at_any_time(c))
		rc = take(c, &m);
	free(c->buf);
	c->buf = buf;
	c->cap = cap;
	return rc == -1 ? -1 : 0;
}

int
mirror_chan_look(struct mirror_chan *c)
{
	return c->in_pass ? take_waiting(c) : 0;
}

int
mirror_chan_tick(struct mirror_chan *c)
{
	int64_t now = clock_ms();

	if (now - c->ticked_ms < TICK_MS)
		return 0;
	c->ticked_ms = now;
	if (c->watch_fd != -1)
		c->on_watch(c->watch_arg);
	if (!c->in_pass)
		return 0;
	return take_waiting(c) == -1 ? -1 : send_progress(c);
}

void
mirror_chan_phase(struct mirror_chan *c, const char *phase, uint64_t of)
{
	c->phase = phase;
	c->done = 0;
	c->of = of;
}

void
mirror_chan_begin(struct mirror_chan *c, bool source, uint32_t pass, const struct gen *gen)
{
	c->in_pass = true;
	c->source = source;
	c->pass = pass;
	c->gen = *gen;
	c->sent = 0;
	c->why[0] = '\0';
	mirror_pack_free(c->pack);
	c->pack = NULL;
	c->ticked_ms = clock_ms();
	mirror_chan_phase(c, "scanning", 0);
}

void
mirror_chan_end(struct mirror_chan *c, bool abort)
{
	struct wire_out w;

	if (abort && c->in_pass && !c->broken) {
		wire_out_init(&w);
		wire_put_str(&w, log_safe(c->why));
		(void)mirror_chan_send(c, MM_ABORT, &w);
		wire_out_clear(&w);
	}
	c->in_pass = false;
	mirror_pack_free(c->pack);
	c->pack = NULL;
}

int
mirror_chan_plan(struct mirror_chan *c, struct wire_in *rows)
{
	struct span body = wire_get_rest(rows);

	return put_frame(c, MW_PLAN, body, SPAN(""));
}

int
mirror_chan_source(struct mirror_chan *c, const struct wire_out *w)
{
	return put_frame(c, MW_SOURCE, wire_out_span(w), SPAN(""));
}

int
mirror_chan_report(struct mirror_chan *c, const char *path, const struct mirror_result *r)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u8(&w, c->source);
	wire_put_str(&w, path);
	mirror_result_put(&w, r);
	rc = put_frame(c, MW_DONE, wire_out_span(&w), SPAN(""));
	wire_out_clear(&w);
	return rc;
}
