/* gate_smtp.c - what an SMTP engine asks of the rest of maild: recipients of the
 * directory, delivery of the store workers, relaying of the queue.
 *
 * A message is received into a memory file (memfd) that goes to the stores as a
 * descriptor.  It is accepted only when every store worker and the queue answered
 * MAIL_OK; when one did not, the client hears its reason and sends again.  All memory
 * files of a gate together are bounded (data-memory-max). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "gate_int.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

#define TARGETS_MAX 20000		/* mailboxes and remote addresses of one message */
#define REMOTES_BYTES_MAX 380000	/* they ride in one record of the queue */

struct target {
	uint64_t user;
	uint16_t shard;
	unsigned worker;
};

struct gate_mail {
	struct conn *conn;
	struct smtp_stamp stamp;
	struct target *targets;
	size_t ntargets, targets_cap;
	char **remotes;
	size_t nremotes, remotes_cap, remotes_bytes;
	int fd;
	uint64_t size, head;		/* bytes in fd, and of its trace header */
	int64_t began_ms;
	const char *from;		/* the engine's */
	unsigned open;			/* answers that are still to come */
	enum mail_rc rc;		/* the first that was not MAIL_OK */
	uint64_t gen, lsn;
	uint8_t copies;
};

struct gate_mail *
gate_mail_new(struct conn *c)
{
	struct gate_mail *m = mem_alloc(sizeof(*m));

	m->conn = c;
	m->fd = -1;
	return m;
}

static void
mail_reset(void *arg)
{
	struct conn *c = arg;
	struct gate_mail *m = c->mail;

	for (size_t i = 0; i < m->nremotes; i++)
		free(m->remotes[i]);
	m->nremotes = m->ntargets = m->remotes_bytes = 0;
	c->gate->data_bytes -= m->size;
	m->size = m->head = 0;
	if (m->fd != -1)
		close(m->fd);
	m->fd = -1;
}

void
gate_mail_free(struct gate_mail *m)
{
	if (m == NULL)
		return;
	mail_reset(m->conn);
	free(m->targets);
	free(m->remotes);
	free(m);
}

static void
mail_stamp(void *arg, struct smtp_stamp *out)
{
	struct conn *c = arg;
	struct gate *g = c->gate;
	struct gate_mail *m = c->mail;
	uint8_t r[6];

	random_bytes(r, sizeof(r));
	hex_encode(r, sizeof(r), m->stamp.id);
	m->stamp.wall_s = clock_wall_ms() / 1000;
	m->stamp.gen = g->gen;
	m->stamp.copies = g->copies;
	memcpy(m->stamp.gen_kind, g->gen_kind, sizeof(m->stamp.gen_kind));
	m->began_ms = clock_ms();
	*out = m->stamp;
}

/* ---- recipients ---------------------------------------------------------- */

static bool
target_add(struct gate_mail *m, uint64_t user, uint16_t shard)
{
	if (m->ntargets + m->nremotes >= TARGETS_MAX)
		return false;
	if (m->ntargets == m->targets_cap) {
		m->targets_cap = m->targets_cap * 2 + 8;
		m->targets = mem_grow(m->targets, m->targets_cap, sizeof(*m->targets));
	}
	m->targets[m->ntargets++] = (struct target){ user, shard,
		mail_store_of(shard, m->conn->gate->conf->stores) };
	return true;
}

static bool
remote_add(struct gate_mail *m, const char *address)
{
	for (size_t i = 0; i < m->nremotes; i++)
		if (strcmp(m->remotes[i], address) == 0)
			return true;
	if (m->ntargets + m->nremotes >= TARGETS_MAX
	    || m->remotes_bytes + strlen(address) > REMOTES_BYTES_MAX)
		return false;
	m->remotes_bytes += strlen(address) + 2;
	if (m->nremotes == m->remotes_cap) {
		m->remotes_cap = m->remotes_cap * 2 + 8;
		m->remotes = mem_grow(m->remotes, m->remotes_cap, sizeof(*m->remotes));
	}
	m->remotes[m->nremotes++] = mem_dup(address);
	return true;
}

