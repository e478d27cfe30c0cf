/* engine_session.c - IMAP and POP3 after the login, over the fake store.
 *
 * setup mail BOX [flags=SF...] [keywords=a,b] [date=N] TEXT   a message; \r\n are written out
 * setup file BOX PATH      a message from tests/cases/mail
 * setup box NAME [SPECIAL] a mailbox
 * setup fail NAME          the next change fails: NOT_TWICE, DISK_FULL, TEMP, ...
 * setup hide | show        objects cannot be opened, can be opened
 * setup lose               objects cannot be opened until one of them is mended
 * setup bye                the worker says goodbye to all
 * setup big BOX N          a message of N bytes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>
#include <event2/event.h>

#include "fake_store.h"
#include "fs.h"
#include "mem.h"
#include "session.h"
#include "transcript.h"

struct world {
	struct event_base *base;
	struct store *store;
	struct session_set *set;
	enum mail_service service;
	struct conn {
		int fd;
		bool closed;
		struct evbuffer *out;
	} conn[TRANSCRIPT_CONNS + 1];
};

static const struct session_limits limits = { .idle_s = 1800, .pop3_idle_s = 600,
	.line_max = 8192, .literal_max = 65536, .append_max = 1 << 20,
	.append_memory_max = 300000, .per_user = 3 };

static void *
world_new(enum mail_service service)
{
	struct world *w = mem_alloc(sizeof(*w));

	w->base = event_base_new();
	w->store = fake_store_new(w->base);
	w->set = session_set_new(w->base, w->store, &limits, NULL);
	w->service = service;
	for (int i = 1; i <= TRANSCRIPT_CONNS; i++)
		w->conn[i] = (struct conn) { -1, false, evbuffer_new() };
	return w;
}

static void *
new_imap(void)
{
	return world_new(MAIL_IMAP);
}

static void *
new_pop3(void)
{
	return world_new(MAIL_POP3);
}

static void
world_free(void *arg)
{
	struct world *w = arg;

	session_set_free(w->set);
	fake_store_free(w->store);
	for (int i = 1; i <= TRANSCRIPT_CONNS; i++) {
		if (w->conn[i].fd != -1)
			close(w->conn[i].fd);
		evbuffer_free(w->conn[i].out);
	}
	event_base_free(w->base);
	free(w);
}

/* Reads what has come; true when there was anything. */
static bool
drain(struct conn *c)
{
	char buf[16384];
	ssize_t n;

	if (c->fd == -1 || c->closed)
		return false;
	n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n == 0)
		c->closed = true;
	else if (n > 0)
		evbuffer_add(c->out, buf, (size_t)n);
	return n > 0;
}

/* Until nothing has happened for a number of turns. */
static void
settle(struct world *w)
{
	for (int quiet = 0; quiet < 12; quiet++) {
		event_base_loop(w->base, EVLOOP_NONBLOCK);
		for (int i = 1; i <= TRANSCRIPT_CONNS; i++)
			if (drain(&w->conn[i]))
				quiet = 0;
	}
}

static bool
open_conn(void *arg, int conn)
{
	struct world *w = arg;
	int fd[2];
	struct session_login l = { .service = w->service, .user = 1, .shard = 3,
		.address = "bob@example.org", .sid = "t1", .ip = "192.0.2.7", .tls = "1.3",
		.tag = "login" };

	if (w->conn[conn].fd != -1 || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == -1)
		return false;
	w->conn[conn].fd = fd[0];
	session_start(w->set, fd[1], &l);
	settle(w);
	return true;
}

static void
need(struct world *w, int conn)
{
	if (w->conn[conn].fd == -1)
		open_conn(w, conn);
}

static void
input(void *arg, int conn, const char *p, size_t n)
{
	struct world *w = arg;
	ssize_t done;

	need(w, conn);
	while (n > 0) {
		done = send(w->conn[conn].fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
		settle(w);
		if (w->conn[conn].closed)
			return;
	}
}

static void
eof(void *arg, int conn)
{
	struct world *w = arg;

	need(w, conn);
	shutdown(w->conn[conn].fd, SHUT_WR);
	settle(w);
}

static void
output(void *arg, int conn, struct evbuffer *to)
{
	struct world *w = arg;

	settle(w);
	evbuffer_add_buffer(to, w->conn[conn].out);
}

static bool
closed(void *arg, int conn)
{
	struct world *w = arg;

	settle(w);
	return w->conn[conn].closed;
}

static char *
next_word(char **rest)
{
	char *word = strsep(rest, " ");

	return word != NULL ? word : (char *)"";
}

static uint32_t
flag_letters(const char *s)
{
	uint32_t flags = 0;

	for (; *s != '\0'; s++)
		flags |= *s == 'S' ? FLAG_SEEN : *s == 'A' ? FLAG_ANSWERED : *s == 'F'
		    ? FLAG_FLAGGED : *s == 'D' ? FLAG_DELETED : *s == 'T' ? FLAG_DRAFT : 0;
	return flags;
}

static size_t
unescape(char *s)
{
	char *out = s, *start = s;
	unsigned v;

	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] == 'x' && sscanf(s + 2, "%2x", &v) == 1) {
			*out++ = (char)v;
			s += 3;
		} else if (s[0] == '\\' && (s[1] == 'r' || s[1] == 'n')) {
			*out++ = *++s == 'r' ? '\r' : '\n';
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
	return (size_t)(out - start);
}

