/* redact.c - one pass over the text, name by name.  A name that speaks of a secret and
 * has a value loses it, wherever the two stand: an option, a parameter inside a list, a
 * member of JSON, a comment, an argument of a command line.  A value goes on over quotes
 * and lines as the configuration's own syntax has it.
 *
 * What begins as a fence section is followed by its braces, with strings and comments
 * read as such, so that none of its arguments escapes. */
#include "redact.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define HEX_MIN 32
#define GONE "REDACTED"

enum lex { LEX_PLAIN, LEX_STRING, LEX_LINE_COMMENT, LEX_COMMENT };

struct redactor {
	const char *begin, *end; /* of the text */
	char *out;
	size_t len, room, line; /* line: where the present one begins in out */
	bool fence;		/* inside such a section: */
	int depth;		/* of braces, */
	enum lex lex;		/* what the next byte is part of, */
	const char *since;	/* where that began */
};

/* ---- names ------------------------------------------------------------------- */

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
ends_nocase(struct span s, const char *word)
{
	size_t n = strlen(word);

	return s.len >= n && span_starts_nocase((struct span){s.p + s.len - n, n}, word);
}

/* Said by itself, in a sentence, it makes the whole line suspect. */
static bool
strong_name(struct span s)
{
	static const char *const words[] = {"passw", "passphrase", "passcode", "secret", "token",
	    "community", "credential", "apikey"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (contains_nocase(s, words[i]))
			return true;
	return false;
}

/* One word of a name such as OCF_RESKEY_login-pwd2. */
static bool
weak_word(struct span w)
{
	while (w.len > 0 && isdigit((unsigned char)w.p[w.len - 1]))
		w.len--;
	return contains_nocase(w, "pwd") || ends_nocase(w, "pass") || ends_nocase(w, "psk") ||
	       ((ends_nocase(w, "key") || ends_nocase(w, "keys")) &&
		   !span_is_nocase(w, "reskey"));
}

/* Where a secret is kept is none. */
static bool
secret_name(struct span s)
{
	size_t from = 0;

	if (ends_nocase(s, "-file") || ends_nocase(s, "_file"))
		return false;
	for (size_t i = 0; i <= s.len; i++) {
		if (i < s.len && isalnum((unsigned char)s.p[i]))
			continue;
		if (weak_word((struct span){s.p + from, i - from}))
			return true;
		from = i + 1;
	}
	return strong_name(s);
}

static bool
name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static struct span
name_at(const struct redactor *r, const char *p)
{
	const char *e = p;

	while (e < r->end && name_char(*e))
		e++;
	return (struct span){p, (size_t)(e - p)};
}

/* ---- where a value begins and ends --------------------------------------------- */

static bool
starts(const struct redactor *r, const char *p, const char *with)
{
	size_t n = strlen(with);

	return (size_t)(r->end - p) >= n && memcmp(p, with, n) == 0;
}

static const char *
line_end(const struct redactor *r, const char *p)
{
	const char *nl = p == r->end ? NULL : memchr(p, '\n', (size_t)(r->end - p));

	return nl == NULL ? r->end : nl;
}

/* Behind blanks, comments and, if told so, ends of lines. */
static const char *
skip(const struct redactor *r, const char *p, bool lines)
{
	for (;;) {
		if (p == r->end)
			return p;
		if (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\\' ||
		    (lines && *p == '\n')) {
			p++;
		} else if (starts(r, p, "/*")) {
			p += 2;
			while (p < r->end && !starts(r, p, "*/"))
				p++;
			p = p == r->end ? p : p + 2;
		} else if (lines && (*p == '#' || starts(r, p, "//"))) {
			p = line_end(r, p);
		} else {
			return p;
		}
	}
}

/* Behind the = or : that makes a name the name of a value; NULL: there is none.  The word
 * behind an option of a command line is one too, and the next of a list. */
static const char *
separator(const struct redactor *r, struct span name)
{
	const char *p = name.p + name.len, *after;
	bool option = name.p[0] == '-';

	if (p < r->end && *p == '\\')
		p++;
	if (p < r->end && (*p == '"' || *p == '\''))
		p++;
	after = skip(r, p, false);
	if (after < r->end && *after == '+')
		after++;
	if (after < r->end && (*after == '=' || *after == ':'))
		return after + 1;
	if (after < r->end && *after == '{')
		return after;
	if (option && after < r->end && *after == ',')
		return after + 1;
	return option && after > p && after < r->end && *after != '\n' ? p : NULL;
}

/* The quote that is open in front of p on its line, or 0. */
static char
open_quote(const struct redactor *r, const char *p)
{
	const char *b = p;
	bool inside = false;

	if (p > r->begin && p[-1] == '\'')
		return '\'';
	while (b > r->begin && b[-1] != '\n')
		b--;
	for (; b < p; b++) {
		if (*b == '\\' && b + 1 < p)
			b++;
		else if (*b == '"')
			inside = !inside;
	}
	return inside ? '"' : 0;
}

/* Behind the closing one; a string that nothing closes ends with its line. */
static const char *
string_end(const struct redactor *r, const char *p, char quote)
{
	for (const char *e = p; e < r->end; e++) {
		if (*e == '\\' && e + 1 < r->end)
			e++;
		else if (*e == quote)
			return e + 1;
	}
	return line_end(r, p);
}

/* What is glued to the end of a string is part of the value. */
static const char *
glued(const struct redactor *r, const char *p)
{
	while (p < r->end && strchr(" \t\r\n,;})]", *p) == NULL)
		p = *p == '"' || *p == '\'' ? string_end(r, p + 1, *p) : p + 1;
	return p;
}

static const char *
list_end(const struct redactor *r, const char *p)
{
	int depth = 0;

	for (const char *e = p; (e = skip(r, e, true)) < r->end;) {
		if (*e == '"' || *e == '\'') {
			e = string_end(r, e + 1, *e);
			continue;
		}
		depth += *e == '{' || *e == '[' ? 1 : *e == '}' || *e == ']' ? -1 : 0;
		e++;
		if (depth == 0)
			return e;
	}
	return r->end;
}

/* Until the end of the line, and of the next one behind a backslash; in a fence section
 * also of a list that begins there. */
static const char *
rest_of_line(const struct redactor *r, const char *p)
{
	const char *e = line_end(r, p);

	while (e < r->end && e > p && e[-1] == '\\')
		e = line_end(r, e + 1);
	for (; r->fence && p < e; p++) {
		if (*p == '{')
			p = list_end(r, p) - 1;
		e = p < e ? e : line_end(r, p);
	}
	return e;
}

/* p: behind the separator; quote: the one that the name stands in. */
static const char *
value_end(const struct redactor *r, const char *p, char quote)
{
	const char *v;

	if (quote != 0) {
		const char *e = string_end(r, p, quote);

		/* The closing quote itself stays. */
		return e > p && e[-1] == quote && (e == r->end || strchr(" \t\r\n,;})]:", *e) != NULL)
			   ? e - 1
			   : glued(r, e);
	}
	v = skip(r, p, true);
	if (v == r->end)
		return v;
	if (*v == '"' || *v == '\'')
		return glued(r, string_end(r, v + 1, *v));
	return *v == '{' || *v == '[' ? list_end(r, v) : rest_of_line(r, v);
}

/* ---- writing ------------------------------------------------------------------- */

static void
put(struct redactor *r, struct span s)
{
	if (s.len > r->room - r->len) {
		r->room = 2 * (r->len + s.len) + 256;
		r->out = mem_grow(r->out, r->room, 1);
	}
	if (s.len > 0)
		memcpy(r->out + r->len, s.p, s.len);
	r->len += s.len;
}

static void
put_newline(struct redactor *r)
{
	put(r, SPAN("\n"));
	r->line = r->len;
}

/* Lines keep their numbers. */
static void
put_gone(struct redactor *r, const char *from, const char *to)
{
	put(r, SPAN(" " GONE));
	for (; from < to; from++)
		if (*from == '\n')
			put_newline(r);
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
		const char *at = s.p + i;
		size_t n = 0;

		while (i + n < s.len && is_hex(at[n]))
			n++;
		if (n >= HEX_MIN && !(at - r->begin >= 7 && memcmp(at - 7, "sha256:", 7) == 0)) {
			put(r, SPAN(GONE));
		} else {
			n = n == 0 ? 1 : n;
			put(r, (struct span){at, n});
		}
		i += n;
	}
}

