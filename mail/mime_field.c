/* mime_field.c - header fields, and the values that are "word; name=value".
 *
 * Pure and lenient: a line without a colon is passed over, a continuation belongs to
 * the field above it, comments and odd spaces are skipped, a quoted string without
 * its end goes to the end.  Values keep their folds until somebody needs the text. */
#include <string.h>

#include "mime.h"

/* The end of the line that begins at pos, behind its LF. */
static size_t
line_after(struct span in, size_t pos)
{
	const char *lf = memchr(in.p + pos, '\n', in.len - pos);

	return lf != NULL ? (size_t)(lf - in.p) + 1 : in.len;
}

static struct span
chop(struct span s)
{
	if (s.len > 0 && s.p[s.len - 1] == '\n')
		s.len--;
	if (s.len > 0 && s.p[s.len - 1] == '\r')
		s.len--;
	return s;
}

bool
mime_field_next(struct span head, size_t *pos, struct mime_field *f)
{
	size_t start, end;
	struct span line;
	const char *colon;

	while (*pos < head.len) {
		start = *pos;
		end = line_after(head, start);
		if (chop((struct span) { head.p + start, end - start }).len == 0) {
			*pos = head.len;
			return false;
		}
		while (end < head.len && (head.p[end] == ' ' || head.p[end] == '\t'))
			end = line_after(head, end);
		*pos = end;
		f->text = (struct span) { head.p + start, end - start };
		line = chop(f->text);
		colon = memchr(line.p, ':', line.len);
		if (colon == NULL)
			continue;
		f->name = span_trim((struct span) { line.p, (size_t)(colon - line.p) });
		f->value = (struct span) { colon + 1,
			(size_t)(line.p + line.len - colon - 1) };
		if (f->name.len > 0)
			return true;
	}
	return false;
}

bool
mime_field_find(struct span head, const char *name, struct span *value)
{
	struct mime_field f;

	for (size_t pos = 0; mime_field_next(head, &pos, &f);)
		if (span_is_nocase(f.name, name)) {
			*value = f.value;
			return true;
		}
	return false;
}

struct span
mime_head_of(struct span message)
{
	size_t pos = 0, end;

	while (pos < message.len) {
		end = line_after(message, pos);
		if (chop((struct span) { message.p + pos, end - pos }).len == 0 &&
		    message.p[end - 1] == '\n')
			return (struct span) { message.p, end };
		pos = end;
	}
	return message;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* White space and (nested) comments. */
static void
skip_cfws(struct span *in)
{
	int depth = 0;

	for (; in->len > 0; in->p++, in->len--) {
		if (depth > 0 && *in->p == '\\' && in->len > 1) {
			in->p++;
			in->len--;
		} else if (*in->p == '(') {
			depth++;
		} else if (depth > 0 && *in->p == ')') {
			depth--;
		} else if (depth == 0 && !is_space(*in->p)) {
			return;
		}
	}
}

static struct span
take_token(struct span *in, const char *stop)
{
	struct span out = { in->p, 0 };

	while (in->len > 0 && !is_space(*in->p) && *in->p != '\0' &&
	    strchr(stop, *in->p) == NULL) {
		in->p++;
		in->len--;
		out.len++;
	}
	return out;
}

/* Copies the text of a quoted string, without quotes, escapes and line ends. */
static bool
take_quoted(struct span *in, struct mime_type *t, struct span *out)
{
	size_t start = t->used;
	bool fits = true;

	for (in->p++, in->len--; in->len > 0 && *in->p != '"'; in->p++, in->len--) {
		if (*in->p == '\\' && in->len > 1) {
			in->p++;
			in->len--;
		}
		if (*in->p == '\r' || *in->p == '\n' || *in->p == '\0')
			continue;
		if (t->used == sizeof(t->buf))
			fits = false;
		else
			t->buf[t->used++] = *in->p;
	}
	if (in->len > 0) {
		in->p++;
		in->len--;
	}
	*out = (struct span) { t->buf + start, t->used - start };
	return fits;
}

static void
take_param(struct span *in, struct mime_type *t)
{
	struct mime_param *p = &t->param[t->n];
	bool fits = true;

	skip_cfws(in);
	p->name = take_token(in, "=;(\"");
	skip_cfws(in);
	if (in->len == 0 || *in->p != '=')
		return;
	in->p++;
	in->len--;
	skip_cfws(in);
	if (in->len > 0 && *in->p == '"')
		fits = take_quoted(in, t, &p->value);
	else
		p->value = take_token(in, ";(");
	if (fits && p->name.len > 0)
		t->n++;
}

bool
mime_type_parse(struct span in, struct mime_type *t)
{
	t->n = t->used = 0;
	t->subtype = (struct span) { NULL, 0 };
	skip_cfws(&in);
	t->type = take_token(&in, "/;(\"=");
	skip_cfws(&in);
	if (in.len > 0 && *in.p == '/') {
		in.p++;
		in.len--;
		skip_cfws(&in);
		t->subtype = take_token(&in, ";(\"=");
	}
	while (in.len > 0 && t->n < MIME_PARAMS_MAX) {
		while (in.len > 0 && *in.p != ';') {	/* to the next parameter */
			in.p++;
			in.len--;
		}
		if (in.len == 0)
			break;
		in.p++;
		in.len--;
		take_param(&in, t);
	}
	return t->type.len > 0;
}

bool
mime_type_param(const struct mime_type *t, const char *name, struct span *value)
{
	for (size_t i = 0; i < t->n; i++)
		if (span_is_nocase(t->param[i].name, name)) {
			*value = t->param[i].value;
			return true;
		}
	return false;
}

static void
set_type(struct mime_type *t, struct span type, struct span subtype)
{
	t->type = type;
	t->subtype = subtype;
	t->n = 0;
}

void
mime_part_type(const struct mime_part *p, struct mime_type *t)
{
	struct span value;

	if (mime_field_find(p->head, "Content-Type", &value)) {
		/* a type that makes no sense is plain text: RFC 2045 5.2 */
		if (!mime_type_parse(value, t) || t->subtype.len == 0)
			set_type(t, SPAN("text"), SPAN("plain"));
	} else if (p->digest_child && p->kind != MIME_MULTIPART) {
		set_type(t, SPAN("message"), SPAN("rfc822"));
	} else {
		set_type(t, SPAN("text"), SPAN("plain"));
	}
	if (!p->cut)
		return;
	if (span_is_nocase(t->type, "message"))
		set_type(t, SPAN("application"), SPAN("octet-stream"));
	else
		set_type(t, SPAN("text"), SPAN("plain"));
}
