/* queue_send.c - transfers to the smart host: sessions, and the jobs they carry.
 *
 * A job is one message and up to a hundred of its recipients.  When its session has
 * given every recipient an outcome the job is a RESULT record; until that is committed
 * the message is busy and not sent again, so a log that does not take records for a
 * while costs no duplicates.  A host that cannot be connected to is left alone for a
 * pause that doubles, and then tried with one session only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/event.h>

#include "clock.h"
#include "fs.h"
#include "log.h"
#include "mem.h"
#include "owner.h"
#include "queue_int.h"
#include "tls.h"

#define IDS_MAX 1200
#define RECORD_AGAIN_MS 1000

struct queue_job {
	TAILQ_ENTRY(queue_job) next;
	struct queue *q;
	struct queue_session *session;	/* NULL: being recorded */
	struct queue_message message;
	struct queue_rcpt *rcpts;
	struct queue_result *results;
	const char **addresses;
	size_t n;
	struct smtp_client_mail mail;
	int64_t began_ms, again_ms;	/* again_ms: propose the result anew; 0: it is under way */
};

struct queue_session {
	TAILQ_ENTRY(queue_session) next;
	struct queue *q;
	struct smtp_client *client;
	struct queue_job *job;
	bool ready, was_ready, stopped;
};

/* ---- the smart host ------------------------------------------------------ */

/* "user:password" in one line. */
static const char *
credentials(struct queue_host *h, const char *path)
{
	struct span text, user, pass;
	char *buf = NULL;
	size_t len;

	if (fs_read(path, 4096, &buf, &len) == -1) {
		log_warn("cannot read %s", path);
		return "smart-host-credentials-file cannot be read";
	}
	text = (struct span){ buf, len };
	span_cut(&text, '\n', &pass);
	if (pass.len > 0 && pass.p[pass.len - 1] == '\r')
		pass.len--;
	if (memchr(pass.p, ':', pass.len) != NULL && span_cut(&pass, ':', &user) && pass.len > 0) {
		h->user = span_dup(user);
		h->password = span_dup(pass);
	}
	mem_wipe(buf, len);
	free(buf);
	return h->user != NULL ? NULL : "smart-host-credentials-file is not user:password";
}

void
queue_host_init(struct queue *q)
{
	static const enum smtp_client_tls tls[] = { [SMART_TLS_NONE] = SMTP_CLIENT_PLAIN,
		[SMART_TLS_MAY] = SMTP_CLIENT_MAY, [SMART_TLS_VERIFY] = SMTP_CLIENT_MUST };
	struct queue_host *h = &q->host;
	const struct maild_conf *c = q->conf;
	struct sockaddr_storage ss;
	socklen_t len;
	char err[256];

	if (c->smart_host[0] == '\0') {
		h->blocked = "no smart-host is configured";
		return;
	}
	if (maild_conf_host(c->smart_host, h->name, sizeof(h->name), &h->port) == -1)
		h->blocked = "smart-host is not host:port";	/* maild_conf.c refused it */
	h->numeric = maild_conf_address(c->smart_host, &ss, &len) == 0;
	h->rules = (struct smtp_client_rules){ .helo = c->hostname, .server = h->name,
		.tls = tls[c->smart_tls], .timeout_s = c->queue_timeout_s };
	h->rules.implicit = h->port == 465 && c->smart_tls != SMART_TLS_NONE;
	if (c->smart_tls != SMART_TLS_NONE
	    && (h->rules.ctx = tls_client_new(c->smart_tls == SMART_TLS_MAY, err, sizeof(err))) == NULL) {
		log_err("smart-host-tls: %s", err);
		h->blocked = "the system's certificates cannot be read";
	}
	if (h->blocked == NULL && c->smart_credentials_file[0] != '\0')
		h->blocked = credentials(h, c->smart_credentials_file);
	h->rules.user = h->user;
	h->rules.password = h->password;
	h->plain = h->rules;
	h->plain.tls = SMTP_CLIENT_PLAIN;
	if (h->blocked != NULL)
		log_err("mail to other hosts stays in the queue: %s", h->blocked);
}

void
queue_host_clear(struct queue *q)
{
	struct queue_host *h = &q->host;

	if (h->password != NULL)
		mem_wipe(h->password, strlen(h->password));
	free(h->user);
	free(h->password);
	SSL_CTX_free(h->rules.ctx);
	if (h->dns != NULL)
		evdns_base_free(h->dns, 0);
}

/* ---- jobs ---------------------------------------------------------------- */

