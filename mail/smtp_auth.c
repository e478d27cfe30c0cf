/* smtp_auth.c - AUTH PLAIN and LOGIN (RFC 4954, 4616) of the SMTP engine: only on
 * submission ports and only under TLS.  Every copy of a password is wiped. */
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "mem.h"
#include "smtp_int.h"

#define SECRET_MAX 9216			/* decoded from a line of 12,288 */

static void
bad(struct smtp *s, const char *text)
{
	s->auth = AUTH_NO;
	free(s->auth_user);
	s->auth_user = NULL;
	smtp_error(s, text);
}

static void
ask(struct smtp *s, const char *user, const char *password)
{
	s->auth = AUTH_NO;
	s->waiting = true;
	s->ops->auth(s->arg, user, password);
}

/* authzid NUL authcid NUL password; acting as somebody else is not offered. */
static void
plain(struct smtp *s, char *msg, size_t len)
{
	char *authz = msg, *user, *pass, *end = msg + len;

	user = memchr(authz, '\0', len);
	pass = user == NULL ? NULL : memchr(user + 1, '\0', (size_t)(end - user - 1));
	if (pass == NULL || memchr(pass + 1, '\0', (size_t)(end - pass - 1)) != NULL
	    || user + 1 == pass) {
		bad(s, "501 5.5.2 malformed PLAIN message");
		return;
	}
	user++;
	pass++;
	if (authz[0] != '\0' && strcmp(authz, user) != 0)
		bad(s, "535 5.7.8 authorization identity refused");
	else
		ask(s, user, pass);
}

static void
answer(struct smtp *s, char *msg, size_t len)
{
	if (s->auth == AUTH_PLAIN)
		plain(s, msg, len);
	else if (len == 0 || memchr(msg, '\0', len) != NULL)
		bad(s, "501 5.5.2 malformed LOGIN answer");
	else if (s->auth == AUTH_LOGIN_USER) {
		free(s->auth_user);	/* of an exchange that a malformed line cut short */
		s->auth_user = mem_dup(msg);
		s->auth = AUTH_LOGIN_PASS;
		smtp_reply(s, "334 UGFzc3dvcmQ6");		/* "Password:" */
	} else {
		ask(s, s->auth_user, msg);
		free(s->auth_user);
		s->auth_user = NULL;
	}
}

void
smtp_auth_line(struct smtp *s, struct span line)
{
	char msg[SECRET_MAX + 1];
	size_t n;

	if (span_is(line, "*"))
		bad(s, "501 5.7.0 authentication cancelled");
	else if (line.len > SECRET_MAX / 3 * 4 || base64_decode(line, msg, &n) == -1)
		bad(s, "501 5.5.2 malformed base64");
	else {
		msg[n] = '\0';
		answer(s, msg, n);
	}
	mem_wipe(msg, sizeof(msg));
}

void
smtp_cmd_auth(struct smtp *s, struct span arg)
{
	struct span mech;

	if (!smtp_submission(s))
		smtp_error(s, "502 5.5.1 AUTH is not offered here, use port 587 or 465");
	else if (s->tls[0] == '\0')
		smtp_error(s, "538 5.7.11 use STARTTLS first");
	else if (!s->esmtp)
		smtp_error(s, "503 5.5.1 send EHLO first");
	else if (s->user != NULL)
		smtp_error(s, "503 5.5.1 already authenticated");
	else if (!span_cut(&arg, ' ', &mech))
		smtp_error(s, "501 5.5.4 AUTH needs a mechanism");
	else if (!span_is_nocase(mech, "PLAIN") && !span_is_nocase(mech, "LOGIN"))
		smtp_error(s, "504 5.5.4 mechanism not offered");
	else {
		bool login = span_is_nocase(mech, "LOGIN");

		s->auth = login ? AUTH_LOGIN_USER : AUTH_PLAIN;
		if (span_is(arg, "="))			/* an empty initial response */
			smtp_auth_line(s, (struct span){ "", 0 });
		else if (arg.len > 0)
			smtp_auth_line(s, arg);
		else
			smtp_reply(s, login ? "334 VXNlcm5hbWU6" : "334 ");
	}
}

void
smtp_auth_done(struct smtp *s, enum mail_rc rc, const char *user)
{
	if (s->closed || !s->waiting)
		return;
	s->waiting = false;
	switch (rc) {
	case MAIL_OK:
		free(s->user);
		s->user = mem_dup(user);
		smtp_reply(s, "235 2.7.0 authentication successful");
		break;
	case MAIL_DENIED:
	case MAIL_UNKNOWN:
		smtp_error(s, "535 5.7.8 authentication credentials invalid");
		if (++s->auth_failures >= s->limits->auth_failures_max && !s->closed) {
			smtp_reply(s, "421 4.7.0 %s too many failures", s->limits->hostname);
			smtp_close(s, "authentication failures");
		}
		break;
	default:
		smtp_reply(s, "454 4.7.0 temporary authentication failure");
	}
}
