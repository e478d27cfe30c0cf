/* imap_parse_search.c - the keys of a SEARCH (RFC 3501 9: search-key).
 *
 * Pure, in the arena of the command.  Nesting is bounded by DEPTH_MAX, the number of
 * keys by the arena.  Text is folded here once, not for each message. */
#include <stdlib.h>
#include <string.h>

#include "imap_search.h"
#include "mime_text.h"
#include "store.h"

#define DEPTH_MAX 50

enum arg { ARG_NONE, ARG_TEXT, ARG_FIELD, ARG_DATE, ARG_NUMBER, ARG_KEYWORD, ARG_ONE,
	ARG_TWO, ARG_UIDS };

static const struct word {
	const char *name;
	enum search_key key;
	enum arg arg;
	uint32_t flag;
	bool negated;
	const char *field;
} words[] = {
	{ "ALL", KEY_ALL, ARG_NONE, 0, false, NULL },
	{ "ANSWERED", KEY_FLAG, ARG_NONE, FLAG_ANSWERED, false, NULL },
	{ "BCC", KEY_HEADER, ARG_TEXT, 0, false, "Bcc" },
	{ "BEFORE", KEY_BEFORE, ARG_DATE, 0, false, NULL },
	{ "BODY", KEY_BODY, ARG_TEXT, 0, false, NULL },
	{ "CC", KEY_HEADER, ARG_TEXT, 0, false, "Cc" },
	{ "DELETED", KEY_FLAG, ARG_NONE, FLAG_DELETED, false, NULL },
	{ "DRAFT", KEY_FLAG, ARG_NONE, FLAG_DRAFT, false, NULL },
	{ "FLAGGED", KEY_FLAG, ARG_NONE, FLAG_FLAGGED, false, NULL },
	{ "FROM", KEY_HEADER, ARG_TEXT, 0, false, "From" },
	{ "HEADER", KEY_HEADER, ARG_FIELD, 0, false, NULL },
	{ "KEYWORD", KEY_KEYWORD, ARG_KEYWORD, 0, false, NULL },
	{ "LARGER", KEY_LARGER, ARG_NUMBER, 0, false, NULL },
	{ "NOT", KEY_NOT, ARG_ONE, 0, false, NULL },
	{ "OLD", KEY_RECENT, ARG_NONE, 0, true, NULL },
	{ "ON", KEY_ON, ARG_DATE, 0, false, NULL },
	{ "OR", KEY_OR, ARG_TWO, 0, false, NULL },
	{ "RECENT", KEY_RECENT, ARG_NONE, 0, false, NULL },
	{ "SEEN", KEY_FLAG, ARG_NONE, FLAG_SEEN, false, NULL },
	{ "SENTBEFORE", KEY_SENTBEFORE, ARG_DATE, 0, false, NULL },
	{ "SENTON", KEY_SENTON, ARG_DATE, 0, false, NULL },
	{ "SENTSINCE", KEY_SENTSINCE, ARG_DATE, 0, false, NULL },
	{ "SINCE", KEY_SINCE, ARG_DATE, 0, false, NULL },
	{ "SMALLER", KEY_SMALLER, ARG_NUMBER, 0, false, NULL },
	{ "SUBJECT", KEY_HEADER, ARG_TEXT, 0, false, "Subject" },
	{ "TEXT", KEY_TEXT, ARG_TEXT, 0, false, NULL },
	{ "TO", KEY_HEADER, ARG_TEXT, 0, false, "To" },
	{ "UID", KEY_UID, ARG_UIDS, 0, false, NULL },
	{ "UNANSWERED", KEY_FLAG, ARG_NONE, FLAG_ANSWERED, true, NULL },
	{ "UNDELETED", KEY_FLAG, ARG_NONE, FLAG_DELETED, true, NULL },
	{ "UNDRAFT", KEY_FLAG, ARG_NONE, FLAG_DRAFT, true, NULL },
	{ "UNFLAGGED", KEY_FLAG, ARG_NONE, FLAG_FLAGGED, true, NULL },
	{ "UNKEYWORD", KEY_KEYWORD, ARG_KEYWORD, 0, true, NULL },
	{ "UNSEEN", KEY_FLAG, ARG_NONE, FLAG_SEEN, true, NULL },
};

static struct search_node *
node_new(struct imap_cur *c, enum search_key key, struct search_node *a,
    struct search_node *b)
{
	struct search_node *n = arena_alloc(c->arena, sizeof(*n));

	if (n != NULL) {
		n->key = key;
		n->a = a;
		n->b = b;
	}
	return n;
}

static enum parse
get_text(struct imap_cur *c, bool folded, const char **out)
{
	struct span text;
	char *copy, *kept;
	size_t len;
	enum parse rc;

	if ((rc = imap_get_char(c, ' ')) != PARSE_OK ||
	    (rc = imap_get_astring(c, &text)) != PARSE_OK)
		return rc;
	copy = folded ? text_fold(text) : span_dup(text);
	len = strlen(copy);
	if ((kept = arena_alloc(c->arena, len + 1)) != NULL)
		memcpy(kept, copy, len + 1);
	free(copy);
	*out = kept;
	return kept != NULL ? PARSE_OK : PARSE_BAD;
}

