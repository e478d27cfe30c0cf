/* gate_auth.c - passwords: asked of the directory, with a growing pause behind wrong
 * ones and a limit for each client address.
 *
 * An address over its limit gets the same answer as a wrong password, after the same
 * pause, so that guessing on tells nothing.  The directory gone: a temporary failure. */
#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#include "clock.h"
#include "gate_int.h"
#include "hex.h"
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
	char address[ADDRESS_MAX + 1];
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
	wire_get_str(&in, address, sizeof(address));
	if (!wire_in_ok(&in))
		rc = MAIL_TEMP;
	if (rc == MAIL_OK) {
		memcpy(c->address, address, sizeof(c->address));
		log_info("%s %s login user=%s ip=%s tls=%s", mail_service_name(c->service),
		    c->sid, log_safe(c->address), c->ip, c->tls);
		done(c, rc);
	} else if (rc == MAIL_DENIED || rc == MAIL_UNKNOWN) {
		uint32_t n = ip_table_fail(c->gate->ips, c->key, c->tried, clock_ms());

		log_info("%s %s login failed user=%s ip=%s failures=%u",
		    mail_service_name(c->service), c->sid, log_safe(c->address), c->ip, n);
		pause_then(c, MAIL_DENIED, n);
	} else
		done(c, MAIL_TEMP);
}

/* Equal for the same attempt and nothing to go by for anybody else. */
static uint64_t
digest(const struct gate *g, const char *user, const char *password)
{
	uint8_t sum[32];
	struct wire_out w;

	wire_out_init(&w);
	for (size_t i = 0; i < sizeof(g->tried_key); i++)
		wire_put_u8(&w, g->tried_key[i]);
	wire_put_str(&w, user);
	wire_put_str(&w, password);
	sha256(w.p, w.len, sum);
	mem_wipe(w.p, w.len);
	wire_out_clear(&w);
	return wire_load64(sum);
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
	c->tried = digest(g, user, password);
	snprintf(c->address, sizeof(c->address), "%s", user);	/* what was claimed */
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