static void
job_free(struct queue_job *j)
{
	TAILQ_REMOVE(&j->q->jobs, j, next);
	free(j->rcpts);
	free(j->results);
	free(j->addresses);
	free(j);
}

/* NULL when nothing is left to send of it. */
static struct queue_job *
job_new(struct queue *q, uint64_t id)
{
	struct queue_rcpt *list;
	struct queue_job *j;
	uint16_t from = 0;
	size_t got;

	j = mem_alloc(sizeof(*j));
	j->q = q;
	j->began_ms = clock_ms();
	j->rcpts = mem_array(SMTP_CLIENT_RCPTS_MAX, sizeof(*j->rcpts));
	j->results = mem_array(SMTP_CLIENT_RCPTS_MAX, sizeof(*j->results));
	j->addresses = mem_array(SMTP_CLIENT_RCPTS_MAX, sizeof(*j->addresses));
	list = mem_array(SMTP_CLIENT_RCPTS_MAX, sizeof(*list));
	TAILQ_INSERT_TAIL(&q->jobs, j, next);
	while (j->n < SMTP_CLIENT_RCPTS_MAX
	    && (got = queue_shard_rcpts(q->shard, id, from, list, SMTP_CLIENT_RCPTS_MAX)) > 0) {
		for (size_t i = 0; i < got && j->n < SMTP_CLIENT_RCPTS_MAX; i++)
			if (!list[i].failed)
				j->rcpts[j->n++] = list[i];
		if (list[got - 1].index == UINT16_MAX)
			break;
		from = (uint16_t)(list[got - 1].index + 1);
	}
	free(list);
	if (j->n == 0 || !queue_shard_message(q->shard, id, &j->message)) {
		job_free(j);
		return NULL;
	}
	for (size_t i = 0; i < j->n; i++) {
		j->addresses[i] = j->rcpts[i].address;
		j->results[i] = (struct queue_result){ .rcpt = j->rcpts[i].index,
			.outcome = QUEUE_DEFER };
	}
	j->mail = (struct smtp_client_mail){ j->message.sender, j->addresses, j->n,
		j->message.size, (j->message.flags & QUEUE_EIGHT_BIT) != 0 };
	return j;
}

static void
job_log(const struct queue_job *j)
{
	for (size_t i = 0; i < j->n; i++)
		log_info("queue %016llx %s id=%s to=<%s> attempt=%u ms=%lld reply=\"%s\"",
		    (unsigned long long)j->message.id, queue_outcome_name(j->results[i].outcome),
		    j->message.trace, log_safe(j->rcpts[i].address), j->message.attempts + 1,
		    (long long)(clock_ms() - j->began_ms), log_safe(j->results[i].reply));
}

static void job_record(struct queue_job *);

static void
on_recorded(void *arg, enum mail_rc rc, const struct queue_commit *commit)
{
	struct queue_job *j = arg;
	struct queue *q = j->q;

	(void)commit;
	if (rc == MAIL_OK || rc == MAIL_UNKNOWN || rc == MAIL_BAD) {
		job_free(j);
		queue_kick(q);
		return;
	}
	/* The outcome is a fact: it is kept until the log takes it. */
	j->again_ms = clock_ms() + RECORD_AGAIN_MS;
}

/* Recipients that this job had no room for are sent at once, not at the next attempt. */
static int64_t
next_attempt(const struct queue_job *j)
{
	int64_t now = clock_wall_ms();

	for (size_t i = 0; i < j->n; i++)
		if (j->results[i].outcome == QUEUE_DEFER)
			return queue_retry_next(&j->q->rules, j->message.attempts + 1,
			    j->message.created_ms, now, j->message.id);
	return now;
}

static void
job_record(struct queue_job *j)
{
	struct wire_out w;

	j->session = NULL;
	j->again_ms = 0;
	wire_out_init(&w);
	queue_result_put(&w, j->message.id, next_attempt(j), j->results, (uint16_t)j->n);
	queue_change_put(j->q, QUEUE_RESULT, &w, on_recorded, j);
}

static void
set_all(struct queue_job *j, enum queue_outcome o, const char *why)
{
	for (size_t i = 0; i < j->n; i++) {
		j->results[i].outcome = o;
		snprintf(j->results[i].reply, sizeof(j->results[i].reply), "%s", why);
	}
}

/* ---- sessions ------------------------------------------------------------ */

