/* conf.c - libconfuse with errors of one form: ERROR file:line: text, on stderr.
 * Nothing is repaired and no default is guessed: a configuration with one error
 * starts nothing. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "fs.h"
#include "mem.h"
#include "span.h"

#define FILE_MAX (1u << 20)

static int failures;

static void __attribute__((format(printf, 3, 0)))
say(const char *path, int line, const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	failures++;
	if (line > 0)
		fprintf(stderr, "ERROR %s:%d: %s\n", path, line, text);
	else
		fprintf(stderr, "ERROR %s: %s\n", path, text);
}

static void __attribute__((format(printf, 2, 0)))
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	say(cfg->filename == NULL ? "configuration" : cfg->filename, cfg->line, fmt, ap);
}

void
conf_error(const char *path, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(path, line, fmt, ap);
	va_end(ap);
}

int
conf_failed(void)
{
	return failures;
}

int
conf_line(cfg_t *sec)
{
	/* Of the whole file libconfuse only knows where it ended. */
	return strcmp(cfg_name(sec), "root") == 0 ? 0 : sec->line;
}

/* Behind the string or comment that begins at p; p itself when it is neither. */
static const char *
skip_quoted(const char *begin, const char *p)
{
	const char *end = p;

	if (*p == '"' || *p == '\'') {
		for (end = p + 1; *end != '\0' && *end != *p; end++)
			if (*end == '\\' && end[1] != '\0')
				end++;
		return *end == '\0' ? end : end + 1;
	}
	if (*p == '#' || (p[0] == '/' && p[1] == '/'
	    && (p == begin || strchr(" \t\r\n{}=,", p[-1]) != NULL)))
		return p + strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*') {
		end = strstr(p + 2, "*/");
		return end == NULL ? p + strlen(p) : end + 2;
	}
	return p;
}

/* libconfuse takes the end of the file for the end of every open section, so half a
 * file would pass.  The line of the innermost section that is open; 0 when all are
 * closed. */
static int
open_section(const char *text)
{
	int lines[8] = { 0 }, line = 1;
	size_t depth = 0;

	for (const char *p = text; *p != '\0';) {
		const char *next = skip_quoted(text, p);

		if (next == p) {
			if (*p == '{' && depth < sizeof(lines) / sizeof(lines[0]))
				lines[depth++] = line;
			else if (*p == '}' && depth > 0)
				depth--;
			next++;
		}
		for (; p < next; p++)
			line += *p == '\n';
	}
	return depth == 0 ? 0 : lines[depth - 1];
}

/* p begins a word of its own, and a value follows. */
static bool
assigns(const char *begin, const char *p, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(p, name, len) != 0 || (p > begin && strchr(" \t\r\n{}", p[-1]) == NULL))
		return false;
	p += len;
	p += strspn(p, " \t\r\n+");
	return *p == '=';
}

int
conf_option_line(const char *path, const char *name)
{
	int line = 1, found = 0;
	char *text;
	size_t len;

	if (fs_read(path, FILE_MAX, &text, &len) == -1)
		return 0;
	for (const char *p = text; *p != '\0' && found == 0;) {
		const char *next = skip_quoted(text, p);

		if (next == p && assigns(text, p, name))
			found = line;
		for (next += next == p; p < next; p++)
			line += *p == '\n';
	}
	free(text);
	return found;
}

static void
check_sections(const char *path)
{
	char *text;
	size_t len;
	int line;

	if (fs_read(path, FILE_MAX, &text, &len) == -1) {
		conf_error(path, 0, "%s", strerror(errno));
		return;
	}
	line = open_section(text);
	if (line > 0)
		conf_error(path, line, "this is not closed with }");
	mem_wipe(text, len);	/* there may be passwords in it */
	free(text);
}

