/* imap_body.c - what a client is told about a message's header and structure.
 *
 * Reads only the message and its mime structure, writes only into an evbuffer.  Broken
 * mail gives something that the grammar of RFC 3501 allows, always: missing fields
 * are NIL, unknown encodings go out as they are, addresses are bounded. */
#include <stdlib.h>
#include <string.h>

#include "envelope.h"
#include "imap.h"
#include "imap_body.h"

#define ADDRESSES_MAX 5000	/* of one field of one message */

static void
put_text(struct evbuffer *out, struct span value, bool there)
{
	char *text;
	size_t len;

	if (!there) {
		imap_put(out, "NIL");
		return;
	}
	text = header_text(value, &len);
	imap_put_string(out, (struct span) { text, len });
	free(text);
}

static void
put_field(struct evbuffer *out, struct span head, const char *name)
{
	struct span value = { 0 };
	bool there = mime_field_find(head, name, &value);

	put_text(out, value, there);
}

static void
put_cstring(struct evbuffer *out, const char *s)
{
	imap_put_nstring(out, (struct span) { s, s != NULL ? strlen(s) : 0 });
}

static void
put_address(struct evbuffer *out, const struct address *a)
{
	imap_put(out, "(");
	put_cstring(out, a->name);
	imap_put(out, " ");
	put_cstring(out, a->route);
	imap_put(out, " ");
	put_cstring(out, a->mailbox);
	imap_put(out, " ");
	put_cstring(out, a->host);
	imap_put(out, ")");
}

/* All fields of the name, as one list; false when there is no address in them. */
static bool
put_addresses(struct evbuffer *out, struct span head, const char *name)
{
	struct address_parser p;
	struct mime_field f;
	struct address a;
	size_t n = 0;

	for (size_t pos = 0; mime_field_next(head, &pos, &f);) {
		if (!span_is_nocase(f.name, name))
			continue;
		address_init(&p, f.value);
		while (n < ADDRESSES_MAX && address_next(&p, &a)) {
			if (n++ == 0)
				imap_put(out, "(");
			put_address(out, &a);
		}
		address_clear(&p);
	}
	if (n > 0)
		imap_put(out, ")");
	return n > 0;
}

void
imap_put_envelope(struct evbuffer *out, struct span head)
{
	static const struct {
		const char *name, *otherwise;
	} lists[] = {
		{ "From", NULL }, { "Sender", "From" }, { "Reply-To", "From" },
		{ "To", NULL }, { "Cc", NULL }, { "Bcc", NULL },
	};

	imap_put(out, "(");
	put_field(out, head, "Date");
	imap_put(out, " ");
	put_field(out, head, "Subject");
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		imap_put(out, " ");
		if (!put_addresses(out, head, lists[i].name) &&
		    (lists[i].otherwise == NULL ||
		    !put_addresses(out, head, lists[i].otherwise)))
			imap_put(out, "NIL");
	}
	imap_put(out, " ");
	put_field(out, head, "In-Reply-To");
	imap_put(out, " ");
	put_field(out, head, "Message-ID");
	imap_put(out, ")");
}

static void
put_params(struct evbuffer *out, const struct mime_type *t)
{
	if (t->n == 0) {
		imap_put(out, "NIL");
		return;
	}
	for (size_t i = 0; i < t->n; i++) {
		imap_put(out, i == 0 ? "(" : " ");
		imap_put_string(out, t->param[i].name);
		imap_put(out, " ");
		imap_put_string(out, t->param[i].value);
	}
	imap_put(out, ")");
}

static void
put_disposition(struct evbuffer *out, struct span head)
{
	struct mime_type d;
	struct span value;

	if (!mime_field_find(head, "Content-Disposition", &value) ||
	    !mime_type_parse(value, &d)) {
		imap_put(out, "NIL");
		return;
	}
	imap_put(out, "(");
	imap_put_string(out, d.type);
	imap_put(out, " ");
	put_params(out, &d);
	imap_put(out, ")");
}

/* body-fld-lang: one word, or a list of them */
static void
put_language(struct evbuffer *out, struct span head)
{
	struct span value, word;
	char *text;
	size_t len, n = 0;

	if (!mime_field_find(head, "Content-Language", &value)) {
		imap_put(out, "NIL");
		return;
	}
	text = header_text(value, &len);
	value = (struct span) { text, len };
	while (n < 50 && span_cut(&value, ',', &word)) {
		word = span_trim(word);
		if (word.len == 0)
			continue;
		imap_put(out, n++ == 0 ? "(" : " ");
		imap_put_string(out, word);
	}
	imap_put(out, n > 0 ? ")" : "NIL");
	free(text);
}

static void
put_extension(struct evbuffer *out, struct span head)
{
	imap_put(out, " ");
	put_disposition(out, head);
	imap_put(out, " ");
	put_language(out, head);
	imap_put(out, " ");
	put_field(out, head, "Content-Location");
}

static void
put_encoding(struct evbuffer *out, struct span head)
{
	struct mime_type t;
	struct span value;

	if (mime_field_find(head, "Content-Transfer-Encoding", &value) &&
	    mime_type_parse(value, &t))
		imap_put_string(out, t.type);
	else
		imap_put(out, "\"7bit\"");
}

static void put_part(struct evbuffer *, const struct mime *, int, bool);

