/* redact.c - works line by line, and knows of a line only whether it is inside a private
 * key or a fence section. */
#include "redact.h"

#include <ctype.h>
#include <string.h>

#define HEX_MIN 32
#define GONE "REDACTED"

struct redactor {
	FILE *out;
	bool pem, fence;
	bool args; /* inside the list of its arguments, which goes on */
	int depth; /* of braces, inside a fence section */
};

static bool
contains_nocase(struct span s, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= s.len; i++)
		if (span_starts_nocase((struct span){s.p + i, s.len - i}, word))
			return true;
	return false;
}

static bool
secret_name(struct span s)
{
	static const char *const words[] = {
	    "passw", "passphrase", "secret", "token", "community", "credential", "apikey"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (contains_nocase(s, words[i]))
			return true;
	return false;
}

static bool
is_hex(char c)
{
	return isxdigit((unsigned char)c) != 0;
}

/* Keys by their form, wherever they stand. */
static void
put_plain(struct redactor *r, struct span s)
{
	size_t i = 0;

	while (i < s.len) {
		size_t n = 0;

		while (i + n < s.len && is_hex(s.p[i + n]))
			n++;
		if (n >= HEX_MIN && !(i >= 7 && memcmp(s.p + i - 7, "sha256:", 7) == 0)) {
			fputs(GONE, r->out);
		} else {
			n = n == 0 ? 1 : n;
			fwrite(s.p + i, 1, n, r->out);
		}
		i += n;
	}
}

/* The first = or : behind which a value stands. */
static size_t
name_end(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '=' || s.p[i] == ':')
			return i;
	return s.len;
}

static void
put_line(struct redactor *r, struct span line)
{
	size_t end = name_end(line);

	if (end < line.len && secret_name((struct span){line.p, end}) &&
	    !contains_nocase((struct span){line.p, end}, "-file")) {
		fwrite(line.p, 1, end + 1, r->out);
		fputs(" " GONE, r->out);
	} else if (r->fence && contains_nocase((struct span){line.p, end}, "args")) {
		fwrite(line.p, 1, end, r->out);
		fputs("= { " GONE " }", r->out);
		r->args = memchr(line.p, '}', line.len) == NULL;
	} else if (secret_name(line)) {
		/* Somewhere in the line, such as "passwd=x" among other words. */
		fputs("(line with a secret) " GONE, r->out);
	} else {
		put_plain(r, line);
	}
}

static void
count_braces(struct redactor *r, struct span line)
{
	struct span word = span_trim(line);

	if (!r->fence && span_starts_nocase(word, "fence ")) {
		r->fence = true;
		r->depth = 0;
	}
	for (size_t i = 0; r->fence && i < line.len; i++)
		r->depth += line.p[i] == '{' ? 1 : line.p[i] == '}' ? -1 : 0;
}

void
redact(struct span text, FILE *out)
{
	struct redactor r = {.out = out};
	struct span line;

	while (span_cut(&text, '\n', &line)) {
		bool last = text.p == NULL, was_fence;

		if (last && line.len == 0)
			break;
		was_fence = r.fence;
		count_braces(&r, line);
		if (contains_nocase(line, "PRIVATE KEY-----")) {
			r.pem = contains_nocase(line, "-----BEGIN");
			fputs(r.pem ? "(private key) " GONE : "", out);
		} else if (r.args) {
			fputs(GONE, out);
			r.args = memchr(line.p, '}', line.len) == NULL;
		} else if (!r.pem && r.fence && !was_fence &&
			   contains_nocase(line, "args")) {
			fputs("(fence section) " GONE, out);
		} else if (!r.pem) {
			put_line(&r, line);
		}
		if (r.fence && r.depth <= 0 && memchr(line.p, '}', line.len) != NULL)
			r.fence = false;
		fputc('\n', out);
	}
}
