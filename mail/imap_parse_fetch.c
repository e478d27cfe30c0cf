/* imap_parse_fetch.c - the items of a FETCH (RFC 3501 9: fetch, section).
 *
 * Pure, in the arena of the command.  Items are few words, so each is taken as the
 * run of letters, digits and dots in front of the cursor and looked up in a table. */
#include <string.h>

#include "imap_fetch.h"

#define SECTIONS_MAX 100

static const struct {
	const char *name;
	unsigned items;
} words[] = {
	{ "FLAGS", ITEM_FLAGS },
	{ "UID", ITEM_UID },
	{ "INTERNALDATE", ITEM_DATE },
	{ "RFC822.SIZE", ITEM_SIZE },
	{ "ENVELOPE", ITEM_ENVELOPE },
	{ "BODYSTRUCTURE", ITEM_BODYSTRUCTURE },
}, macros[] = {
	{ "ALL", ITEM_FLAGS | ITEM_DATE | ITEM_SIZE | ITEM_ENVELOPE },
	{ "FAST", ITEM_FLAGS | ITEM_DATE | ITEM_SIZE },
	{ "FULL", ITEM_FLAGS | ITEM_DATE | ITEM_SIZE | ITEM_ENVELOPE | ITEM_BODY },
};

static struct span
take_word(struct imap_cur *c)
{
	const char *start = c->p;

	while (c->p != c->end && ((*c->p >= 'A' && *c->p <= 'Z') ||
	    (*c->p >= 'a' && *c->p <= 'z') || (*c->p >= '0' && *c->p <= '9') ||
	    *c->p == '.'))
		c->p++;
	return (struct span) { start, (size_t)(c->p - start) };
}

static enum parse
unknown(const struct imap_cur *c)
{
	return c->p == c->end ? PARSE_MORE : PARSE_BAD;
}

static struct imap_section *
add_section(struct imap_cur *c, struct imap_fetch *f)
{
	struct imap_section **end = &f->sections, *s;
	size_t n = 0;

	for (; *end != NULL; end = &(*end)->next)
		if (++n == SECTIONS_MAX)
			return NULL;
	if ((s = arena_alloc(c->arena, sizeof(*s))) != NULL)
		*end = s;
	return s;
}

static enum parse
get_fields(struct imap_cur *c, struct imap_section *s)
{
	size_t most = 1;
	enum parse rc;

	if ((rc = imap_get_char(c, ' ')) != PARSE_OK ||
	    (rc = imap_get_char(c, '(')) != PARSE_OK)
		return rc;
	for (const char *p = c->p; p != c->end; p++)
		most += *p == ' ';
	if ((s->fields = arena_alloc(c->arena, most * sizeof(struct span))) == NULL)
		return PARSE_BAD;
	for (;;) {
		if ((rc = imap_get_astring(c, &s->fields[s->n_fields])) != PARSE_OK)
			return rc;
		s->n_fields++;
		if (!imap_at(c, ' '))
			return imap_get_char(c, ')');
		c->p++;
	}
}

/* "1.2.": part numbers, each but the last followed by a dot */
static enum parse
get_part(struct imap_cur *c, struct imap_section *s)
{
	uint64_t n;
	enum parse rc;

	while (c->p != c->end && *c->p >= '0' && *c->p <= '9') {
		if ((rc = imap_get_number(c, UINT32_MAX, &n)) != PARSE_OK)
			return rc;
		if (n == 0 || s->parts == IMAP_SECTION_DEPTH)
			return PARSE_BAD;
		s->part[s->parts++] = (uint32_t)n;
		if (!imap_at(c, '.'))
			return unknown(c) == PARSE_MORE ? PARSE_MORE : PARSE_OK;
		c->p++;
		if (imap_at(c, ']'))
			return PARSE_BAD;
	}
	return PARSE_OK;
}

static enum parse
get_section_text(struct imap_cur *c, struct imap_section *s)
{
	struct span word = take_word(c);

	if (word.len == 0)
		return unknown(c);
	if (span_is_nocase(word, "HEADER"))
		s->kind = SECTION_HEADER;
	else if (span_is_nocase(word, "TEXT"))
		s->kind = SECTION_TEXT;
	else if (span_is_nocase(word, "MIME") && s->parts > 0)
		s->kind = SECTION_MIME;
	else if (span_is_nocase(word, "HEADER.FIELDS"))
		s->kind = SECTION_FIELDS;
	else if (span_is_nocase(word, "HEADER.FIELDS.NOT"))
		s->kind = SECTION_FIELDS_NOT;
	else
		return unknown(c);
	if (s->kind == SECTION_FIELDS || s->kind == SECTION_FIELDS_NOT)
		return get_fields(c, s);
	return PARSE_OK;
}

