/* envelope.c - the addresses of From, To and their like.
 *
 * Reads one address at a time out of a value, leniently: what is no address at all
 * becomes a mailbox without a host rather than nothing, so that a client can show
 * what was there.  Each kind of text (phrase, comment, route, mailbox, host) has a
 * buffer as long as the value, so no text can outgrow it.  A missing host is
 * "MISSING_DOMAIN", a missing mailbox "MISSING_MAILBOX": NIL would mean a group. */
#include <stdlib.h>
#include <string.h>

#include "envelope.h"
#include "mem.h"

void
address_init(struct address_parser *a, struct span value)
{
	*a = (struct address_parser) { .in = value, .cap = value.len + 2 };
	a->buf = mem_array(ADDRESS_TEXTS, a->cap);
}

void
address_clear(struct address_parser *a)
{
	free(a->buf);
	a->buf = NULL;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
put(struct address_parser *a, int text, char c)
{
	if (a->len[text] + 1 < a->cap && c != '\0' && c != '\r' && c != '\n')
		a->buf[(size_t)text * a->cap + a->len[text]++] = c;
}

static const char *
text_of(struct address_parser *a, int text)
{
	char *p = a->buf + (size_t)text * a->cap;

	p[a->len[text]] = '\0';
	return p;
}

static bool
has(const struct address_parser *a, int text)
{
	return a->len[text] > 0;
}

static void
eat(struct address_parser *a)
{
	a->in.p++;
	a->in.len--;
}

static bool
at(const struct address_parser *a, const char *set)
{
	return a->in.len > 0 && *a->in.p != '\0' && strchr(set, *a->in.p) != NULL;
}

/* Behind "(": the comment becomes a name where there is no other. */
static void
take_comment(struct address_parser *a)
{
	int depth = 1;

	a->len[ADDRESS_COMMENT] = 0;
	for (eat(a); a->in.len > 0; eat(a)) {
		char c = *a->in.p;

		if (c == '\\' && a->in.len > 1) {
			eat(a);
			put(a, ADDRESS_COMMENT, *a->in.p);
			continue;
		}
		if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0) {
			eat(a);
			return;
		}
		put(a, ADDRESS_COMMENT, c);
	}
}

/* True when there was anything to skip. */
static bool
skip_cfws(struct address_parser *a)
{
	const char *start = a->in.p;

	while (a->in.len > 0) {
		if (*a->in.p == '(')
			take_comment(a);
		else if (is_space(*a->in.p) || *a->in.p == '\0')
			eat(a);
		else
			break;
	}
	return a->in.p != start;
}

static void
take_quoted(struct address_parser *a, int text)
{
	for (eat(a); a->in.len > 0 && *a->in.p != '"'; eat(a)) {
		if (*a->in.p == '\\' && a->in.len > 1)
			eat(a);
		put(a, text, *a->in.p);
	}
	if (a->in.len > 0)
		eat(a);
}

static void
take_atom(struct address_parser *a, int text)
{
	while (a->in.len > 0 && !is_space(*a->in.p) && !at(a, ",;:<>@\"(")) {
		put(a, text, *a->in.p);
		eat(a);
	}
}

static void
take_domain_literal(struct address_parser *a, int text)		/* [IPv6:2001:db8::1] */
{
	bool end = false;

	while (a->in.len > 0 && !end) {
		end = *a->in.p == ']';
		put(a, text, *a->in.p);
		eat(a);
	}
}

/* Words up to one of , ; : < > @.  spaced: a gap between words is one space. */
static void
take_words(struct address_parser *a, int text, bool spaced)
{
	bool gap = false, any = false;

	for (;;) {
		gap |= skip_cfws(a);
		if (a->in.len == 0 || at(a, ",;:<>@"))
			return;
		if (gap && any && spaced)
			put(a, text, ' ');
		gap = false;
		any = true;
		if (*a->in.p == '"')
			take_quoted(a, text);
		else if (*a->in.p == '[' && text == ADDRESS_HOST)
			take_domain_literal(a, text);
		else
			take_atom(a, text);
	}
}