static bool
can_relay(const struct gate *g)
{
	return g->conf->smart_host[0] != '\0' && child_peer(g->child, CHILD_QUEUE, 0) != NULL;
}

/* What an address means for this client: strangers must not send through us, but an
 * alias of ours may lead elsewhere. */
static enum mail_rc
judge(struct conn *c, enum mail_rc rc, bool has_remotes)
{
	if (rc == MAIL_RELAY) {
		if (smtp_user(c->smtp) == NULL)
			return MAIL_RELAY;
		if (c->gate->conf->smart_host[0] == '\0')
			return MAIL_DENIED;
		return can_relay(c->gate) ? MAIL_OK : MAIL_TEMP;
	}
	if (rc == MAIL_OK && has_remotes && !can_relay(c->gate))
		return MAIL_TEMP;
	return rc;
}

static enum mail_rc
take_rcpt(struct conn *c, struct wire_in *in)
{
	struct gate_mail *m = c->mail;
	size_t targets = m->ntargets, remotes = m->nremotes;
	enum mail_rc rc = (enum mail_rc)wire_get_u8(in);
	char address[ADDRESS_MAX + 1];
	bool room = true;

	for (unsigned n = wire_get_u16(in); n > 0 && wire_in_ok(in); n--) {
		uint64_t user = wire_get_u64(in);
		uint16_t shard = wire_get_u16(in);

		wire_get_str(in, address, sizeof(address));
		room = room && target_add(m, user, shard);
	}
	for (unsigned n = wire_get_u16(in); n > 0 && wire_in_ok(in); n--) {
		wire_get_str(in, address, sizeof(address));
		room = room && remote_add(m, address);
	}
	if (!wire_in_ok(in))
		rc = MAIL_TEMP;
	else if (!room)
		rc = MAIL_BAD;			/* too many: 452 4.5.3 */
	else
		rc = judge(c, rc, m->nremotes > remotes);
	if (rc != MAIL_OK) {
		m->ntargets = targets;
		while (m->nremotes > remotes) {
			m->remotes_bytes -= strlen(m->remotes[--m->nremotes]) + 2;
			free(m->remotes[m->nremotes]);
		}
	}
	return rc;
}

static void
on_rcpt(void *arg, const struct ipc_msg *msg)
{
	struct conn *c = arg;
	struct wire_in in;

	if (msg == NULL)
		smtp_rcpt_done(c->smtp, MAIL_TEMP);
	else {
		wire_in_init(&in, msg->body.p, msg->body.len);
		smtp_rcpt_done(c->smtp, take_rcpt(c, &in));
	}
	conn_pump(c);
}

static void
mail_rcpt(void *arg, const char *address)
{
	struct conn *c = arg;
	struct gate *g = c->gate;
	struct ipc *dir = child_peer(g->child, CHILD_DIRECTORY, 0);
	struct wire_out w;
	uint32_t id = waits_add(g->waits, CHILD_DIRECTORY, 0, on_rcpt, c);

	wire_out_init(&w);
	wire_put_str(&w, address);
	if (dir == NULL || ipc_send(dir, DM_RCPT, id, w.p, w.len, -1) == -1) {
		waits_cancel(g->waits, id);
		smtp_rcpt_done(c->smtp, MAIL_TEMP);
	}
	wire_out_clear(&w);
}

/* ---- text ---------------------------------------------------------------- */

/* Puts text behind the trace header: the file is written anew, which only clients
 * that leave the date or the id out cost us. */
static enum mail_rc
insert(struct gate_mail *m, struct span text)
{
	int fd = memfd_create("message", MFD_CLOEXEC), old = m->fd;
	char buf[65536];
	off_t at = 0;
	ssize_t n = 0;

	if (fd == -1)
		return MAIL_TEMP;
	while (at < (off_t)m->size) {
		size_t want = at < (off_t)m->head && m->head - (uint64_t)at < sizeof(buf)
		    ? (size_t)(m->head - (uint64_t)at) : sizeof(buf);

		if ((n = fs_pread_all(old, buf, want, at)) <= 0
		    || fs_write_all(fd, buf, (size_t)n) == -1)
			goto fail;
		at += n;
		if (at == (off_t)m->head && fs_write_all(fd, text.p, text.len) == -1)
			goto fail;
	}
	close(old);
	m->fd = fd;
	return MAIL_OK;
fail:
	close(fd);
	return MAIL_TEMP;
}