static void
put_leaf(struct evbuffer *out, const struct mime *m, int index, bool extended)
{
	const struct mime_part *p = &m->part[index];
	struct mime_type t;
	bool text;

	mime_part_type(p, &t);
	text = span_is_nocase(t.type, "text");
	if (text && !mime_type_param(&t, "charset", &(struct span) { 0 }) &&
	    t.n < MIME_PARAMS_MAX)
		t.param[t.n++] = (struct mime_param) { SPAN("charset"), SPAN("us-ascii") };
	imap_put_string(out, t.type);
	imap_put(out, " ");
	imap_put_string(out, t.subtype);
	imap_put(out, " ");
	put_params(out, &t);
	imap_put(out, " ");
	put_field(out, p->head, "Content-ID");
	imap_put(out, " ");
	put_field(out, p->head, "Content-Description");
	imap_put(out, " ");
	put_encoding(out, p->head);
	evbuffer_add_printf(out, " %zu", p->body.len);
	if (p->kind == MIME_MESSAGE) {
		imap_put(out, " ");
		imap_put_envelope(out, m->part[p->child].head);
		imap_put(out, " ");
		put_part(out, m, p->child, extended);
	}
	if (text || p->kind == MIME_MESSAGE)
		evbuffer_add_printf(out, " %u", mime_lines(p->body));
	if (extended) {
		imap_put(out, " ");
		put_field(out, p->head, "Content-MD5");
		put_extension(out, p->head);
	}
}

static void
put_multipart(struct evbuffer *out, const struct mime *m, int index, bool extended)
{
	const struct mime_part *p = &m->part[index];
	struct mime_type t;

	for (int c = p->child; c >= 0; c = m->part[c].next)
		put_part(out, m, c, extended);
	mime_part_type(p, &t);
	imap_put(out, " ");
	imap_put_string(out, t.subtype);
	if (extended) {
		imap_put(out, " ");
		put_params(out, &t);
		put_extension(out, p->head);
	}
}

/* Recursion is bounded by MIME_DEPTH_MAX. */
static void
put_part(struct evbuffer *out, const struct mime *m, int index, bool extended)
{
	imap_put(out, "(");
	if (m->part[index].kind == MIME_MULTIPART)
		put_multipart(out, m, index, extended);
	else
		put_leaf(out, m, index, extended);
	imap_put(out, ")");
}

void
imap_put_body(struct evbuffer *out, const struct mime *m, bool extended)
{
	put_part(out, m, 0, extended);
}

bool
imap_section_needs_mime(const struct imap_section *s)
{
	return s->parts > 0;
}

/* RFC 3501 6.4.5: numbers go through multiparts and into messages; what is no
 * multipart has one part, number 1, which is itself. */
static int
find_part(const struct imap_section *s, const struct mime *m)
{
	int at = 0;
	bool message = true;		/* "at" stands for a whole message */

	for (unsigned i = 0; i < s->parts; i++) {
		if (!message && m->part[at].kind == MIME_MESSAGE) {
			at = m->part[at].child;
			message = true;
		}
		if (m->part[at].kind == MIME_MULTIPART)
			at = mime_child(m, at, s->part[i]);
		else if (!message || s->part[i] != 1)
			return -1;
		if (at < 0)
			return -1;
		message = false;
	}
	return at;
}

static bool
wanted(const struct imap_section *s, struct span name)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (span_iequal(s->fields[i], name))
			return s->kind == SECTION_FIELDS;
	return s->kind == SECTION_FIELDS_NOT;
}

static struct span
pick_fields(const struct imap_section *s, struct span head, struct evbuffer *out)
{
	struct mime_field f;

	for (size_t pos = 0; mime_field_next(head, &pos, &f);) {
		if (!wanted(s, f.name))
			continue;
		evbuffer_add(out, f.text.p, f.text.len);
		if (f.text.p[f.text.len - 1] != '\n')
			imap_put(out, "\r\n");
	}
	imap_put(out, "\r\n");
	return (struct span) { (const char *)evbuffer_pullup(out, -1),
		evbuffer_get_length(out) };
}

static struct span
message_bytes(const struct imap_section *s, struct span head, struct span body,
    struct evbuffer *fields)
{
	switch (s->kind) {
	case SECTION_HEADER:
		return head;
	case SECTION_TEXT:
		return body;
	case SECTION_FIELDS:
	case SECTION_FIELDS_NOT:
		return pick_fields(s, head, fields);
	case SECTION_ALL:
	case SECTION_MIME:
		break;
	}
	return (struct span) { NULL, 0 };
}

struct span
imap_section_bytes(const struct imap_section *s, struct span message,
    const struct mime *m, struct evbuffer *fields)
{
	struct span head;
	int at;

	if (s->parts == 0) {
		if (s->kind == SECTION_ALL)
			return message;
		head = mime_head_of(message);
		return message_bytes(s, head, (struct span) { message.p + head.len,
			message.len - head.len }, fields);
	}
	if ((at = find_part(s, m)) < 0)
		return (struct span) { NULL, 0 };
	if (s->kind == SECTION_ALL)
		return m->part[at].body;
	if (s->kind == SECTION_MIME)
		return m->part[at].head;
	if (m->part[at].kind != MIME_MESSAGE)
		return (struct span) { NULL, 0 };
	at = m->part[at].child;
	return message_bytes(s, m->part[at].head, m->part[at].body, fields);
}
