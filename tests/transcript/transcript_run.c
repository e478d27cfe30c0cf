/* transcript_run.c - runs dialogues: transcript FILE...
 *
 * Prints "ok NAME whole" or "not ok NAME bytes line 12 ..." for each; exit 1 when any
 * failed.  Knows nothing of the engines but the table. */
#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "transcript.h"

static const struct engine *const engines[] = { &engine_imap, &engine_pop3,
	&engine_smtp, &engine_gate_imap, &engine_gate_pop3, NULL };

struct run {
	const struct engine *e;
	void *state;
	struct evbuffer *out[TRANSCRIPT_CONNS + 1];
	bool bytes;
	int line;
	const char *name;
	char why[4096];
};

static bool
fail(struct run *r, const char *what, const char *text)
{
	snprintf(r->why, sizeof(r->why), "line %d: %s%s%s", r->line, what,
	    text[0] != '\0' ? ": " : "", text);
	return false;
}

/* \xNN, \r, \n, \t, \\ and nothing else */
static size_t
unescape(const char *in, char *out)
{
	size_t n = 0;
	unsigned v;

	while (*in != '\0') {
		if (in[0] == '\\' && in[1] == 'x' && sscanf(in + 2, "%2x", &v) == 1) {
			out[n++] = (char)v;
			in += 4;
		} else if (in[0] == '\\' && strchr("rnt\\", in[1]) != NULL && in[1] != '\0') {
			out[n++] = in[1] == 'r' ? '\r' : in[1] == 'n' ? '\n' :
			    in[1] == 't' ? '\t' : '\\';
			in += 2;
		} else {
			out[n++] = *in++;
		}
	}
	return n;
}

static void
collect(struct run *r)
{
	for (int i = 1; i <= TRANSCRIPT_CONNS; i++)
		r->e->output(r->state, i, r->out[i]);
}

static void
feed(struct run *r, int conn, struct evbuffer *pending)
{
	size_t len = evbuffer_get_length(pending);
	const char *p = (const char *)evbuffer_pullup(pending, -1);

	if (len == 0)
		return;
	if (!r->bytes) {
		r->e->input(r->state, conn, p, len);
	} else {
		for (size_t i = 0; i < len; i++)
			r->e->input(r->state, conn, p + i, 1);
	}
	evbuffer_drain(pending, len);
	collect(r);
}

/* Text of a line of output for comparing: as in the file, escapes for odd bytes. */
static char *
take_line(struct run *r, int conn)
{
	size_t len;
	char *text = evbuffer_readln(r->out[conn], &len, EVBUFFER_EOL_CRLF_STRICT);
	char *shown, *p;

	if (text == NULL)
		return NULL;
	p = shown = malloc(len * 4 + 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c >= 0x7f)
			p += sprintf(p, "\\x%02x", c);
		else
			*p++ = text[i];
	}
	*p = '\0';
	free(text);
	return shown;
}

static bool
expect(struct run *r, int conn, const char *text, bool pattern)
{
	char *got = take_line(r, conn), why[2048];
	bool same;

	if (got == NULL)
		return fail(r, "nothing came, expected", text);
	same = pattern ? fnmatch(text, got, FNM_NOESCAPE) == 0 : strcmp(text, got) == 0;
	if (!same) {
		snprintf(why, sizeof(why), "%s | expected: %s", got, text);
		fail(r, "came", why);
	}
	free(got);
	return same;
}

static bool
nothing_left(struct run *r)
{
	for (int i = 1; i <= TRANSCRIPT_CONNS; i++) {
		char *got = take_line(r, i);
		size_t left = evbuffer_get_length(r->out[i]);

		if (got != NULL) {
			fail(r, "not expected", got);
			free(got);
			return false;
		}
		if (left > 0)
			return fail(r, "not expected", "part of a line");
	}
	return true;
}

/* "C2: text" gives 'C', 2, ':' and the text. */
static bool
dissect(char *line, char *who, int *conn, char *kind, char **text)
{
	*who = *line++;
	*conn = 1;
	if (isdigit((unsigned char)*line))
		*conn = *line++ - '0';
	*kind = *line++;
	if (strchr(":-~", *kind) == NULL || *kind == '\0' || *conn < 1 ||
	    *conn > TRANSCRIPT_CONNS || (*line != ' ' && *line != '\0'))
		return false;
	*text = *line == ' ' ? line + 1 : line;
	return true;
}

