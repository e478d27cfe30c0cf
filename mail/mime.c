/* mime.c - where the parts of a message begin and end.
 *
 * One pass over the lines with a stack of open boundaries.  A line that begins with
 * "--" is compared with all of them, innermost first: exactly, then by prefix (RFC
 * 2046 5.1.1), so that an outer boundary ends an inner multipart that was never
 * closed.  A multipart in which no part is found is a leaf of text.  Offsets only;
 * depth and parts are bounded, and so is the work: lines times depth.
 * Headers are in mime_field.c. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "mime.h"

#define BOUNDARY_MAX 256

struct level {			/* an open multipart */
	int part;
	int last_child;
	size_t len;
	char boundary[BOUNDARY_MAX];
};

struct scan {
	struct mime *m;
	struct span text;
	size_t pos;
	int cur;		/* the part whose header or body the line belongs to */
	bool in_head;
	struct level *level;	/* MIME_DEPTH_MAX of them */
	int levels;
};

static struct mime_part *
add_part(struct scan *s, int parent, uint16_t depth)
{
	struct mime *m = s->m;
	struct mime_part *p;

	if (m->n == m->cap) {
		m->cap = m->cap * 2 + 4;
		m->part = mem_grow(m->part, m->cap, sizeof(*m->part));
	}
	p = &m->part[m->n++];
	*p = (struct mime_part) { .parent = parent, .child = -1, .next = -1,
		.depth = depth, .head = { s->text.p + s->pos, 0 } };
	s->cur = (int)(p - m->part);
	s->in_head = true;
	return p;
}

/* Everything up to "end" belongs to the part; its enclosing parts stay open. */
static void
end_part(struct scan *s, int index, const char *end)
{
	struct mime_part *p = &s->m->part[index];

	if (p->body.p == NULL) {		/* ended inside its header */
		if (end < p->head.p)
			end = p->head.p;
		p->head.len = (size_t)(end - p->head.p);
		p->body = (struct span) { end, 0 };
		return;
	}
	p->body.len = end > p->body.p ? (size_t)(end - p->body.p) : 0;
}

/* Ends the current part and its parents up to, but without, "keep". */
static void
end_up_to(struct scan *s, int keep, const char *end)
{
	while (s->cur != keep) {
		end_part(s, s->cur, end);
		s->cur = s->m->part[s->cur].parent;
	}
}

static void
open_multipart(struct scan *s, struct mime_part *p, const struct mime_type *t)
{
	struct level *l = &s->level[s->levels];
	struct span b;

	if (!mime_type_param(t, "boundary", &b) || b.len == 0 ||
	    b.len >= BOUNDARY_MAX || s->levels == MIME_DEPTH_MAX ||
	    p->depth >= MIME_DEPTH_MAX) {
		p->kind = MIME_LEAF;
		p->cut = true;
		return;
	}
	while (b.len > 0 && (b.p[b.len - 1] == ' ' || b.p[b.len - 1] == '\t'))
		b.len--;
	p->kind = MIME_MULTIPART;
	l->part = s->cur;
	l->last_child = -1;
	l->len = b.len;
	memcpy(l->boundary, b.p, b.len);
	s->levels++;
}

/* The header of the current part is complete: what is its body? */
static void
begin_body(struct scan *s, size_t head_end, size_t body_start)
{
	struct mime_part *p = &s->m->part[s->cur];
	struct mime_type t;
	int self = s->cur;

	p->head.len = (size_t)(s->text.p + head_end - p->head.p);
	p->body = (struct span) { s->text.p + body_start, 0 };
	s->in_head = false;
	mime_part_type(p, &t);
	if (span_is_nocase(t.type, "multipart")) {
		open_multipart(s, p, &t);
	} else if (span_is_nocase(t.type, "message") && (
	    span_is_nocase(t.subtype, "rfc822") || span_is_nocase(t.subtype, "global"))) {
		if (p->depth >= MIME_DEPTH_MAX || s->m->n >= MIME_PARTS_MAX) {
			p->cut = true;
			return;
		}
		p->kind = MIME_MESSAGE;
		p->child = (int)s->m->n;
		s->pos = body_start;
		add_part(s, self, (uint16_t)(p->depth + 1));
	}
}