cfg_t *
conf_load_checked(const char *path, cfg_opt_t *opts, const struct conf_check *checks)
{
	cfg_t *cfg = cfg_init(opts, CFGF_NONE);
	int before = failures, rc;

	if (cfg == NULL) {
		conf_error(path, 0, "out of memory");
		return NULL;
	}
	cfg_set_error_function(cfg, on_error);
	for (; checks != NULL && checks->name != NULL; checks++)
		cfg_set_validate_func(cfg, checks->name, checks->check);
	errno = 0;
	rc = cfg_parse(cfg, path);
	if (rc == CFG_FILE_ERROR)
		conf_error(path, 0, "%s", strerror(errno));
	else if (rc != CFG_SUCCESS && failures == before)
		conf_error(path, cfg->line, "not understood");
	if (failures == before)
		check_sections(path);
	if (failures == before)
		return cfg;
	cfg_free(cfg);
	return NULL;
}

cfg_t *
conf_load(const char *path, cfg_opt_t *opts)
{
	return conf_load_checked(path, opts, NULL);
}

/* A validator runs after each value, so the newest is the one to look at. */
static const char *
newest_text(cfg_opt_t *opt)
{
	unsigned n = cfg_opt_size(opt);
	const char *text = n == 0 ? NULL : cfg_opt_getnstr(opt, n - 1);

	return text == NULL ? "" : text;
}

static long
newest_number(cfg_opt_t *opt)
{
	unsigned n = cfg_opt_size(opt);

	return n == 0 ? 0 : cfg_opt_getnint(opt, n - 1);
}

int
conf_check_positive(cfg_t *cfg, cfg_opt_t *opt)
{
	if (newest_number(opt) > 0)
		return 0;
	cfg_error(cfg, "%s must be a whole number above 0", cfg_opt_name(opt));
	return -1;
}

int
conf_check_port(cfg_t *cfg, cfg_opt_t *opt)
{
	long port = newest_number(opt);

	if (port >= 1 && port <= 65535)
		return 0;
	cfg_error(cfg, "%s must be a port from 1 to 65535", cfg_opt_name(opt));
	return -1;
}

int
conf_check_range(cfg_t *cfg, cfg_opt_t *opt, long min, long max)
{
	long v = newest_number(opt);

	if (v >= min && v <= max)
		return 0;
	cfg_error(cfg, "%s: expected a number from %ld to %ld, not %ld", cfg_opt_name(opt), min,
	    max, v);
	return -1;
}

int
conf_word(const char *const *words, const char *word)
{
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

int
conf_check_words(cfg_t *cfg, cfg_opt_t *opt, const char *const *words)
{
	const char *v = newest_text(opt);
	char list[256] = "";

	if (conf_word(words, v) >= 0)
		return 0;
	for (size_t i = 0, at = 0; words[i] != NULL && at < sizeof(list); i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s\"%s\"",
		    i == 0 ? "" : words[i + 1] != NULL ? ", " : " or ", words[i]);
	cfg_error(cfg, "%s: expected %s, not \"%s\"", cfg_opt_name(opt), list, v);
	return -1;
}

int
conf_check_abspath(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *path = newest_text(opt);

	if (path[0] == '/' || path[0] == '\0')
		return 0;
	cfg_error(cfg, "%s must be an absolute path", cfg_opt_name(opt));
	return -1;
}

int
conf_check_ip(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *text = newest_text(opt);
	struct in6_addr a;

	if (inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, text, &a) == 1)
		return 0;
	cfg_error(cfg, "%s must be an IPv4 or IPv6 address", cfg_opt_name(opt));
	return -1;
}

int
conf_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kMGT";
	struct span s = span_of(text);
	unsigned shift = 0;
	const char *unit;
	uint64_t n;

	unit = s.len == 0 ? NULL : strchr(units, s.p[s.len - 1] == 'K' ? 'k' : s.p[s.len - 1]);
	if (unit != NULL) {
		shift = 10 * (unsigned)(unit - units + 1);
		s.len--;
	}
	if (span_u64(s, UINT64_MAX >> shift, &n) != PARSE_OK) {
		errno = EINVAL;
		return -1;
	}
	*bytes = n << shift;
	return 0;
}