static void
on_ready(void *arg)
{
	struct queue_session *s = arg;

	s->ready = s->was_ready = true;
	s->q->host.failures = 0;
	s->q->host.next_ms = 0;
	queue_kick(s->q);
}

static ssize_t
on_text(void *arg, uint64_t at, char *buf, size_t n)
{
	struct queue_session *s = arg;
	const struct queue_message *m = &s->job->message;
	size_t got = at < m->size ? queue_shard_text(s->q->shard, m->id, at, buf, n) : 0;

	/* An operator may have deleted it in the meantime. */
	return got == 0 && at < m->size ? -1 : (ssize_t)got;
}

static void
on_outcome(void *arg, size_t i, enum smtp_outcome o, const char *reply)
{
	struct queue_session *s = arg;
	struct queue_result *r = &s->job->results[i];

	r->outcome = o == SMTP_DELIVERED ? QUEUE_DONE : o == SMTP_REJECTED ? QUEUE_FAIL : QUEUE_DEFER;
	snprintf(r->reply, sizeof(r->reply), "%s", reply);
}

/* The session has nothing more to say about the job.  What this node did not get to,
 * because it serves no more, is not an attempt. */
static void
job_end(struct queue_session *s)
{
	struct queue_job *j = s->job;
	bool tried = !s->stopped;

	s->job = NULL;
	for (size_t i = 0; i < j->n; i++)
		tried = tried || j->results[i].outcome != QUEUE_DEFER;
	if (!tried) {
		job_free(j);
		return;
	}
	job_log(j);
	job_record(j);
}

static void
on_done(void *arg)
{
	job_end(arg);
}

static void
host_failed(struct queue *q, bool tls, const char *why)
{
	struct queue_host *h = &q->host;
	int64_t now = clock_ms();

	if (now >= h->next_ms) {	/* sessions that fail together count once */
		h->failures++;
		h->next_ms = now + queue_retry_host_ms(&q->rules, h->failures);
	}
	/* Without a name server a new set of them is read from resolv.conf. */
	if (h->dns != NULL)
		evdns_base_free(h->dns, 1);
	h->dns = NULL;
	if (tls && h->rules.tls == SMTP_CLIENT_MAY && h->user == NULL && !h->rules.implicit)
		h->skip_tls = true;
	log_warnx("queue: smart host %s: %s (failure %u)", q->conf->smart_host, log_safe(why),
	    h->failures);
}

static void
on_closed(void *arg, bool tls, const char *why)
{
	struct queue_session *s = arg;
	struct queue *q = s->q;

	if (!s->was_ready && !s->stopped)
		host_failed(q, tls, why);
	if (s->job != NULL) {		/* it was waiting for a session that never began */
		set_all(s->job, QUEUE_DEFER, why);
		job_end(s);
	}
	smtp_client_free(s->client);
	TAILQ_REMOVE(&q->sessions, s, next);
	q->nsessions--;
	free(s);
	queue_kick(q);
}

static const struct smtp_client_ops client_ops = { on_ready, on_text, on_outcome, on_done,
	on_closed };