static enum parse
get_partial(struct imap_cur *c, struct imap_section *s)
{
	enum parse rc;

	c->p++;
	if ((rc = imap_get_number(c, UINT32_MAX, &s->from)) != PARSE_OK ||
	    (rc = imap_get_char(c, '.')) != PARSE_OK ||
	    (rc = imap_get_number(c, UINT32_MAX, &s->most)) != PARSE_OK ||
	    (rc = imap_get_char(c, '>')) != PARSE_OK)
		return rc;
	if (s->most == 0)
		return PARSE_BAD;
	s->partial = true;
	return PARSE_OK;
}

/* behind "BODY" or "BODY.PEEK", at the bracket */
static enum parse
get_section(struct imap_cur *c, struct imap_fetch *f, bool peek)
{
	struct imap_section *s = add_section(c, f);
	const char *start = ++c->p;
	bool last_number;
	enum parse rc;

	if (s == NULL)
		return PARSE_BAD;
	s->peek = peek;
	if ((rc = get_part(c, s)) != PARSE_OK)
		return rc;
	last_number = s->parts > 0 && c->p[-1] != '.';
	if (!imap_at(c, ']')) {
		if (last_number)
			return unknown(c);
		if ((rc = get_section_text(c, s)) != PARSE_OK)
			return rc;
	}
	s->text = (struct span) { start, (size_t)(c->p - start) };
	if ((rc = imap_get_char(c, ']')) != PARSE_OK)
		return rc;
	if (imap_at(c, '<') && (rc = get_partial(c, s)) != PARSE_OK)
		return rc;
	f->sets_seen |= !peek;
	return PARSE_OK;
}

static enum parse
get_rfc822(struct imap_cur *c, struct imap_fetch *f, struct span word)
{
	static const struct {
		const char *name;
		enum imap_section_kind kind;
		bool peek;
	} old[] = {
		{ "RFC822", SECTION_ALL, false },
		{ "RFC822.HEADER", SECTION_HEADER, true },
		{ "RFC822.TEXT", SECTION_TEXT, false },
	};
	struct imap_section *s;

	for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
		if (!span_is_nocase(word, old[i].name))
			continue;
		if ((s = add_section(c, f)) == NULL)
			return PARSE_BAD;
		s->rfc822 = old[i].name;
		s->kind = old[i].kind;
		s->peek = old[i].peek;
		f->sets_seen |= !s->peek;
		return PARSE_OK;
	}
	return unknown(c);
}

static enum parse
get_item(struct imap_cur *c, struct imap_fetch *f)
{
	struct span word = take_word(c);

	if (word.len == 0)
		return unknown(c);
	if (span_is_nocase(word, "BODY")) {
		if (imap_at(c, '['))
			return get_section(c, f, false);
		f->items |= ITEM_BODY;
		return PARSE_OK;
	}
	if (span_is_nocase(word, "BODY.PEEK"))
		return imap_at(c, '[') ? get_section(c, f, true) : unknown(c);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_is_nocase(word, words[i].name)) {
			f->items |= words[i].items;
			return PARSE_OK;
		}
	return get_rfc822(c, f, word);
}

static bool
get_macro(struct imap_cur *c, struct imap_fetch *f)
{
	struct imap_cur look = *c;
	struct span word = take_word(&look);

	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
		if (span_is_nocase(word, macros[i].name)) {
			f->items = macros[i].items;
			*c = look;
			return true;
		}
	return false;
}

enum parse
imap_get_fetch(struct imap_cur *c, struct imap_fetch *out)
{
	struct imap_fetch f = { 0 };
	enum parse rc;

	if (get_macro(c, &f)) {
		*out = f;
		return PARSE_OK;
	}
	if (!imap_at(c, '(')) {
		if ((rc = get_item(c, &f)) == PARSE_OK)
			*out = f;
		return rc;
	}
	do {
		c->p++;
		if ((rc = get_item(c, &f)) != PARSE_OK)
			return rc;
	} while (imap_at(c, ' '));
	if ((rc = imap_get_char(c, ')')) == PARSE_OK)
		*out = f;
	return rc;
}
