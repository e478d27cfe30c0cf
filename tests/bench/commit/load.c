/* load.c - the clients of the comparison, in C so that they take little of the machine.
 *
 *   load smtp HOST CONNECTIONS SECONDS BYTES USERS [RATE]
 *       each connection delivers one message after the other; with RATE so many a second
 *       begin, all connections together, whatever the answers take
 *   load owner SOCKET PENDING SECONDS BYTES USER LSN
 *       the owner of one store shard, whose state is that of LSN, keeps so many appends
 *       under way
 *
 * Ends with one line: acked refused broken seconds p50_us p99_us max_us, where a time is
 * from the end of the message (from the proposal) to the acknowledgement; then one line for
 * each acknowledgement: its moment, microseconds of the monotonic clock. */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "log.h"
#include "mem.h"
#include "owner.h"

#define PORT 25
#define LINE_BYTES 72
#define OWNER_SHARD SHARD_STORE0

static struct {
	struct event_base *base;
	int64_t began_us, end_us;
	size_t refused, broken, n, cap;
	struct { int64_t at_us, took_us; } *acks;
	char *body;
	size_t bytes, users;
	double rate;
	unsigned long due, sent;	/* with a rate */
	bool over;
	/* owner */
	struct owner *owner;
	size_t pending, under_way;
	int64_t *since_us;		/* of token n at [n % (2 * pending)] */
	uint64_t newest;
} w;

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
acked(int64_t since_us)
{
	int64_t now = now_us();

	if (w.n == w.cap) {
		w.cap = w.cap * 2 + 4096;
		w.acks = mem_grow(w.acks, w.cap, sizeof(*w.acks));
	}
	w.acks[w.n].at_us = now;
	w.acks[w.n++].took_us = now - since_us;
}

/* ---- SMTP ---- */

enum step { GREETING, EHLO, MAIL, RCPT, DATA, DOT, IDLE };	/* what is answered next */

struct client {
	struct bufferevent *bev;
	enum step step;
	int64_t since_us;
	unsigned long no;
};
static struct client *clients;
static size_t nclients;

static void
say(struct client *c, enum step step)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	c->step = step;
	switch (step) {
	case EHLO:
		evbuffer_add_printf(out, "EHLO load.example\r\n");
		break;
	case MAIL:
		c->no = w.sent++;
		evbuffer_add_printf(out, "MAIL FROM:<load@client.example>\r\n");
		break;
	case RCPT:
		evbuffer_add_printf(out, "RCPT TO:<user%02lu@mail.example.org>\r\n",
		    c->no % w.users);
		break;
	case DATA:
		evbuffer_add_printf(out, "DATA\r\n");
		break;
	case DOT:
		evbuffer_add_printf(out, "Subject: load %ld %lu\r\n\r\n", (long)getpid(), c->no);
		evbuffer_add(out, w.body, w.bytes);
		evbuffer_add(out, ".\r\n", 3);
		c->since_us = now_us();
		break;
	default:
		break;
	}
}

static void
next_message(struct client *c)
{
	if (w.over || now_us() >= w.end_us)
		c->step = IDLE;
	else if (w.rate > 0 && w.due == 0)
		c->step = IDLE;
	else {
		if (w.rate > 0)
			w.due--;
		say(c, MAIL);
	}
}

static void
got_reply(struct client *c, const char *line)
{
	static const char wanted[] = { '2', '2', '2', '2', '3', '2' };

	if (c->step == IDLE)
		return;
	if (line[0] != wanted[c->step]) {
		w.refused++;
		if (w.refused == 1)
			fprintf(stderr, "refused: %s\n", line);
		if (c->step == RCPT || c->step == DATA)
			evbuffer_add_printf(bufferevent_get_output(c->bev), "RSET\r\n");
		next_message(c);
	} else if (c->step == DOT) {
		acked(c->since_us);
		next_message(c);
	} else if (c->step == EHLO) {
		next_message(c);
	} else {
		say(c, (enum step)(c->step + 1));
	}
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct client *c = arg;
	char *line;

	while ((line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF)) != NULL) {
		bool last = strlen(line) < 4 || line[3] != '-';

		if (last)
			got_reply(c, line);
		free(line);
	}
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	if ((what & BEV_EVENT_CONNECTED) != 0)
		return;
	w.broken++;
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	c->step = IDLE;
	c->bev = NULL;
	bufferevent_free(bev);
}

static int
start_clients(const char *host, size_t n)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int on = 1;

	if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
		return -1;
	clients = mem_array(n, sizeof(*clients));
	nclients = n;
	for (size_t i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd == -1 || connect(fd, (struct sockaddr *)&to, sizeof(to)) == -1)
			return -1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		evutil_make_socket_nonblocking(fd);
		clients[i].bev = bufferevent_socket_new(w.base, fd, BEV_OPT_CLOSE_ON_FREE);
		bufferevent_setcb(clients[i].bev, on_read, NULL, on_event, &clients[i]);
		bufferevent_enable(clients[i].bev, EV_READ | EV_WRITE);
	}
	return 0;
}

/* With a rate: what is due by now begins on whoever is free, in turn, so that none is idle
 * for so long that it is hung up on. */
static void
give_out(void)
{
	static unsigned long given;
	static size_t turn;
	unsigned long all = (unsigned long)((double)(now_us() - w.began_us) / 1e6 * w.rate);

	w.due += all - given;
	given = all;
	for (size_t i = 0; i < nclients && w.due > 0; i++) {
		struct client *c = &clients[turn++ % nclients];

		if (c->bev != NULL && c->step == IDLE)
			next_message(c);
	}
}