static enum mail_rc
mail_data(void *arg, struct span text, bool ins)
{
	struct conn *c = arg;
	struct gate *g = c->gate;
	struct gate_mail *m = c->mail;
	enum mail_rc rc = MAIL_OK;

	if (g->data_bytes + text.len > g->conf->data_memory_max)
		return MAIL_DISK_FULL;
	if (m->fd == -1) {
		if ((m->fd = memfd_create("message", MFD_CLOEXEC)) == -1) {
			log_warn("smtp %s cannot hold a message", c->sid);
			return MAIL_TEMP;
		}
		m->head = text.len;		/* the trace header comes first */
	}
	if (ins)
		rc = insert(m, text);
	else if (fs_write_all(m->fd, text.p, text.len) == -1)
		rc = errno == ENOSPC ? MAIL_DISK_FULL : MAIL_TEMP;
	if (rc != MAIL_OK)
		return rc;
	m->size += text.len;
	g->data_bytes += text.len;
	return MAIL_OK;
}

/* ---- delivery ------------------------------------------------------------ */

static void
finish(struct gate_mail *m)
{
	struct conn *c = m->conn;

	if (m->rc != MAIL_OK)
		m->copies = 0;
	log_info("%s %s %s id=%s user=%s from=<%s> locals=%zu remotes=%zu bytes=%llu gen=%llu "
		 "lsn=%llu copies=%u ms=%lld",
	    mail_service_name(c->service), c->sid, m->rc == MAIL_OK ? "accept" : mail_rc_name(m->rc), m->stamp.id,
	    smtp_user(c->smtp) != NULL ? smtp_user(c->smtp) : "-", log_safe(m->from),
	    m->ntargets, m->nremotes,
	    (unsigned long long)m->size, (unsigned long long)m->gen,
	    (unsigned long long)m->lsn, m->copies, (long long)(clock_ms() - m->began_ms));
	smtp_message_done(c->smtp, m->rc, m->gen, m->lsn, m->copies);
	conn_pump(c);
}

/* One answer; NULL where the process went away. */
static void
answered(struct gate_mail *m, enum mail_rc rc, struct wire_in *in)
{
	uint64_t gen = 0, lsn = 0;
	uint8_t copies = 0;

	if (in != NULL) {
		gen = wire_get_u64(in);
		lsn = wire_get_u64(in);
		copies = wire_get_u8(in);
		if (!wire_in_ok(in))
			rc = MAIL_TEMP;
	}
	if (rc != MAIL_OK) {
		if (m->rc == MAIL_OK)
			m->rc = rc;
	} else {
		if (lsn > m->lsn) {
			m->lsn = lsn;
			m->gen = gen;
		}
		if (copies < m->copies)
			m->copies = copies;
	}
	if (--m->open == 0)
		finish(m);
}

static void
on_delivered(void *arg, const struct ipc_msg *msg)
{
	struct conn *c = arg;
	struct wire_in in;
	enum mail_rc rc;

	if (msg == NULL) {
		answered(c->mail, MAIL_TEMP, NULL);
		return;
	}
	wire_in_init(&in, msg->body.p, msg->body.len);
	rc = (enum mail_rc)wire_get_u8(&in);
	if (msg->type == QM_ENQUEUE_ANSWER)
		(void)wire_get_span16(&in);	/* the queue's own id */
	answered(c->mail, rc, &in);
}

static int
by_worker(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	if (x->worker != y->worker)
		return x->worker < y->worker ? -1 : 1;
	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return x->user < y->user ? -1 : x->user > y->user;
}

