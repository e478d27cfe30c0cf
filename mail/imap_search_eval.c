/* imap_search_eval.c - does this message match?
 *
 * Pure, three-valued: a key that needs more than is known says UNKNOWN, and AND and OR
 * use what the other side says.  So most messages are decided by their flags and dates,
 * and only the rest are opened.  Days: INTERNALDATE in UTC (as FETCH shows it), sent
 * dates as the Date field writes them (RFC 3501 6.4.4: "disregarding time and timezone"). */
#include <stdlib.h>
#include <string.h>

#include "imap_search.h"
#include "mime_text.h"

static enum search_answer
yes(bool b)
{
	return b ? ANSWER_YES : ANSWER_NO;
}

static bool
in_set(const struct view_set *set, size_t index)
{
	for (size_t i = 0; i < set->n; i++)
		if (index >= set->r[i].first && index <= set->r[i].last)
			return true;
	return false;
}

static bool
has_keyword(const char *list, const char *word)
{
	struct span rest = span_of(list), k;

	while (span_cut(&rest, ' ', &k))
		if (span_is_nocase(k, word))
			return true;
	return false;
}

static int64_t
day_of(int64_t seconds)
{
	return seconds >= 0 ? seconds / 86400 : -((-seconds + 86399) / 86400);
}

bool
imap_search_sent_day(struct span value, int64_t *day)
{
	struct span word[3];
	uint64_t d, y;
	int month;
	size_t n = 0;
	const char *comma = memchr(value.p, ',', value.len);

	if (comma != NULL) {			/* "Fri, " */
		value.len -= (size_t)(comma + 1 - value.p);
		value.p = comma + 1;
	}
	for (; value.len > 0 && n < 3;) {
		struct span w = { value.p, 0 };

		while (w.len < value.len && w.p[w.len] > ' ')
			w.len++;
		if (w.len > 0)
			word[n++] = w;
		else
			w.len = 1;
		value.p += w.len;
		value.len -= w.len;
	}
	if (n < 3 || span_u64(word[0], 31, &d) != PARSE_OK || d == 0 ||
	    (month = imap_month(word[1])) == 0 || span_u64(word[2], 9999, &y) != PARSE_OK)
		return false;
	if (y < 100)				/* RFC 5322 4.3 */
		y += y < 50 ? 2000 : 1900;
	else if (y < 1000)
		y += 1900;
	*day = imap_days((int)y, month, (int)d);
	return true;
}

static enum search_answer
sent(const struct search_node *n, const struct search_msg *m)
{
	struct span value;
	int64_t day;

	if (!mime_field_find(m->head, "Date", &value) || !imap_search_sent_day(value, &day))
		return ANSWER_NO;
	if (n->key == KEY_SENTBEFORE)
		return yes(day < n->day);
	return yes(n->key == KEY_SENTON ? day == n->day : day >= n->day);
}

static bool
match_value(struct text_match *match, struct span value)
{
	char *text = text_header(value);

	text_match_add(match, span_of(text));
	free(text);
	return text_match_end(match);
}

static enum search_answer
header(const struct search_node *n, const struct search_msg *m)
{
	struct text_match match;
	struct mime_field f;
	bool found = false;

	text_match_init(&match, n->text);
	for (size_t pos = 0; !found && mime_field_next(m->head, &pos, &f);)
		if (span_is_nocase(f.name, n->field))
			found = n->text[0] == '\0' || match_value(&match, f.value);
	text_match_clear(&match);
	return yes(found);
}

static bool
match_head(struct text_match *match, struct span head)
{
	struct mime_field f;

	for (size_t pos = 0; mime_field_next(head, &pos, &f);) {
		text_match_add(match, f.name);
		text_match_add(match, SPAN(": "));
		if (match_value(match, f.value))
			return true;
	}
	return false;
}

static bool
readable(const struct mime_part *p)
{
	struct mime_type t;

	if (p->kind != MIME_LEAF)
		return false;
	mime_part_type(p, &t);
	return span_is_nocase(t.type, "text") || span_is_nocase(t.type, "message");
}

