/* imap_list.c - LIST and LSUB, with CHILDREN (RFC 3348) and SPECIAL-USE (RFC 6154).
 *
 * The mailboxes of a user are collected first, in name order, then matched: whether
 * one has children is a question to its neighbours.  Patterns are matched as UTF-8
 * with work bounded by pattern times name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "mem.h"
#include "mutf7.h"

#define STARS_MAX 20		/* wildcards in one pattern */

struct entry {
	char *name;
	bool noselect, subscribed;
	char special[16];
};
struct boxes {
	struct entry *e;
	size_t n, cap;
};

static void
collect(const struct store_box *box, void *arg)
{
	struct boxes *b = arg;
	struct entry *e;

	if (b->n == b->cap) {
		b->cap = b->cap * 2 + 32;
		b->e = mem_grow(b->e, b->cap, sizeof(*b->e));
	}
	e = &b->e[b->n++];
	e->name = mem_dup(box->name);
	e->noselect = box->noselect;
	e->subscribed = box->subscribed;
	memcpy(e->special, box->special, sizeof(e->special));
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void
boxes_clear(struct boxes *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->e[i].name);
	free(b->e);
}

/* One row of reach[] per pattern byte: which lengths of the name match so far. */
static bool
matches(const char *pattern, const char *name)
{
	size_t len = strlen(name);
	bool reach[STORE_NAME_MAX + 2] = { true };

	if (len > STORE_NAME_MAX)
		return false;
	for (; *pattern != '\0'; pattern++) {
		if (*pattern == '*' || *pattern == '%') {
			for (size_t i = 1; i <= len; i++)
				reach[i] = reach[i] || (reach[i - 1] &&
				    (*pattern == '*' || name[i - 1] != '/'));
			continue;
		}
		for (size_t i = len; i > 0; i--)
			reach[i] = reach[i - 1] && name[i - 1] == *pattern;
		reach[0] = false;
	}
	return reach[len];
}

/* INBOX is the same in every case, so is the pattern for it. */
static bool
name_matches(const char *pattern, const char *name)
{
	char upper[STORE_NAME_MAX * 2 + 2];
	size_t i;

	if (matches(pattern, name))
		return true;
	if (strcmp(name, "INBOX") != 0)
		return false;
	for (i = 0; pattern[i] != '\0'; i++)
		upper[i] = pattern[i] >= 'a' && pattern[i] <= 'z'
		    ? (char)(pattern[i] - 'a' + 'A') : pattern[i];
	upper[i] = '\0';
	return matches(upper, name);
}