/* Aliases may name a user several times; the message goes there once. */
static void
sort_targets(struct gate_mail *m)
{
	size_t n = 0;

	if (m->ntargets == 0)
		return;
	qsort(m->targets, m->ntargets, sizeof(*m->targets), by_worker);
	for (size_t i = 1; i < m->ntargets; i++)
		if (m->targets[i].user != m->targets[n].user
		    || m->targets[i].shard != m->targets[n].shard)
			m->targets[++n] = m->targets[i];
	m->ntargets = n + 1;
}

static void
send_file(struct gate_mail *m, enum child_kind kind, unsigned index, uint16_t type,
    const struct wire_out *w)
{
	struct conn *c = m->conn;
	struct ipc *to = child_peer(c->gate->child, kind, index);
	uint32_t id;
	int fd;

	if (to == NULL || (fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 3)) == -1) {
		m->rc = MAIL_TEMP;
		return;
	}
	id = waits_add(c->gate->waits, kind, index, on_delivered, c);
	if (ipc_send(to, type, id, w->p, w->len, fd) == -1) {
		waits_cancel(c->gate->waits, id);
		m->rc = MAIL_TEMP;
		return;
	}
	m->open++;
}

static void
send_to_store(struct gate_mail *m, const char *from, const struct target *t, size_t n)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, m->stamp.id);
	wire_put_str(&w, from);
	wire_put_u16(&w, (uint16_t)n);
	for (size_t i = 0; i < n; i++) {
		wire_put_u64(&w, t[i].user);
		wire_put_u16(&w, t[i].shard);
	}
	send_file(m, CHILD_STORE, t[0].worker, SM_DELIVER, &w);
	wire_out_clear(&w);
}

static void
send_to_queue(struct gate_mail *m, const char *from)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, m->stamp.id);
	wire_put_str(&w, from);
	wire_put_u16(&w, (uint16_t)m->nremotes);
	for (size_t i = 0; i < m->nremotes; i++)
		wire_put_str(&w, m->remotes[i]);
	send_file(m, CHILD_QUEUE, 0, QM_ENQUEUE, &w);
	wire_out_clear(&w);
}

/* Is every process there that will be asked?  Asking some and then failing would
 * leave the message with them and have the client send it again. */
static bool
all_there(const struct gate_mail *m)
{
	struct child *child = m->conn->gate->child;

	for (size_t i = 0; i < m->ntargets; i++)
		if (child_peer(child, CHILD_STORE, m->targets[i].worker) == NULL)
			return false;
	return m->nremotes == 0 || child_peer(child, CHILD_QUEUE, 0) != NULL;
}

static void
mail_message(void *arg, const char *from)
{
	struct conn *c = arg;
	struct gate_mail *m = c->mail;

	m->from = from;
	m->rc = MAIL_OK;
	m->gen = m->lsn = 0;
	m->copies = UINT8_MAX;
	m->open = 1;				/* ours, until all are asked */
	sort_targets(m);
	if (!all_there(m))
		m->rc = MAIL_TEMP;
	for (size_t i = 0, n; i < m->ntargets && m->rc == MAIL_OK; i += n) {
		for (n = 1; i + n < m->ntargets && m->targets[i + n].worker == m->targets[i].worker;)
			n++;
		send_to_store(m, from, m->targets + i, n);
	}
	if (m->nremotes > 0 && m->rc == MAIL_OK)
		send_to_queue(m, from);
	if (--m->open == 0)
		finish(m);
}

void
gate_mail_timeout(struct gate_mail *m)
{
	struct conn *c = m->conn;

	log_warnx("smtp %s no answer in time id=%s", c->sid, m->stamp.id);
	waits_forget(c->gate->waits, c);
	if (smtp_in_data(c->smtp))
		smtp_message_done(c->smtp, MAIL_TEMP, 0, 0, 0);
	else
		smtp_rcpt_done(c->smtp, MAIL_TEMP);
}

const struct smtp_ops gate_smtp_ops = { mail_stamp, mail_reset, conn_auth, mail_rcpt, mail_data,
	mail_message, conn_starttls, conn_closing };