static enum parse get_key(struct imap_cur *, struct search_node **, int depth);

static enum parse
get_sub(struct imap_cur *c, struct search_node **out, int depth)
{
	enum parse rc = imap_get_char(c, ' ');

	return rc == PARSE_OK ? get_key(c, out, depth + 1) : rc;
}

static enum parse
get_args(struct imap_cur *c, const struct word *w, struct search_node *n, int depth)
{
	enum parse rc;

	switch (w->arg) {
	case ARG_NONE:
		return PARSE_OK;
	case ARG_TEXT:
		n->field = w->field;
		return get_text(c, true, &n->text);
	case ARG_FIELD:
		if ((rc = get_text(c, false, &n->field)) != PARSE_OK)
			return rc;
		return get_text(c, true, &n->text);
	case ARG_KEYWORD:
		return get_text(c, false, &n->text);
	case ARG_ONE:
		return get_sub(c, &n->a, depth);
	case ARG_TWO:
		if ((rc = get_sub(c, &n->a, depth)) != PARSE_OK)
			return rc;
		return get_sub(c, &n->b, depth);
	case ARG_DATE:
	case ARG_NUMBER:
	case ARG_UIDS:
		break;
	}
	if ((rc = imap_get_char(c, ' ')) != PARSE_OK)
		return rc;
	if (w->arg == ARG_DATE)
		return imap_get_date(c, &n->day);
	if (w->arg == ARG_NUMBER)
		return imap_get_number(c, UINT32_MAX, &n->number);
	return imap_get_set(c, &n->set);
}

static enum parse
get_word(struct imap_cur *c, struct search_node **out, int depth)
{
	const struct word *w = NULL;
	struct search_node *n;
	struct span name;
	enum parse rc;

	if ((rc = imap_get_atom(c, &name)) != PARSE_OK)
		return rc;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_is_nocase(name, words[i].name))
			w = &words[i];
	if (w == NULL && span_is_nocase(name, "NEW")) {	/* RECENT UNSEEN */
		struct search_node *seen = node_new(c, KEY_FLAG, NULL, NULL);

		if (seen == NULL)
			return PARSE_BAD;
		seen->flag = FLAG_SEEN;
		*out = node_new(c, KEY_AND, node_new(c, KEY_RECENT, NULL, NULL),
		    node_new(c, KEY_NOT, seen, NULL));
		return *out != NULL && (*out)->a != NULL && (*out)->b != NULL ? PARSE_OK
									       : PARSE_BAD;
	}
	if (w == NULL)
		return c->p == c->end ? PARSE_MORE : PARSE_BAD;
	if ((n = node_new(c, w->key, NULL, NULL)) == NULL)
		return PARSE_BAD;
	n->flag = w->flag;
	if ((rc = get_args(c, w, n, depth)) != PARSE_OK)
		return rc;
	*out = w->negated ? node_new(c, KEY_NOT, n, NULL) : n;
	return *out != NULL ? PARSE_OK : PARSE_BAD;
}

/* Keys with spaces between them, all of which must match.  A list that leans to the
 * left: evaluated in order, in a loop. */
static enum parse
get_keys(struct imap_cur *c, struct search_node **out, int depth)
{
	struct search_node *all, *next;
	enum parse rc;

	if ((rc = get_key(c, &all, depth)) != PARSE_OK)
		return rc;
	while (imap_at(c, ' ')) {
		c->p++;
		if ((rc = get_key(c, &next, depth)) != PARSE_OK)
			return rc;
		if ((all = node_new(c, KEY_AND, all, next)) == NULL)
			return PARSE_BAD;
	}
	*out = all;
	return PARSE_OK;
}

static enum parse
get_key(struct imap_cur *c, struct search_node **out, int depth)
{
	enum parse rc;

	if (depth > DEPTH_MAX)
		return PARSE_BAD;
	if (c->p == c->end)
		return PARSE_MORE;
	if (*c->p == '(') {
		c->p++;
		if ((rc = get_keys(c, out, depth + 1)) != PARSE_OK)
			return rc;
		return imap_get_char(c, ')');
	}
	if (*c->p == '*' || (*c->p >= '0' && *c->p <= '9')) {
		if ((*out = node_new(c, KEY_SEQ, NULL, NULL)) == NULL)
			return PARSE_BAD;
		return imap_get_set(c, &(*out)->set);
	}
	return get_word(c, out, depth);
}

enum search_rc
imap_get_search(struct imap_cur *c, struct search_node **out)
{
	struct imap_cur look = *c;
	struct span word;

	if (imap_get_atom(&look, &word) == PARSE_OK && span_is_nocase(word, "CHARSET")) {
		if (imap_get_char(&look, ' ') != PARSE_OK ||
		    imap_get_astring(&look, &word) != PARSE_OK ||
		    imap_get_char(&look, ' ') != PARSE_OK)
			return SEARCH_BAD;
		if (!span_is_nocase(word, "UTF-8") && !span_is_nocase(word, "US-ASCII"))
			return SEARCH_CHARSET;
		*c = look;
	}
	if (get_keys(c, out, 0) != PARSE_OK || imap_get_end(c) != PARSE_OK)
		return SEARCH_BAD;
	return SEARCH_OK;
}