/* ---- the fence section --------------------------------------------------------- */

/* fence NAME { */
static bool
fence_begins(const struct redactor *r, struct span name)
{
	const char *p;

	if (!span_is_nocase(name, "fence"))
		return false;
	p = skip(r, name.p + name.len, true);
	if (p < r->end && (*p == '"' || *p == '\''))
		p = string_end(r, p + 1, *p);
	else
		p += name_at(r, p).len;
	p = skip(r, p, true);
	return p < r->end && *p == '{';
}

static bool
escaped(const struct redactor *r, const char *p)
{
	const char *b = p;

	while (b > r->begin && b[-1] == '\\')
		b--;
	return (p - b) % 2 == 1;
}

static void
fence_plain(struct redactor *r, const char *p)
{
	r->since = p;
	if (*p == '"' || *p == '\'')
		r->lex = LEX_STRING;
	else if (*p == '#' || starts(r, p, "//"))
		r->lex = LEX_LINE_COMMENT;
	else if (starts(r, p, "/*"))
		r->lex = LEX_COMMENT;
	else if (*p == '{')
		r->depth++;
	else if (*p == '}')
		r->fence = --r->depth > 0;
}

/* One byte inside it that is no part of a name. */
static void
fence_step(struct redactor *r, const char *p)
{
	bool ends = false;

	if (r->lex == LEX_STRING)
		ends = *p == *r->since && !escaped(r, p);
	else if (r->lex == LEX_LINE_COMMENT)
		ends = *p == '\n';
	else if (r->lex == LEX_COMMENT)
		ends = p - r->since >= 3 && *p == '/' && p[-1] == '*';
	else
		fence_plain(r, p);
	if (ends)
		r->lex = LEX_PLAIN;
}