static void
host_resolver(struct queue *q)
{
	struct queue_host *h = &q->host;

	if (h->numeric || h->dns != NULL)
		return;
	h->dns = evdns_base_new(q->base, EVDNS_BASE_INITIALIZE_NAMESERVERS
	    | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (h->dns == NULL && (h->dns = evdns_base_new(q->base, 0)) == NULL)
		log_fatal("cannot make a resolver");
}

static void
session_start(struct queue *q, struct queue_job *j)
{
	struct queue_session *s = mem_alloc(sizeof(*s));
	struct queue_host *h = &q->host;
	struct bufferevent *bev = bufferevent_socket_new(q->base, -1,
	    BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);

	if (bev == NULL)
		log_fatal("out of memory");
	s->q = q;
	s->job = j;
	j->session = s;
	TAILQ_INSERT_TAIL(&q->sessions, s, next);
	q->nsessions++;
	s->client = smtp_client_new(q->base, bev, false, h->skip_tls ? &h->plain : &h->rules,
	    &client_ops, s);
	h->skip_tls = false;
	host_resolver(q);
	if (bufferevent_socket_connect_hostname(bev, h->dns, AF_UNSPEC, h->name, h->port) == -1)
		smtp_client_abort(s->client, "4.4.1 cannot connect");
}

/* ---- what to do next ----------------------------------------------------- */

bool
queue_send_busy(const struct queue *q, uint64_t id)
{
	const struct queue_job *j;

	TAILQ_FOREACH(j, &q->jobs, next)
		if (j->message.id == id)
			return true;
	return false;
}

int64_t
queue_send_next(const struct queue *q)
{
	const struct queue_job *j;
	int64_t next = q->host.next_ms;

	TAILQ_FOREACH(j, &q->jobs, next)
		if (j->again_ms != 0 && (next == 0 || j->again_ms < next))
			next = j->again_ms;
	return next;
}

static struct queue_session *
idle_session(struct queue *q)
{
	struct queue_session *s;

	TAILQ_FOREACH(s, &q->sessions, next)
		if (s->ready && s->job == NULL)
			return s;
	return NULL;
}

static bool
may_connect(const struct queue *q)
{
	const struct queue_host *h = &q->host;

	if (h->failures > 0)
		return q->nsessions == 0 && clock_ms() >= h->next_ms;
	return q->nsessions < q->conf->queue_transfers;
}

static void
quit_idle(struct queue *q)
{
	struct queue_session *s;

	while ((s = idle_session(q)) != NULL) {
		s->ready = false;
		smtp_client_quit(s->client);
	}
}

/* False: there is no session for it. */
static bool
give(struct queue *q, uint64_t id)
{
	struct queue_session *s = idle_session(q);
	struct queue_job *j;

	if (s == NULL && !may_connect(q))
		return false;
	if ((j = job_new(q, id)) == NULL)
		return true;
	if (s == NULL) {
		session_start(q, j);
		return true;
	}
	s->ready = false;
	s->job = j;
	j->session = s;
	smtp_client_send(s->client, &j->mail);
	return true;
}

/* Sessions that came up for a job that waits. */
static void
begin_waiting(struct queue *q)
{
	struct queue_session *s;

	TAILQ_FOREACH(s, &q->sessions, next)
		if (s->ready && s->job != NULL) {
			s->ready = false;
			smtp_client_send(s->client, &s->job->mail);
		}
}

static void
record_again(struct queue *q)
{
	struct queue_job *j;
	int64_t now = clock_ms();

	TAILQ_FOREACH(j, &q->jobs, next)
		if (j->again_ms != 0 && now >= j->again_ms && queue_active(q))
			job_record(j);
}

void
queue_send_pump(struct queue *q)
{
	uint64_t ids[IDS_MAX];
	int64_t wall = clock_wall_ms();
	size_t n, busy = 0, max = q->conf->queue_transfers;
	struct queue_job *j;

	record_again(q);
	if (!q->serving || !queue_may_send(q) || q->host.blocked != NULL) {
		quit_idle(q);
		return;
	}
	begin_waiting(q);
	TAILQ_FOREACH(j, &q->jobs, next)
		busy++;
	max = busy + max < IDS_MAX ? busy + max : IDS_MAX;
	n = queue_shard_want(q->shard, QUEUE_WANT_SEND, wall,
	    wall + (int64_t)q->rules.max_s * 1000 + 60000, ids, max);
	for (size_t i = 0; i < n; i++)
		if (!queue_busy(q, ids[i]) && !give(q, ids[i]))
			break;
	quit_idle(q);
}

void
queue_send_expire(struct queue *q, uint64_t id)
{
	char why[QUEUE_REPLY_MAX + 1];
	struct queue_job *j = job_new(q, id);

	if (j == NULL)
		return;
	for (size_t i = 0; i < j->n; i++) {
		snprintf(why, sizeof(why), "5.4.7 not delivered in time%s%.320s",
		    j->rcpts[i].reply[0] != '\0' ? "; the last attempt: " : "", j->rcpts[i].reply);
		snprintf(j->results[i].reply, sizeof(j->results[i].reply), "%s", why);
		j->results[i].outcome = QUEUE_FAIL;
	}
	job_log(j);
	job_record(j);
}

/* ---- ends ---------------------------------------------------------------- */

void
queue_send_stop(struct queue *q)
{
	struct queue_session *s;

	/* Behind the final dot the answer is worth more than a quick end. */
	TAILQ_FOREACH(s, &q->sessions, next) {
		s->stopped = true;
		smtp_client_abort(s->client, "4.3.2 this node serves no more");
	}
}

void
queue_send_free(struct queue *q)
{
	struct queue_session *s;
	struct queue_job *j;

	while ((s = TAILQ_FIRST(&q->sessions)) != NULL) {
		TAILQ_REMOVE(&q->sessions, s, next);
		smtp_client_free(s->client);
		free(s);
	}
	while ((j = TAILQ_FIRST(&q->jobs)) != NULL)
		job_free(j);
}
