/* smtp_reply.c - reads reply lines and, as every line could be one, the keywords of
 * EHLO.  Foreign text is kept as printable ASCII, so that it may stand in log lines,
 * reports and status. */
#include <stdio.h>
#include <string.h>

#include "smtp_reply.h"

void
smtp_reply_init(struct smtp_reply *r)
{
	memset(r, 0, sizeof(*r));
}

static void
text_add(struct smtp_reply *r, struct span text)
{
	size_t n = strlen(r->text);

	if (n > 0 && n < SMTP_REPLY_TEXT)
		r->text[n++] = ' ';
	for (size_t i = 0; i < text.len && n < SMTP_REPLY_TEXT; i++)
		r->text[n++] = text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?';
	r->text[n] = '\0';
}

static void
keyword(struct smtp_reply *r, struct span line)
{
	struct span word, value;

	span_cut(&line, ' ', &word);
	if (span_is_nocase(word, "STARTTLS"))
		r->starttls = true;
	else if (span_is_nocase(word, "PIPELINING"))
		r->pipelining = true;
	else if (span_is_nocase(word, "8BITMIME"))
		r->eight_bit = true;
	else if (span_is_nocase(word, "SIZE")) {
		r->size = true;
		if (span_u64(span_trim(line), INT64_MAX, &r->size_max) != PARSE_OK)
			r->size_max = 0;
	} else if (span_is_nocase(word, "AUTH"))
		while (span_cut(&line, ' ', &value)) {
			r->auth_plain = r->auth_plain || span_is_nocase(value, "PLAIN");
			r->auth_login = r->auth_login || span_is_nocase(value, "LOGIN");
		}
}

enum parse
smtp_reply_line(struct smtp_reply *r, struct span line)
{
	uint64_t code;
	bool last;

	if (line.len < 3 || span_u64((struct span){ line.p, 3 }, 599, &code) != PARSE_OK
	    || code < 200 || (line.len > 3 && line.p[3] != ' ' && line.p[3] != '-')
	    || ++r->lines > SMTP_REPLY_LINES || (r->lines > 1 && (int)code != r->code))
		return PARSE_BAD;
	last = line.len == 3 || line.p[3] == ' ';
	if (r->lines == 1)
		text_add(r, (struct span){ line.p, 3 });
	r->code = (int)code;
	if (line.len > 4) {
		struct span rest = { line.p + 4, line.len - 4 };

		text_add(r, rest);
		if (r->lines > 1)
			keyword(r, rest);
	}
	return last ? PARSE_OK : PARSE_MORE;
}
