/* gate_pop3.c - POP3 before the login (RFC 1939, 2449, 2595, 3206, 5034): CAPA, STLS,
 * USER, PASS, AUTH PLAIN, QUIT.  Passwords are taken under TLS only. */
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "login_int.h"
#include "mem.h"

static void
pop3_greet(struct login *l)
{
	login_line(l, "+OK %s POP3 ready", l->limits->hostname);
}

static void
pop3_bye(struct login *l, const char *why)
{
	login_line(l, "-ERR [SYS/TEMP] %s", why);
}

static void
pop3_bad(struct login *l, const char *text)
{
	login_line(l, "-ERR %s", text);
}

static void
pop3_failed(struct login *l, enum mail_rc rc)
{
	if (rc == MAIL_DENIED || rc == MAIL_UNKNOWN)
		login_line(l, "-ERR [AUTH] invalid user name or password");
	else
		login_line(l, "-ERR [SYS/TEMP] temporary failure, try again");
	free(l->user);
	l->user = NULL;
}

static void
cmd_capa(struct login *l, struct span arg)
{
	(void)arg;
	login_line(l, "+OK capabilities follow");
	if (l->tls) {
		login_line(l, "USER");
		login_line(l, "SASL PLAIN");
	} else if (l->tls_offered)
		login_line(l, "STLS");
	login_line(l, "TOP");
	login_line(l, "UIDL");
	login_line(l, "PIPELINING");
	login_line(l, "RESP-CODES");
	login_line(l, "AUTH-RESP-CODE");
	login_line(l, "EXPIRE NEVER");
	login_line(l, "IMPLEMENTATION mailpair");
	login_line(l, ".");
}

static void
cmd_stls(struct login *l, struct span arg)
{
	if (l->tls)
		login_error(l, "TLS is active already");
	else if (!l->tls_offered || arg.len > 0)
		login_error(l, "STLS is not possible");
	else {
		login_line(l, "+OK begin TLS");
		login_starttls(l);
	}
}

static void
cmd_user(struct login *l, struct span arg)
{
	if (!l->tls)
		login_error(l, "[AUTH] use STLS first");
	else if (arg.len == 0 || memchr(arg.p, '\0', arg.len) != NULL)
		login_error(l, "USER needs a name");
	else {
		free(l->user);
		l->user = span_dup(arg);
		login_line(l, "+OK");
	}
}

/* The argument is everything behind the first space: passwords may hold spaces. */
static void
cmd_pass(struct login *l, struct span arg)
{
	char *pass;

	if (l->user == NULL) {
		login_error(l, "send USER first");
		return;
	}
	pass = span_dup(arg);
	login_ask(l, l->user, pass);
	mem_wipe(pass, arg.len);
	free(pass);
}

static void
cmd_auth(struct login *l, struct span arg)
{
	struct span mech;

	if (!l->tls)
		login_error(l, "[AUTH] use STLS first");
	else if (!span_cut(&arg, ' ', &mech) || !span_is_nocase(mech, "PLAIN"))
		login_error(l, "only AUTH PLAIN is offered");
	else if (arg.len > 0)
		login_sasl(l, span_is(arg, "=") ? (struct span){ "", 0 } : arg);
	else {
		l->sasl = true;
		login_line(l, "+ ");
	}
}

static void
cmd_quit(struct login *l, struct span arg)
{
	(void)arg;
	login_line(l, "+OK bye");
	login_close(l, "quit");
}

static const struct {
	const char *name;
	void (*run)(struct login *, struct span);
} verbs[] = {
	{ "CAPA", cmd_capa }, { "STLS", cmd_stls }, { "USER", cmd_user }, { "PASS", cmd_pass },
	{ "AUTH", cmd_auth }, { "QUIT", cmd_quit },
};

static void
command(struct login *l, struct span line)
{
	struct span arg = line, verb;

	if (!span_cut(&arg, ' ', &verb))
		verb = (struct span){ "", 0 };
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (span_is_nocase(verb, verbs[i].name)) {
			verbs[i].run(l, arg);
			return;
		}
	login_error(l, "log in first");
}

static bool
pop3_take(struct login *l, struct evbuffer *in)
{
	return login_take_line(l, in, command);
}

const struct login_proto login_pop3 = { pop3_greet, pop3_bye, pop3_take, pop3_failed, pop3_bad };