static bool
has_children(const struct boxes *b, size_t i)
{
	size_t len = strlen(b->e[i].name), lo = i + 1, hi = b->n;
	char prefix[STORE_NAME_MAX + 2];

	memcpy(prefix, b->e[i].name, len);
	memcpy(prefix + len, "/", 2);
	while (lo < hi) {		/* the first that is not below "name/" */
		size_t mid = (lo + hi) / 2;

		if (strcmp(b->e[mid].name, prefix) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < b->n && strncmp(b->e[lo].name, prefix, len + 1) == 0;
}

static void
put_entry(struct session *s, const char *verb, const char *name, const char *attributes)
{
	session_printf(s, "* %s (%s) \"/\" ", verb, attributes);
	imap_put_mailbox(s->out, name);
	imap_put(s->out, "\r\n");
}

static void
list_matching(struct session *s, const struct boxes *b, const char *pattern)
{
	char attributes[80];

	for (size_t i = 0; i < b->n; i++) {
		const struct entry *e = &b->e[i];

		if (!name_matches(pattern, e->name))
			continue;
		snprintf(attributes, sizeof(attributes), "%s%s%s%s",
		    e->noselect ? "\\Noselect " : "",
		    has_children(b, i) ? "\\HasChildren" : "\\HasNoChildren",
		    e->special[0] != '\0' ? " " : "", e->special);
		put_entry(s, "LIST", e->name, attributes);
	}
}

/* RFC 3501 6.3.9: a "%" that hides subscribed children shows their parent. */
static void
lsub_parents(struct session *s, const struct boxes *b, size_t i, const char *pattern,
    char *last)
{
	char parent[STORE_NAME_MAX + 1];
	size_t len = strlen(b->e[i].name);
	struct entry key = { .name = parent };

	memcpy(parent, b->e[i].name, len + 1);
	for (size_t at = 1; at < len; at++) {
		if (b->e[i].name[at] != '/')
			continue;
		parent[at] = '\0';
		if (name_matches(pattern, parent) && strcmp(parent, last) != 0 &&
		    bsearch(&key, b->e, b->n, sizeof(*b->e), by_name) == NULL) {
			put_entry(s, "LSUB", parent, "\\Noselect");
			memcpy(last, parent, at + 1);
		}
		parent[at] = '/';
	}
}

static void
lsub_matching(struct session *s, const struct boxes *b, const char *pattern)
{
	char last[STORE_NAME_MAX + 1] = "";

	for (size_t i = 0; i < b->n; i++) {
		if (name_matches(pattern, b->e[i].name))
			put_entry(s, "LSUB", b->e[i].name, "");
		else if (strchr(pattern, '%') != NULL)
			lsub_parents(s, b, i, pattern, last);
	}
}

static void
drop_unsubscribed(struct boxes *b)
{
	size_t to = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (b->e[i].subscribed)
			b->e[to++] = b->e[i];
		else
			free(b->e[i].name);
	}
	b->n = to;
}

/* Reference and pattern, decoded, put together; false: nothing can match. */
static bool
get_pattern(struct span reference, struct span wildcard, char *pattern, size_t size)
{
	char wire[STORE_NAME_MAX + 1];
	size_t stars = 0;

	if (reference.len + wildcard.len >= sizeof(wire))
		return false;
	if (wildcard.len > 0 && wildcard.p[0] == '/')	/* rooted: the reference is void */
		reference.len = 0;
	memcpy(wire, reference.p, reference.len);
	memcpy(wire + reference.len, wildcard.p, wildcard.len);
	if (mutf7_decode((struct span) { wire, reference.len + wildcard.len }, pattern,
	    size) == -1)
		return false;
	for (const char *p = pattern; *p != '\0'; p++)
		stars += *p == '*' || *p == '%';
	return stars <= STARS_MAX;
}

static void
list(struct session *s, struct imap_cur *c, bool subscribed)
{
	struct span reference, wildcard;
	char pattern[STORE_NAME_MAX + 1];
	struct boxes b = { 0 };
	enum mail_rc rc;

	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_astring(c, &reference) != PARSE_OK ||
	    imap_get_char(c, ' ') != PARSE_OK || imap_get_pattern(c, &wildcard) != PARSE_OK ||
	    imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "A reference and a pattern were expected");
		return;
	}
	if (wildcard.len == 0 && !subscribed) {
		imap_put(s->out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
	} else if (get_pattern(reference, wildcard, pattern, sizeof(pattern))) {
		rc = store_box_list(s->store, s->shard, s->user, subscribed, collect, &b);
		if (rc != MAIL_OK) {
			boxes_clear(&b);
			imap_no(s, rc, "NONEXISTENT");
			return;
		}
		if (subscribed)
			drop_unsubscribed(&b);
		if (b.n > 0)		/* by bytes, which is what has_children() needs */
			qsort(b.e, b.n, sizeof(*b.e), by_name);
		(subscribed ? lsub_matching : list_matching)(s, &b, pattern);
		boxes_clear(&b);
	}
	imap_finish(s, "OK %s completed", s->imap->cmd->name);
}

void
imap_cmd_list(struct session *s, struct imap_cur *c)
{
	list(s, c, false);
}

void
imap_cmd_lsub(struct session *s, struct imap_cur *c)
{
	list(s, c, true);
}