static bool
client_says(struct run *r, int conn, char kind, const char *text, struct evbuffer *pending)
{
	char *bytes = malloc(strlen(text) + 1);
	size_t n = unescape(text, bytes);

	(void)r;
	(void)conn;
	evbuffer_add(pending, bytes, n);
	if (kind == ':')
		evbuffer_add(pending, "\r\n", 2);
	free(bytes);
	return true;
}

static bool
word(struct run *r, char *line)
{
	char *arg = strchr(line, ' ');
	int conn = 1;

	if (arg != NULL)
		*arg++ = '\0';
	else
		arg = line + strlen(line);
	if (strcmp(line, "setup") == 0)
		return r->e->setup(r->state, arg) || fail(r, "setup", arg);
	if (*arg != '\0')
		conn = atoi(arg);
	if (conn < 1 || conn > TRANSCRIPT_CONNS)
		return fail(r, "connection", arg);
	if (strcmp(line, "open") == 0)
		return r->e->open(r->state, conn) || fail(r, "open", arg);
	if (strcmp(line, "end") == 0)
		return r->e->closed(r->state, conn) || fail(r, "still open", "");
	if (strcmp(line, "eof") != 0)
		return fail(r, "not understood", line);
	r->e->eof(r->state, conn);
	return true;
}

static bool
run_lines(struct run *r, FILE *f)
{
	struct evbuffer *pending = evbuffer_new();
	char *line = NULL, *text, who, kind;
	int conn, said = 0;
	size_t cap = 0;
	bool ok = true;

	for (; ok && getline(&line, &cap, f) != -1; ) {
		r->line++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0' || strncmp(line, "engine ", 7) == 0)
			continue;
		if ((line[0] == 'C' || line[0] == 'S') &&
		    dissect(line, &who, &conn, &kind, &text)) {
			if (who == 'C' && said != 0 && said != conn)
				feed(r, said, pending);
			if (who == 'S')
				feed(r, said, pending);
			/* all that came has to have been expected before more is said */
			if (who == 'C' && evbuffer_get_length(pending) == 0)
				ok = nothing_left(r);
			if (who == 'C' && ok)
				ok = client_says(r, conn, kind, text, pending);
			else if (who == 'S')
				ok = expect(r, conn, text, kind == '~');
			said = who == 'C' ? conn : said;
			continue;
		}
		feed(r, said, pending);
		ok = word(r, line);
		collect(r);
	}
	if (ok) {
		feed(r, said, pending);
		ok = nothing_left(r);
	}
	evbuffer_free(pending);
	free(line);
	return ok;
}

static const struct engine *
find_engine(FILE *f)
{
	char line[100] = "";

	if (fgets(line, sizeof(line), f) == NULL || strncmp(line, "engine ", 7) != 0)
		return NULL;
	line[strcspn(line, "\r\n")] = '\0';
	for (size_t i = 0; engines[i] != NULL; i++)
		if (strcmp(engines[i]->name, line + 7) == 0)
			return engines[i];
	return NULL;
}

static bool
run_file(const char *path, bool bytes)
{
	struct run r = { .bytes = bytes, .line = 1, .name = path };
	FILE *f = fopen(path, "r");
	bool ok;

	if (f == NULL || (r.e = find_engine(f)) == NULL) {
		printf("not ok %s: no file, or no such engine\n", path);
		if (f != NULL)
			fclose(f);
		return false;
	}
	for (int i = 1; i <= TRANSCRIPT_CONNS; i++)
		r.out[i] = evbuffer_new();
	r.state = r.e->new();
	ok = run_lines(&r, f);
	r.e->free(r.state);
	for (int i = 1; i <= TRANSCRIPT_CONNS; i++)
		evbuffer_free(r.out[i]);
	fclose(f);
	printf("%s %s %s%s%s\n", ok ? "ok" : "not ok", strrchr(path, '/') != NULL
	    ? strrchr(path, '/') + 1 : path, bytes ? "bytes" : "whole", ok ? "" : " ", r.why);
	fflush(stdout);
	return ok;
}

int
main(int argc, char **argv)
{
	bool ok = argc > 1;

	log_init("transcript", true, LOG_LEVEL_ERR);
	for (int i = 1; i < argc; i++) {
		ok &= run_file(argv[i], false);
		ok &= run_file(argv[i], true);
	}
	return ok ? 0 : 1;
}
