/* gate_auth.c - passwords: asked of the directory, with a growing pause behind wrong
 * ones and a limit for each client address.
 *
 * An address over its limit gets the same answer as a wrong password, after the same
 * pause, so that guessing on tells nothing.  The directory gone: a temporary failure. */
#include <string.h>

#include <event2/event.h>

#include "clock.h"
#include "gate_int.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

#define PAUSE_MAX_MS 10000

static void
done(struct conn *c, enum mail_rc rc)
{
	/* Nobody could take over the session: better said before it is promised. */
	if (rc == MAIL_OK && c->login != NULL
	    && child_peer(c->gate->child, CHILD_STORE,
		mail_store_of(c->shard, c->gate->conf->stores)) == NULL)
		rc = MAIL_TEMP;
	if (c->smtp != NULL)
		smtp_auth_done(c->smtp, rc, c->address);
	else
		login_auth_done(c->login, rc);
	conn_pump(c);
}

void
conn_auth_later(struct conn *c)
{
	done(c, c->auth_rc);
}

static void
pause_then(struct conn *c, enum mail_rc rc, uint32_t failures)
{
	int64_t ms = (int64_t)failures * c->gate->conf->auth_delay_ms;
	struct timeval tv;

	if (ms > PAUSE_MAX_MS)
		ms = PAUSE_MAX_MS;
	tv = (struct timeval){ ms / 1000, (ms % 1000) * 1000 };
	c->auth_rc = rc;
	event_add(c->later, &tv);
}

static void
on_answer(void *arg, const struct ipc_msg *m)
{
	struct conn *c = arg;
	struct wire_in in;
	enum mail_rc rc;

	if (m == NULL) {
		done(c, MAIL_TEMP);
		return;
	}
	wire_in_init(&in, m->body.p, m->body.len);
	rc = (enum mail_rc)wire_get_u8(&in);
	c->user = wire_get_u64(&in);
	c->shard = wire_get_u16(&in);
	wire_get_str(&in, c->address, sizeof(c->address));
	if (!wire_in_ok(&in))
		rc = MAIL_TEMP;
	if (rc == MAIL_OK) {
		log_info("%s %s login user=%s ip=%s tls=%s", mail_service_name(c->service),
		    c->sid, log_safe(c->address), c->ip, c->tls);
		done(c, rc);
	} else if (rc == MAIL_DENIED || rc == MAIL_UNKNOWN) {
		uint32_t n = ip_table_fail(c->gate->ips, c->key, clock_ms());

		log_info("%s %s login failed ip=%s failures=%u", mail_service_name(c->service),
		    c->sid, c->ip, n);
		pause_then(c, MAIL_DENIED, n);
	} else
		done(c, MAIL_TEMP);
}

void
conn_auth(void *arg, const char *user, const char *password)
{
	struct conn *c = arg;
	struct gate *g = c->gate;
	struct ipc *dir = child_peer(g->child, CHILD_DIRECTORY, 0);
	struct wire_out w;
	uint32_t id;

	if (!ip_table_may_try(g->ips, c->key, clock_ms())) {
		log_info("%s %s login refused ip=%s: too many failures",
		    mail_service_name(c->service), c->sid, c->ip);
		pause_then(c, MAIL_DENIED, UINT32_MAX);
		return;
	}
	if (dir == NULL) {
		done(c, MAIL_TEMP);
		return;
	}
	wire_out_init(&w);
	wire_put_str(&w, user);
	wire_put_str(&w, password);
	wire_put_str(&w, mail_service_name(c->service));
	wire_put_str(&w, c->ip);
	id = waits_add(g->waits, CHILD_DIRECTORY, 0, on_answer, c);
	if (ipc_send(dir, DM_AUTH, id, w.p, w.len, -1) == -1) {
		waits_cancel(g->waits, id);
		pause_then(c, MAIL_TEMP, 0);
	}
	mem_wipe(w.p, w.len);
	wire_out_clear(&w);
}