/* TEXT: header and body; BODY: without the header of the message itself. */
static enum search_answer
everywhere(const struct search_node *n, const struct search_msg *m)
{
	struct text_match match;
	bool found = n->text[0] == '\0';

	text_match_init(&match, n->text);
	for (size_t i = 0; !found && i < m->mime->n; i++) {
		const struct mime_part *p = &m->mime->part[i];

		if (i > 0 || n->key == KEY_TEXT)
			found = match_head(&match, p->head);
		if (!found && readable(p)) {
			text_body(p, &match);
			found = text_match_end(&match);
		}
	}
	text_match_clear(&match);
	return yes(found);
}

static enum search_answer
by_view(const struct search_node *n, const struct search_msg *m)
{
	switch (n->key) {
	case KEY_SEQ:
	case KEY_UID:
		return yes(in_set(&n->found, m->index));
	case KEY_FLAG:
		return yes((m->view->flags & n->flag) != 0);
	case KEY_RECENT:
		return yes((m->view->state & VIEW_RECENT) != 0);
	default:
		return ANSWER_YES;		/* ALL */
	}
}

static enum search_answer
by_index(const struct search_node *n, const struct search_msg *m)
{
	int64_t day = day_of(m->msg->internal_s);

	switch (n->key) {
	case KEY_KEYWORD:
		return yes(m->msg->keywords != NULL && has_keyword(m->msg->keywords, n->text));
	case KEY_BEFORE:
		return yes(day < n->day);
	case KEY_ON:
		return yes(day == n->day);
	case KEY_SINCE:
		return yes(day >= n->day);
	case KEY_LARGER:
		return yes(m->msg->size > n->number);
	default:
		return yes(m->msg->size < n->number);
	}
}

static enum search_answer
leaf(const struct search_node *n, const struct search_msg *m, enum search_level level)
{
	if (n->key < KEY_KEYWORD)
		return by_view(n, m);
	if (n->key < KEY_SENTBEFORE)
		return level >= LEVEL_INDEX ? by_index(n, m) : ANSWER_UNKNOWN;
	if (n->key < KEY_HEADER)
		return level >= LEVEL_HEAD ? sent(n, m) : ANSWER_UNKNOWN;
	if (n->key == KEY_HEADER)
		return level >= LEVEL_HEAD ? header(n, m) : ANSWER_UNKNOWN;
	return level >= LEVEL_BODY ? everywhere(n, m) : ANSWER_UNKNOWN;
}

/* AND lists lean to the left, so the right side is asked in a loop and the recursion
 * goes no deeper than the parser let the keys be nested. */
static enum search_answer
all_of(const struct search_node *n, const struct search_msg *m, enum search_level level)
{
	enum search_answer answer = ANSWER_YES, one;

	for (;; n = n->a) {
		one = imap_search_eval(n->key == KEY_AND ? n->b : n, m, level);
		if (one == ANSWER_NO)
			return ANSWER_NO;
		if (one == ANSWER_UNKNOWN)
			answer = ANSWER_UNKNOWN;
		if (n->key != KEY_AND)
			return answer;
	}
}

enum search_answer
imap_search_eval(const struct search_node *n, const struct search_msg *m,
    enum search_level level)
{
	enum search_answer a, b;

	switch (n->key) {
	case KEY_AND:
		return all_of(n, m, level);
	case KEY_NOT:
		a = imap_search_eval(n->a, m, level);
		return a == ANSWER_UNKNOWN ? a : yes(a == ANSWER_NO);
	case KEY_OR:
		if ((a = imap_search_eval(n->a, m, level)) == ANSWER_YES)
			return a;
		b = imap_search_eval(n->b, m, level);
		if (b == ANSWER_YES || a == ANSWER_NO)
			return b;
		return ANSWER_UNKNOWN;
	default:
		return leaf(n, m, level);
	}
}