/* Does the line match level i?  *closes: with the final "--". */
static bool
matches(const struct level *l, struct span line, bool exact, bool *closes)
{
	struct span rest;

	if (line.len < l->len || memcmp(line.p, l->boundary, l->len) != 0)
		return false;
	rest = (struct span) { line.p + l->len, line.len - l->len };
	*closes = rest.len >= 2 && rest.p[0] == '-' && rest.p[1] == '-';
	if (!exact)
		return true;
	if (*closes) {
		rest.p += 2;
		rest.len -= 2;
	}
	return span_trim(rest).len == 0;
}

static int
find_level(const struct scan *s, struct span line, bool *closes)
{
	for (int exact = 1; exact >= 0; exact--)
		for (int i = s->levels - 1; i >= 0; i--)
			if (matches(&s->level[i], line, exact, closes))
				return i;
	return -1;
}

/* line: behind the two dashes; start: of the line; next: of the one behind it. */
static bool
boundary_line(struct scan *s, struct span line, size_t start, size_t next)
{
	struct mime_part *p;
	struct level *l;
	const char *end = s->text.p + start;
	bool closes;
	int i = find_level(s, line, &closes), child;

	if (i < 0 || (!closes && s->m->n >= MIME_PARTS_MAX))
		return false;
	l = &s->level[i];
	/* the line end in front of a boundary belongs to the boundary */
	if (end > s->text.p && end[-1] == '\n')
		end--;
	if (end > s->text.p && end[-1] == '\r')
		end--;
	end_up_to(s, l->part, end);
	s->levels = i + 1;
	s->pos = next;
	s->in_head = false;
	if (closes) {
		s->levels = i;		/* what follows is its epilogue */
		return true;
	}
	child = (int)s->m->n;
	p = add_part(s, l->part, (uint16_t)(s->m->part[l->part].depth + 1));
	p->digest_child = s->m->part[l->part].digest_child;
	if (l->last_child < 0)
		s->m->part[l->part].child = child;
	else
		s->m->part[l->last_child].next = child;
	l->last_child = child;
	return true;
}

static void
scan_line(struct scan *s)
{
	const char *p = s->text.p + s->pos, *end = s->text.p + s->text.len;
	const char *lf = memchr(p, '\n', (size_t)(end - p));
	size_t start = s->pos, next = lf != NULL ? (size_t)(lf - s->text.p) + 1 : s->text.len;
	struct span line = { p, next - start };

	if (line.len > 0 && line.p[line.len - 1] == '\n')
		line.len--;
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	s->pos = next;
	if (s->levels > 0 && line.len >= 2 && p[0] == '-' && p[1] == '-' &&
	    boundary_line(s, (struct span) { p + 2, line.len - 2 }, start, next))
		return;
	if (s->in_head && line.len == 0 && lf != NULL)
		begin_body(s, next, next);
}

/* multipart/digest: known only by its type, needed by its children */
static void
mark_digest(struct scan *s)
{
	struct mime_part *p = &s->m->part[s->cur];
	struct mime_type t;

	mime_part_type(p, &t);
	p->digest_child = span_is_nocase(t.subtype, "digest");
}

/* Multiparts without a part become leaves.  Children come behind their parents. */
static void
settle(struct mime *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->part[i].kind == MIME_MULTIPART && m->part[i].child < 0) {
			m->part[i].kind = MIME_LEAF;
			m->part[i].cut = true;
		}
}

void
mime_parse(struct mime *m, struct span message)
{
	struct scan s = { .m = m, .text = message };
	int levels;

	*m = (struct mime) { 0 };
	if (message.p == NULL)
		s.text = message = SPAN("");
	s.level = mem_array(MIME_DEPTH_MAX, sizeof(*s.level));
	add_part(&s, -1, 0);
	while (s.pos < message.len) {
		levels = s.levels;
		/* inside a leaf without any open boundary nothing can begin */
		if (!s.in_head && s.levels == 0)
			break;
		scan_line(&s);
		if (s.levels > levels && !s.in_head)
			mark_digest(&s);
	}
	end_up_to(&s, -1, message.p + message.len);
	settle(m);
	free(s.level);
}

void
mime_clear(struct mime *m)
{
	free(m->part);
	*m = (struct mime) { 0 };
}

uint32_t
mime_lines(struct span body)
{
	const char *p = body.p, *end = body.p + body.len;
	uint32_t n = 0;

	while (p != end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		n++;
		p++;
	}
	return n;
}

int
mime_child(const struct mime *m, int part, uint32_t n)
{
	int c;

	if (part < 0 || n == 0)
		return -1;
	for (c = m->part[part].child; c >= 0 && n > 1; n--)
		c = m->part[c].next;
	return c;
}
