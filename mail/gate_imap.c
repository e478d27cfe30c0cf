/* gate_imap.c - IMAP before the login (RFC 3501 6.1 and 6.2, 2971, 4959, 7888):
 * CAPABILITY, NOOP, LOGOUT, ID, STARTTLS, LOGIN and AUTHENTICATE PLAIN.
 *
 * A command is collected with its literals up to a limit and then taken apart.
 * The answer to a good login comes from the store worker, with our tag. */
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "login_int.h"
#include "mem.h"

#define CAPABILITY "IMAP4rev1 SASL-IR LITERAL+ ID"

static const char *
capability(const struct login *l)
{
	if (l->tls)
		return CAPABILITY " AUTH=PLAIN";
	return l->tls_offered ? CAPABILITY " STARTTLS LOGINDISABLED" : CAPABILITY " LOGINDISABLED";
}

static void
imap_greet(struct login *l)
{
	login_line(l, "* OK [CAPABILITY %s] %s ready", capability(l), l->limits->hostname);
}

static void
imap_bye(struct login *l, const char *why)
{
	login_line(l, "* BYE %s", why);
}

static void
imap_bad(struct login *l, const char *text)
{
	login_line(l, "%s BAD %s", l->tag[0] != '\0' ? l->tag : "*", text);
}

static void
imap_failed(struct login *l, enum mail_rc rc)
{
	if (rc == MAIL_DENIED || rc == MAIL_UNKNOWN)
		login_line(l, "%s NO [AUTHENTICATIONFAILED] invalid user name or password", l->tag);
	else
		login_line(l, "%s NO [UNAVAILABLE] temporary failure, try again", l->tag);
}

static void
cmd_capability(struct login *l, struct span arg)
{
	(void)arg;
	login_line(l, "* CAPABILITY %s", capability(l));
	login_line(l, "%s OK done", l->tag);
}

static void
cmd_noop(struct login *l, struct span arg)
{
	(void)arg;
	login_line(l, "%s OK done", l->tag);
}

static void
cmd_id(struct login *l, struct span arg)
{
	(void)arg;			/* what clients say of themselves is not used */
	login_line(l, "* ID (\"name\" \"mailpair\")");
	login_line(l, "%s OK done", l->tag);
}

static void
cmd_logout(struct login *l, struct span arg)
{
	(void)arg;
	login_line(l, "* BYE logging out");
	login_line(l, "%s OK done", l->tag);
	login_close(l, "logout");
}

static void
cmd_starttls(struct login *l, struct span arg)
{
	if (l->tls || !l->tls_offered || arg.len > 0)
		login_error(l, "STARTTLS is not possible");
	else {
		login_line(l, "%s OK begin TLS", l->tag);
		login_starttls(l);
	}
}

/* Digits of "{n}" or "{n+}" at the end of a line.  PARSE_MORE: there is none. */
static enum parse
literal_size(struct span line, uint64_t *n, bool *sync)
{
	size_t end = line.len, start;

	if (end < 3 || line.p[end - 1] != '}')
		return PARSE_MORE;
	end--;
	*sync = line.p[end - 1] != '+';
	if (!*sync)
		end--;
	for (start = end; start > 0 && line.p[start - 1] >= '0' && line.p[start - 1] <= '9';)
		start--;
	if (start == 0 || start == end || line.p[start - 1] != '{')
		return PARSE_MORE;
	return span_u64((struct span){ line.p + start, end - start }, 1u << 30, n);
}

/* A quoted string at the front of *in into dst; false when malformed. */
static bool
quoted(struct span *in, char *dst)
{
	size_t n = 0, i = 1;

	for (; i < in->len && in->p[i] != '"'; i++) {
		if (in->p[i] == '\\' && ++i == in->len)
			return false;
		if (in->p[i] == '\r' || in->p[i] == '\n')
			return false;
		dst[n++] = in->p[i];
	}
	if (i >= in->len)
		return false;
	dst[n] = '\0';
	*in = (struct span){ in->p + i + 1, in->len - i - 1 };
	return true;
}

static bool
literal(struct span *in, char *dst)
{
	const char *eol = memchr(in->p, '\n', in->len);
	struct span head, rest;
	uint64_t n;
	bool sync;

	if (eol == NULL || eol < in->p + 1)
		return false;
	head = (struct span){ in->p, (size_t)(eol - 1 - in->p) };
	rest = (struct span){ eol + 1, in->len - (size_t)(eol + 1 - in->p) };
	if (literal_size(head, &n, &sync) != PARSE_OK || n > rest.len
	    || memchr(rest.p, '\0', n) != NULL)
		return false;
	memcpy(dst, rest.p, n);
	dst[n] = '\0';
	*in = (struct span){ rest.p + n, rest.len - n };
	return true;
}

