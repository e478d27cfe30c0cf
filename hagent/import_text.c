/* import_text.c - lines and words of Heartbeat's files, notes, and the few values that
 * several of them hold.  A byte that is not printable ASCII ends up as '?', a word or
 * line over its limit is noted and left out. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "import_int.h"

const char *
import_file_name(enum import_file f)
{
	return f == IMPORT_HA_CF	 ? "ha.cf"
	       : f == IMPORT_HARESOURCES ? "haresources"
					 : "authkeys";
}

static void
clean(char *s)
{
	for (; *s != '\0'; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
}

void
import_note(struct import *im, enum import_level level, enum import_file file, int line,
    const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(text);
	im->failed = im->failed || level == IMPORT_ERROR;
	im->env->note(im->env->arg, level, file, line, text);
}

bool
import_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size)
		return false;
	memcpy(dst, src, len + 1);
	return true;
}

/* One physical line without its comment. */
static struct span
bare_line(struct span line)
{
	const char *hash = line.len == 0 ? NULL : memchr(line.p, '#', line.len);

	if (hash != NULL)
		line.len = (size_t)(hash - line.p);
	while (line.len > 0 && strchr(" \t\r\f", line.p[line.len - 1]) != NULL &&
	       line.p[line.len - 1] != '\0')
		line.len--;
	return line;
}

static bool
is_separator(char c, const char *separators)
{
	return c != '\0' && strchr(separators, c) != NULL;
}

/* Adds the words of one physical line; false when there are too many or one is too
 * long. */
static bool
add_words(struct import_words *ws, struct span line, const char *separators)
{
	while (line.len > 0) {
		size_t n = 0;

		if (is_separator(line.p[0], separators)) {
			line.p++;
			line.len--;
			continue;
		}
		while (n < line.len && !is_separator(line.p[n], separators))
			n++;
		if (n >= IMPORT_WORD || ws->n == IMPORT_WORDS_MAX)
			return false;
		memcpy(ws->w[ws->n], line.p, n);
		ws->w[ws->n][n] = '\0';
		for (size_t i = 0; i < n; i++)
			if (ws->w[ws->n][i] < ' ' || ws->w[ws->n][i] > '~')
				ws->w[ws->n][i] = '?';
		ws->n++;
		line.p += n;
		line.len -= n;
	}
	return true;
}

bool
import_next(struct import *im, enum import_file file, const char *separators,
    struct span *rest, int *line, struct import_words *ws)
{
	struct span raw;
	bool more = false, good = true;

	ws->n = 0;
	while ((ws->n == 0 || more || !good) && span_cut(rest, '\n', &raw)) {
		struct span text = bare_line(raw);

		++*line;
		if (!more) {
			ws->line = *line;
			ws->n = 0;
			good = true;
		}
		more = text.len > 0 && text.p[text.len - 1] == '\\';
		if (more)
			text.len--;
		if (good &&
		    (text.len > IMPORT_LINE_MAX || !add_words(ws, text, separators))) {
			good = false;
			import_note(im, IMPORT_WARN, file, *line,
			    "line ignored: more than %d "
			    "words or %d bytes in a word",
			    IMPORT_WORDS_MAX, IMPORT_WORD - 1);
		}
		if (!more && !good)
			ws->n = 0;
	}
	return ws->n > 0 && good;
}

long
import_ms(const char *text)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {
	    {"", 1000},
	    {"s", 1000},
	    {"sec", 1000},
	    {"ms", 1},
	    {"msec", 1},
	    {"us", 0.001},
	    {"usec", 0.001},
	    {"m", 60000},
	    {"min", 60000},
	    {"h", 3600000},
	    {"hr", 3600000},
	};
	size_t n = strspn(text, "0123456789."), first = strspn(text, "0123456789");
	double value;

	if (first == 0 || n > 12 || strspn(text + first, ".") > 1)
		return -1;
	value = strtod(text, NULL);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(text + n, units[i].unit) == 0 &&
		    value * units[i].ms <= 86400000)
			return (long)(value * units[i].ms + 0.5);
	return -1;
}

bool
import_is_address(const char *text, int *family)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		*family = AF_INET;
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		*family = AF_INET6;
	else
		return false;
	return true;
}

static bool
same_net(const struct import_net *net, const char *address)
{
	uint8_t a[16] = {0}, b[16] = {0};
	int fa, fb;

	if (!import_is_address(address, &fa) || !import_is_address(net->address, &fb) ||
	    fa != fb || inet_pton(fa, address, a) != 1 ||
	    inet_pton(fb, net->address, b) != 1)
		return false;
	for (unsigned bit = 0; bit < net->prefix && bit < 128; bit++)
		if (((a[bit / 8] ^ b[bit / 8]) >> (7 - bit % 8) & 1) != 0)
			return false;
	return net->prefix > 0;
}

const struct import_net *
import_net_of(const struct import_env *env, const char *address)
{
	const struct import_net *best = NULL;

	for (size_t i = 0; i < env->nnets; i++)
		if (same_net(&env->nets[i], address) &&
		    (best == NULL || env->nets[i].prefix > best->prefix))
			best = &env->nets[i];
	return best;
}