/* The value from..to was taken out; what stands behind it? */
static void
fence_skip(struct redactor *r, const char *from, const char *to)
{
	if (r->lex == LEX_STRING)
		r->lex = to < r->end && *to == *r->since ? LEX_STRING : LEX_PLAIN;
	else if (r->lex == LEX_LINE_COMMENT && memchr(from, '\n', (size_t)(to - from)) != NULL)
		r->lex = LEX_PLAIN;
}

/* ---- the pass ------------------------------------------------------------------ */

/* A PEM private key at the start of a line, p: behind its last line, or p. */
static const char *
private_key(struct redactor *r, const char *p)
{
	const char *e = line_end(r, p);
	struct span line = {p, (size_t)(e - p)};

	if (!contains_nocase(line, "-----BEGIN") || !contains_nocase(line, "PRIVATE KEY-----"))
		return p;
	put(r, SPAN("(private key) " GONE));
	while (!contains_nocase(line, "-----END") && e < r->end) {
		put_newline(r);
		p = e + 1;
		e = line_end(r, p);
		line = (struct span){p, (size_t)(e - p)};
	}
	return e;
}

/* Behind what was dealt with. */
static const char *
take_name(struct redactor *r, struct span name)
{
	const char *sep, *end;
	char quote;

	if (!r->fence && fence_begins(r, name)) {
		r->fence = true;
		r->depth = 0;
		r->lex = LEX_PLAIN;
	}
	if (!secret_name(name) && !(r->fence && span_is_nocase(name, "args"))) {
		put_plain(r, name);
		return name.p + name.len;
	}
	sep = separator(r, name);
	if (sep == NULL && !strong_name(name)) {
		put_plain(r, name);
		return name.p + name.len;
	}
	if (sep == NULL) {
		/* Where in its line the secret stands is not known. */
		r->len = r->line;
		put(r, SPAN("(line with a secret) " GONE));
		end = line_end(r, name.p);
		for (const char *p = name.p; r->fence && p < end; p++)
			fence_step(r, p);
		return end;
	}
	/* In { "--password", "x" } and in "password": "x" the quote is closed again. */
	quote = open_quote(r, name.p);
	if (memchr(name.p + name.len, quote, (size_t)(sep - name.p) - name.len) != NULL)
		quote = 0;
	end = value_end(r, sep, quote);
	fence_skip(r, sep, end);
	put(r, (struct span){name.p, (size_t)(sep - name.p)});
	put_gone(r, sep, end);
	return end;
}

static void
take_all(struct redactor *r)
{
	const char *p = r->begin;

	while (p < r->end) {
		if (r->len == r->line) {
			const char *behind = private_key(r, p);

			if (behind > p) {
				p = behind;
				continue;
			}
		}
		if (name_char(*p)) {
			p = take_name(r, name_at(r, p));
			continue;
		}
		if (r->fence)
			fence_step(r, p);
		if (*p == '\n')
			put_newline(r);
		else
			put(r, (struct span){p, 1});
		p++;
	}
	if (r->len > r->line)
		put_newline(r);
}

void
redact(struct span text, FILE *out)
{
	struct redactor r = {.begin = text.p, .end = text.p + text.len};

	if (text.len == 0)
		return;
	r.out = mem_alloc(1);
	r.room = 1;
	take_all(&r);
	fwrite(r.out, 1, r.len, out);
	free(r.out);
}
