/* notify.c - the queue in front of the notify script (see notify.h).
 *
 * What comes from the agent is a kind by number and texts; whatever they hold, the
 * script sees printable ASCII only, in variables of bounded length. */
#include "notify.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "clock.h"
#include "eventlog.h"
#include "log.h"
#include "mem.h"
#include "script.h"

#define QUEUE_MAX 32
#define WINDOW_MS 60000
#define ENV_MAX 12

struct message {
	TAILQ_ENTRY(message) next;
	enum eventlog_kind kind;
	int64_t wall_ms;
	uint64_t epoch;
	char role[16], text[NOTIFY_TEXT];
};

struct notify {
	struct event_base *base;
	const struct hagent_conf *conf;
	TAILQ_HEAD(, message) queue;
	size_t waiting;
	unsigned long missed;		/* since the last run */
	struct script *script;		/* under way, or NULL */
	const char *kind;		/* of it */
	struct event *later;		/* the next window of the limit */
	int64_t window_ms;		/* when the present one began */
	int runs;			/* in it */
};

static void
make_plain(char *s)
{
	for (; *s != '\0'; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
}

/* ---- one run ------------------------------------------------------------- */

static void run_next(struct notify *);

static void
on_done(const struct exec_ran *ran, void *arg)
{
	struct notify *n = arg;
	char text[300];

	n->script = NULL;
	if (ran->outcome != RAN_EXIT || ran->code != 0)
		log_warnx("notify %s of %s: %s", n->conf->notify, n->kind,
		    exec_ran_text(ran, text, sizeof(text)));
	run_next(n);
}

static void
fill_env(const struct notify *n, const struct message *m, char *env[ENV_MAX])
{
	time_t sec = (time_t)(m->wall_ms / 1000);
	char stamp[40] = "";
	struct tm tm;
	int i = 0;

	env[i++] = mem_dup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	env[i++] = mem_dup("LC_ALL=C");
	env[i++] = mem_printf("MAILPAIR_CLUSTER=%s", n->conf->cluster);
	env[i++] = mem_printf("MAILPAIR_NODE=%s", n->conf->node[n->conf->self]);
	if (gmtime_r(&sec, &tm) != NULL)
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	env[i++] = mem_printf("MAILPAIR_EVENT=%s", eventlog_kind_name(m->kind));
	env[i++] = mem_printf("MAILPAIR_TEXT=%s", m->text);
	env[i++] = mem_printf("MAILPAIR_TIME=%s", stamp);
	env[i++] = mem_printf("MAILPAIR_EPOCH=%llu", (unsigned long long)m->epoch);
	env[i++] = mem_printf("MAILPAIR_ROLE=%s", m->role);
	env[i++] = mem_printf("MAILPAIR_MISSED=%lu", n->missed);
	env[i] = NULL;
}

static void
run(struct notify *n, const struct message *m)
{
	char *env[ENV_MAX], *kind = mem_dup(eventlog_kind_name(m->kind));
	char *argv[] = { n->conf->notify, kind, NULL };
	struct script_conf s = { .argv = argv, .env = env,
		.limit_ms = n->conf->notify_timeout_ms };

	fill_env(n, m, env);
	n->missed = 0;
	n->kind = eventlog_kind_name(m->kind);
	n->script = script_run(n->base, &s, on_done, n);
	free(kind);
	for (int i = 0; env[i] != NULL; i++)
		free(env[i]);
}

/* How long until the limit allows another run; 0 now. */
static int64_t
must_wait(struct notify *n)
{
	int64_t now = clock_ms();

	if (n->window_ms == 0 || now - n->window_ms >= WINDOW_MS) {
		n->window_ms = now;
		n->runs = 0;
	}
	return n->runs < n->conf->notify_max ? 0 : n->window_ms + WINDOW_MS - now;
}

static void
run_next(struct notify *n)
{
	struct message *m = TAILQ_FIRST(&n->queue);
	int64_t wait;
	struct timeval tv;

	if (m == NULL || n->script != NULL || evtimer_pending(n->later, NULL))
		return;
	wait = must_wait(n);
	if (wait > 0) {
		log_warnx("notify: %d runs in a minute, %zu wait", n->runs, n->waiting);
		tv = (struct timeval){ wait / 1000, wait % 1000 * 1000 };
		evtimer_add(n->later, &tv);
		return;
	}
	n->runs++;
	TAILQ_REMOVE(&n->queue, m, next);
	n->waiting--;
	run(n, m);
	free(m);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run_next(arg);
}

/* ---- what is asked ------------------------------------------------------- */

int
notify_take(struct notify *n, struct wire_in *in)
{
	struct message m = { .kind = (enum eventlog_kind)wire_get_u8(in) };
	struct message *kept;

	m.wall_ms = (int64_t)wire_get_u64(in);
	m.epoch = wire_get_u64(in);
	wire_get_str(in, m.role, sizeof(m.role));
	wire_get_str(in, m.text, sizeof(m.text));
	if (!wire_in_done(in) || (unsigned)m.kind >= EVENTLOG_KINDS) {
		errno = EBADMSG;
		return -1;
	}
	if (n->conf->notify[0] == '\0')
		return 0;
	if (n->waiting >= QUEUE_MAX) {
		if (n->missed++ == 0)
			log_warnx("notify: %d messages wait, further ones are dropped", QUEUE_MAX);
		return 0;
	}
	make_plain(m.role);
	make_plain(m.text);
	kept = mem_alloc(sizeof(*kept));
	*kept = m;
	TAILQ_INSERT_TAIL(&n->queue, kept, next);
	n->waiting++;
	run_next(n);
	return 0;
}

bool
notify_reaped(struct notify *n, pid_t pid, int st)
{
	if (n->script == NULL || script_pid(n->script) != pid)
		return false;
	script_reaped(n->script, st);
	return true;
}

struct notify *
notify_new(struct event_base *base, const struct hagent_conf *conf)
{
	struct notify *n = mem_alloc(sizeof(*n));

	n->base = base;
	n->conf = conf;
	TAILQ_INIT(&n->queue);
	n->later = evtimer_new(base, on_later, n);
	return n;
}

void
notify_free(struct notify *n)
{
	struct message *m;

	if (n == NULL)
		return;
	while ((m = TAILQ_FIRST(&n->queue)) != NULL) {
		TAILQ_REMOVE(&n->queue, m, next);
		free(m);
	}
	event_free(n->later);
	free(n);
}