/* One astring off the front of *in; dst has room for all of it. */
static bool
astring(struct span *in, char *dst)
{
	size_t n = 0;

	if (in->len == 0)
		return false;
	if (in->p[0] == '"')
		return quoted(in, dst);
	if (in->p[0] == '{')
		return literal(in, dst);
	while (n < in->len && in->p[n] > ' ' && strchr("(){%*\"\\", in->p[n]) == NULL)
		n++;
	memcpy(dst, in->p, n);
	dst[n] = '\0';
	*in = (struct span){ in->p + n, in->len - n };
	return n > 0;
}

static void
cmd_login(struct login *l, struct span arg)
{
	char *user = mem_alloc(arg.len + 1), *pass = mem_alloc(arg.len + 1);
	bool ok = astring(&arg, user) && arg.len > 1 && arg.p[0] == ' ';

	if (ok) {
		arg = (struct span){ arg.p + 1, arg.len - 1 };
		ok = astring(&arg, pass) && arg.len == 0;
	}
	if (!l->tls)
		login_line(l, "%s NO [PRIVACYREQUIRED] use STARTTLS first", l->tag);
	else if (!ok)
		login_error(l, "syntax: LOGIN user password");
	else
		login_ask(l, user, pass);
	mem_wipe(pass, strlen(pass));
	free(user);
	free(pass);
}

static void
cmd_authenticate(struct login *l, struct span arg)
{
	struct span mech;

	if (!l->tls)
		login_line(l, "%s NO [PRIVACYREQUIRED] use STARTTLS first", l->tag);
	else if (!span_cut(&arg, ' ', &mech) || !span_is_nocase(mech, "PLAIN"))
		login_line(l, "%s NO only AUTHENTICATE PLAIN is offered", l->tag);
	else if (arg.len > 0)
		login_sasl(l, span_is(arg, "=") ? (struct span){ "", 0 } : arg);
	else {
		l->sasl = true;
		login_line(l, "+ ");
	}
}

static const struct {
	const char *name;
	void (*run)(struct login *, struct span);
} verbs[] = {
	{ "CAPABILITY", cmd_capability }, { "NOOP", cmd_noop }, { "ID", cmd_id },
	{ "LOGOUT", cmd_logout }, { "STARTTLS", cmd_starttls }, { "LOGIN", cmd_login },
	{ "AUTHENTICATE", cmd_authenticate },
};

static bool
tag_ok(struct span t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.p[i] <= ' ' || t.p[i] >= 0x7f || strchr("(){%*\"\\+", t.p[i]) != NULL)
			return false;
	return t.len > 0 && t.len <= LOGIN_TAG_MAX;
}

static void
command(struct login *l, struct span cmd)
{
	struct span tag, verb, arg = cmd;

	l->tag[0] = '\0';
	if (!span_cut(&arg, ' ', &tag) || !tag_ok(tag) || !span_cut(&arg, ' ', &verb)) {
		login_error(l, "malformed command");
		return;
	}
	span_copy(tag, l->tag, sizeof(l->tag));
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (span_is_nocase(verb, verbs[i].name)) {
			verbs[i].run(l, arg);
			return;
		}
	login_error(l, "unknown command, or log in first");
}

static void
collect(struct login *l, const void *p, size_t len)
{
	l->cmd = mem_grow(l->cmd, l->cmd_len + len + 1, 1);
	memcpy(l->cmd + l->cmd_len, p, len);
	l->cmd_len += len;
}

static void
collected(struct login *l)
{
	char *cmd = l->cmd;
	size_t len = l->cmd_len;

	l->cmd = NULL;
	l->cmd_len = 0;
	command(l, (struct span){ cmd, len });
	mem_wipe(cmd, len);
	free(cmd);
}

/* A line that may end in a literal's size: then the command goes on behind it. */
static void
command_line(struct login *l, struct span line)
{
	uint64_t n;
	bool sync;
	enum parse rc = literal_size(line, &n, &sync);

	if (rc == PARSE_BAD || (rc == PARSE_OK && n + line.len + l->cmd_len > l->limits->command_max)
	    || line.len + l->cmd_len > l->limits->command_max) {
		login_bye(l, "command too large");	/* a literal may be on its way */
		return;
	}
	collect(l, line.p, line.len);
	if (rc == PARSE_MORE) {
		collected(l);
		return;
	}
	collect(l, "\r\n", 2);
	l->literal_left = n;
	if (sync)
		login_line(l, "+ go on");
}

static bool
take_literal(struct login *l, struct evbuffer *in)
{
	char part[1024];
	size_t want = l->literal_left < sizeof(part) ? l->literal_left : sizeof(part);
	int n = evbuffer_remove(in, part, want);

	if (n <= 0)
		return false;
	collect(l, part, (size_t)n);
	mem_wipe(part, sizeof(part));
	l->literal_left -= (uint64_t)n;
	return true;
}

static bool
imap_take(struct login *l, struct evbuffer *in)
{
	if (l->literal_left > 0)
		return take_literal(l, in);
	return login_take_line(l, in, command_line);
}

const struct login_proto login_imap = { imap_greet, imap_bye, imap_take, imap_failed, imap_bad };