static bool
setup_mail(struct world *w, char *rest)
{
	char *box = next_word(&rest), *keywords = NULL;
	uint32_t flags = 0;
	int64_t date = 1700000000;

	for (; rest != NULL;) {
		if (strncmp(rest, "flags=", 6) == 0)
			flags = flag_letters(next_word(&rest) + 6);
		else if (strncmp(rest, "keywords=", 9) == 0)
			keywords = next_word(&rest) + 9;
		else if (strncmp(rest, "date=", 5) == 0)
			date = atoll(next_word(&rest) + 5);
		else
			break;
	}
	for (char *p = keywords; p != NULL && (p = strchr(p, ',')) != NULL;)
		*p = ' ';
	if (rest == NULL)
		return false;
	fake_store_add(w->store, box, rest, unescape(rest), flags, keywords, date);
	return true;
}

static bool
setup_file(struct world *w, char *rest)
{
	char *box = next_word(&rest), path[256], *text, *crlf;
	size_t len, n = 0;

	snprintf(path, sizeof(path), "tests/cases/mail/%s", next_word(&rest));
	if (fs_read(path, 1 << 20, &text, &len) == -1)
		return false;
	crlf = malloc(len * 2 + 1);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'))
			crlf[n++] = '\r';
		crlf[n++] = text[i];
	}
	fake_store_add(w->store, box, crlf, n, 0, NULL, 1700000000);
	free(crlf);
	free(text);
	return true;
}

static bool
setup_big(struct world *w, char *rest)
{
	const char *box = next_word(&rest);
	size_t n = (size_t)atoi(next_word(&rest));
	char *text = malloc(n + 1);

	memset(text, 'x', n);
	memcpy(text, "A: b\r\n\r\n", n < 8 ? n : 8);
	for (size_t i = 100; i + 2 <= n; i += 100)
		memcpy(text + i, "\r\n", 2);
	fake_store_add(w->store, box, text, n, 0, NULL, 1700000000);
	free(text);
	return true;
}

static bool
setup_fail(struct world *w, const char *name)
{
	static const struct {
		const char *name;
		enum mail_rc rc;
	} all[] = {
		{ "TEMP", MAIL_TEMP }, { "NOT_TWICE", MAIL_NOT_TWICE },
		{ "DISK_FULL", MAIL_DISK_FULL }, { "NOT_ACTIVE", MAIL_NOT_ACTIVE },
		{ "OVER_QUOTA", MAIL_OVER_QUOTA }, { "UNKNOWN", MAIL_UNKNOWN },
		{ "EXISTS", MAIL_EXISTS }, { "DENIED", MAIL_DENIED },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].name, name) == 0) {
			fake_store_fail(w->store, all[i].rc);
			return true;
		}
	return false;
}

static bool
setup(void *arg, const char *words)
{
	struct world *w = arg;
	char *copy = mem_dup(words), *rest = copy, *verb = next_word(&rest), *name;
	bool ok = true;

	if (strcmp(verb, "mail") == 0) {
		ok = setup_mail(w, rest);
	} else if (strcmp(verb, "file") == 0) {
		ok = setup_file(w, rest);
	} else if (strcmp(verb, "big") == 0) {
		ok = setup_big(w, rest);
	} else if (strcmp(verb, "box") == 0) {
		name = next_word(&rest);
		fake_store_make(w->store, name, rest != NULL ? rest : "");
	} else if (strcmp(verb, "fail") == 0) {
		ok = setup_fail(w, rest != NULL ? rest : "");
	} else if (strcmp(verb, "hide") == 0 || strcmp(verb, "show") == 0 ||
	    strcmp(verb, "lose") == 0) {
		fake_store_hide_objects(w->store, *verb != 's', *verb == 'l');
	} else if (strcmp(verb, "bye") == 0) {
		session_bye_all(w->set, "Going down");
	} else {
		ok = false;
	}
	free(copy);
	settle(w);
	return ok;
}

const struct engine engine_imap = { "imap", new_imap, world_free, setup, open_conn, input, eof,
	output, closed };
const struct engine engine_pop3 = { "pop3", new_pop3, world_free, setup, open_conn, input, eof,
	output, closed };
