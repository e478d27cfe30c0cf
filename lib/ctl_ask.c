/* ctl_ask.c - the client side of the control sockets, for hactl, mailctl and resource
 * scripts.  Blocking, without libevent; every wait is bounded by the caller's limit. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "ctl.h"
#include "ipc.h"
#include "mem.h"

#define ANSWER_MAX (64u << 20)	/* one line; ours are far shorter */

struct ask {
	int fd;
	int timeout_ms;
	char *buf;
	size_t len, cap, scanned;
	void (*part)(json_t *, void *);
	void *arg;
};

static enum ctl_exit
wait_readable(const struct ask *a)
{
	struct pollfd p = { a->fd, POLLIN, 0 };
	int n;

	do {
		n = poll(&p, 1, a->timeout_ms);
	} while (n == -1 && errno == EINTR);
	if (n == 0)
		return CTL_TIMEOUT;
	return n == 1 ? CTL_OK : CTL_UNKNOWN;
}

static enum ctl_exit
more(struct ask *a)
{
	enum ctl_exit rc = wait_readable(a);
	ssize_t n;

	if (rc != CTL_OK)
		return rc;
	if (a->cap - a->len < 4096) {
		if (a->cap > ANSWER_MAX)
			return CTL_UNKNOWN;
		a->cap = a->cap == 0 ? 16384 : a->cap * 2;
		a->buf = mem_grow(a->buf, a->cap, 1);
	}
	n = recv(a->fd, a->buf + a->len, a->cap - a->len, 0);
	if (n == -1 && errno == EINTR)
		return CTL_OK;
	if (n <= 0)
		return CTL_UNKNOWN;
	a->len += (size_t)n;
	return CTL_OK;
}

/* Takes one line off the front; NULL when there is none yet, or it is no JSON. */
static json_t *
next_line(struct ask *a, bool *bad)
{
	char *nl = a->len == a->scanned
	    ? NULL : memchr(a->buf + a->scanned, '\n', a->len - a->scanned);
	size_t line;
	json_t *j;

	*bad = false;
	if (nl == NULL) {
		a->scanned = a->len;
		return NULL;
	}
	line = (size_t)(nl - a->buf);
	j = json_loadb(a->buf, line, 0, NULL);
	*bad = !json_is_object(j);
	a->len -= line + 1;
	memmove(a->buf, nl + 1, a->len);
	a->scanned = 0;
	return j;
}

static enum ctl_exit
answer(struct ask *a, json_t **last)
{
	for (;;) {
		bool bad;
		json_t *line = next_line(a, &bad), *code;
		enum ctl_exit rc;

		if (bad) {
			json_decref(line);
			return CTL_UNKNOWN;
		}
		if (line == NULL) {
			rc = more(a);
			if (rc != CTL_OK)
				return rc;
			continue;
		}
		code = json_object_get(line, "exit");
		if (json_is_integer(code)) {
			rc = (enum ctl_exit)json_integer_value(code);
			*last = line;
			return rc;
		}
		if (a->part != NULL)
			a->part(json_object_get(line, "part"), a->arg);
		json_decref(line);
	}
}

/* A full backlog passes; a missing socket may appear only when a daemon starts. */
static int
open_socket(const char *path, int timeout_ms)
{
	int64_t until = clock_ms() + (timeout_ms < 0 ? 10000 : timeout_ms);
	int fd;

	while ((fd = ipc_connect(path)) == -1 && errno == EAGAIN && clock_ms() < until)
		poll(NULL, 0, 20);
	return fd;
}

static int
send_request(int fd, json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT), *p;
	size_t len;
	ssize_t n = 0;

	if (text == NULL)
		return -1;
	p = text;
	len = strlen(text);
	text[len++] = '\n';	/* in place of the NUL; len counts from here on */
	while (len > 0 && ((n = send(fd, p, len, MSG_NOSIGNAL)) > 0 || errno == EINTR))
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	free(text);
	return len == 0 ? 0 : -1;
}

enum ctl_exit
ctl_ask(const char *socket_path, json_t *request, int timeout_ms,
    void (*part)(json_t *, void *), void *arg, json_t **last)
{
	struct ask a = { .timeout_ms = timeout_ms, .part = part, .arg = arg };
	json_t *line = NULL;
	enum ctl_exit rc;

	if (last != NULL)
		*last = NULL;
	a.fd = open_socket(socket_path, timeout_ms);
	if (a.fd == -1)
		return errno == EACCES || errno == EPERM ? CTL_DENIED : CTL_UNKNOWN;
	/* A refusal may be there although the request could not be sent. */
	(void)send_request(a.fd, request);
	rc = answer(&a, &line);
	close(a.fd);
	free(a.buf);
	if (last != NULL)
		*last = line;
	else
		json_decref(line);
	return rc;
}

static void
print_safe(const char *head, const char *text)
{
	fprintf(stderr, "%s ", head);
	for (; *text != '\0'; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, stderr);
	fputc('\n', stderr);
}

static void
print_each(const char *head, json_t *value)
{
	size_t i;
	json_t *one;

	if (json_is_string(value))
		print_safe(head, json_string_value(value));
	json_array_foreach(value, i, one)
		if (json_is_string(one))
			print_safe(head, json_string_value(one));
}

void
ctl_complain(json_t *last)
{
	print_each("ERROR", json_object_get(last, "error"));
	print_each("WHY  ", json_object_get(last, "why"));
	print_each("HINT ", json_object_get(last, "hint"));
}