/* "<@a,@b:mailbox@host>", at the bracket */
static void
take_angle(struct address_parser *a)
{
	eat(a);
	skip_cfws(a);
	while (at(a, "@,")) {			/* an obsolete route */
		put(a, ADDRESS_ROUTE, *a->in.p);
		eat(a);
		take_words(a, ADDRESS_ROUTE, false);
	}
	if (at(a, ":"))
		eat(a);
	take_words(a, ADDRESS_MAILBOX, false);
	if (at(a, "@")) {
		eat(a);
		take_words(a, ADDRESS_HOST, false);
	}
	while (a->in.len > 0 && !at(a, ">,;"))	/* nonsense up to the end */
		eat(a);
	if (at(a, ">"))
		eat(a);
	while (skip_cfws(a), a->in.len > 0 && !at(a, ",;"))
		eat(a);
}

static void
finish(struct address_parser *a, struct address *out, bool angle)
{
	int name = ADDRESS_PHRASE;

	if (!angle || !has(a, ADDRESS_PHRASE))
		name = ADDRESS_COMMENT;
	out->name = has(a, name) ? text_of(a, name) : NULL;
	out->route = has(a, ADDRESS_ROUTE) ? text_of(a, ADDRESS_ROUTE) : NULL;
	out->mailbox = has(a, ADDRESS_MAILBOX) ? text_of(a, ADDRESS_MAILBOX)
					       : "MISSING_MAILBOX";
	out->host = has(a, ADDRESS_HOST) ? text_of(a, ADDRESS_HOST) : "MISSING_DOMAIN";
}

/* Without brackets the words were the mailbox: "user@host (Name)". */
static void
take_bare(struct address_parser *a)
{
	memcpy(a->buf + ADDRESS_MAILBOX * a->cap, a->buf + ADDRESS_PHRASE * a->cap,
	    a->len[ADDRESS_PHRASE]);
	a->len[ADDRESS_MAILBOX] = a->len[ADDRESS_PHRASE];
	if (at(a, "@")) {
		eat(a);
		take_words(a, ADDRESS_HOST, false);
	}
	while (a->in.len > 0 && !at(a, ",;"))
		eat(a);
}

static bool
end_group(struct address_parser *a, struct address *out)
{
	a->in_group = false;
	*out = (struct address) { 0 };
	return true;
}

bool
address_next(struct address_parser *a, struct address *out)
{
	memset(a->len, 0, sizeof(a->len));
	for (;;) {
		skip_cfws(a);
		if (at(a, ";")) {
			eat(a);
			if (a->in_group)
				return end_group(a, out);
		} else if (at(a, ",>")) {
			eat(a);
		} else {
			break;
		}
	}
	if (a->in.len == 0)
		return a->in_group ? end_group(a, out) : false;
	a->len[ADDRESS_COMMENT] = 0;
	take_words(a, ADDRESS_PHRASE, true);
	if (at(a, ":") && !a->in_group) {
		eat(a);
		a->in_group = true;
		*out = (struct address) { .mailbox = text_of(a, ADDRESS_PHRASE) };
		return true;
	}
	if (at(a, "<")) {
		take_angle(a);
		finish(a, out, true);
	} else {
		take_bare(a);
		finish(a, out, false);
	}
	return true;
}

char *
header_text(struct span value, size_t *len)
{
	char *text;
	size_t n = 0;

	value = span_trim(value);
	text = mem_alloc(value.len + 1);
	for (size_t i = 0; i < value.len; i++)
		if (value.p[i] != '\r' && value.p[i] != '\n' && value.p[i] != '\0')
			text[n++] = value.p[i];
	while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
		n--;
	text[n] = '\0';
	*len = n;
	return text;
}