static bool
waiting(void)
{
	if (w.owner != NULL)
		return w.under_way > 0;
	for (size_t i = 0; i < nclients; i++)
		if (clients[i].bev != NULL && clients[i].step != IDLE)
			return true;
	return false;
}

/* ---- an owner ---- */

static void
propose(void)
{
	struct span p = { w.body, w.bytes };

	w.newest = owner_append(w.owner, OWNER_SHARD, 1, &p, 1);
	w.since_us[w.newest % (2 * w.pending)] = now_us();
	w.under_way++;
}

static void
on_record(void *arg, const struct owner_record *r, uint64_t token)
{
	(void)arg;
	if (r->type == OWNER_REC_GENERATION || token == 0)
		return;
	acked(w.since_us[token % (2 * w.pending)]);
	w.under_way--;
	if (!w.over && now_us() < w.end_us)
		propose();
}

static void
on_refused(void *arg, uint64_t token, enum owner_refusal why)
{
	(void)arg;
	(void)token;
	(void)why;
	w.refused++;
	w.under_way--;
}

static void
on_role(void *arg, const struct owner_role *r)
{
	(void)arg;
	if (!r->active || w.newest != 0)
		return;
	w.end_us += now_us() - w.began_us;
	w.began_us = now_us();
	for (size_t i = 0; i < w.pending; i++)
		propose();
}

static void
on_batch_end(void *arg)
{
	(void)arg;
}

static int
start_owner(const char *path, size_t pending, const char *user, uint64_t lsn)
{
	static const struct owner_ops ops = { .record = on_record, .batch_end = on_batch_end,
		.refused = on_refused, .role = on_role };
	struct passwd *pw = getpwnam(user);

	if (pw == NULL || initgroups(user, pw->pw_gid) == -1 || setgid(pw->pw_gid) == -1 ||
	    setuid(pw->pw_uid) == -1)
		return -1;
	w.pending = pending;
	w.since_us = mem_array(2 * pending + 2, sizeof(*w.since_us));
	w.owner = owner_new(w.base, path, &ops, NULL);
	owner_attach(w.owner, OWNER_SHARD, lsn);
	return 0;
}

/* ---- both ---- */

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	int64_t now = now_us();

	(void)fd;
	(void)what;
	(void)arg;
	if (w.rate > 0 && now < w.end_us)
		give_out();
	w.over = now >= w.end_us;
	/* what is under way may end; a message that hangs is not waited for longer */
	if (w.over && (!waiting() || now > w.end_us + 5000000))
		event_base_loopbreak(w.base);
}

static int
by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void
print(void)
{
	int64_t *took = mem_array(w.n + 1, sizeof(*took)), last = w.began_us;

	for (size_t i = 0; i < w.n; i++) {
		took[i] = w.acks[i].took_us;
		last = w.acks[i].at_us;
	}
	qsort(took, w.n, sizeof(*took), by_time);
	printf("%zu %zu %zu %.3f %lld %lld %lld\n", w.n, w.refused, w.broken,
	    (double)(last - w.began_us) / 1e6, w.n > 0 ? (long long)took[w.n / 2] : 0,
	    w.n > 0 ? (long long)took[w.n * 99 / 100] : 0, w.n > 0 ? (long long)took[w.n - 1] : 0);
	for (size_t i = 0; i < w.n; i++)
		printf("%lld\n", (long long)w.acks[i].at_us);
	free(took);
}

static void
make_body(size_t bytes)
{
	w.bytes = bytes;
	w.body = mem_alloc(bytes + 2);
	for (size_t i = 0; i < bytes; i++)
		w.body[i] = (char)('a' + i * 7 % 26);
	for (size_t i = LINE_BYTES; i + 2 <= bytes; i += LINE_BYTES)
		memcpy(w.body + i - 2, "\r\n", 2);
	if (bytes >= 2)
		memcpy(w.body + bytes - 2, "\r\n", 2);
}

int
main(int argc, char **argv)
{
	const struct timeval ms = { 0, 1000 };
	bool smtp = argc > 1 && strcmp(argv[1], "smtp") == 0;
	struct event *tick;
	size_t n;

	if (argc < 7 || (!smtp && (argc < 8 || strcmp(argv[1], "owner") != 0))) {
		fprintf(stderr, "usage: load smtp HOST CONNECTIONS SECONDS BYTES USERS [RATE]\n"
		    "       load owner SOCKET PENDING SECONDS BYTES USER LSN\n");
		return 10;
	}
	log_init("load", true, LOG_LEVEL_WARN);
	w.base = event_base_new();
	n = (size_t)strtoul(argv[3], NULL, 10);
	make_body((size_t)strtoul(argv[5], NULL, 10));
	w.users = smtp ? (size_t)strtoul(argv[6], NULL, 10) : 0;
	w.rate = smtp && argc > 7 ? strtod(argv[7], NULL) : 0;
	w.began_us = now_us();
	w.end_us = w.began_us + (int64_t)(strtod(argv[4], NULL) * 1e6);
	if ((smtp ? start_clients(argv[2], n) :
	    start_owner(argv[2], n, argv[6], strtoull(argv[7], NULL, 10))) == -1) {
		fprintf(stderr, "load: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	tick = event_new(w.base, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &ms);
	event_base_dispatch(w.base);
	print();
	return 0;
}
