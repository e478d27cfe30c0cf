/* smtp_data.c - unstuffs the text of a message, byte by byte (RFC 5321 4.5.2).
 *
 * The one end is CRLF "." CRLF.  A CR or LF alone, anywhere, marks the whole message
 * as bad: servers that disagree about such line ends can be made to see a
 * second, smuggled message in it.  It still ends only at the true end. */
#include <string.h>
#include <strings.h>

#include "smtp_data.h"

void
smtp_data_init(struct smtp_data *d, uint32_t line_max)
{
	memset(d, 0, sizeof(*d));
	d->at = AT_LINE;
	d->line_max = line_max;
}

static void
field_seen(struct smtp_data *d)
{
	if (strncasecmp(d->name, "received:", 9) == 0)
		d->received++;
	else if (strncasecmp(d->name, "date:", 5) == 0)
		d->date = true;
	else if (strncasecmp(d->name, "message-id:", 11) == 0)
		d->message_id = true;
}

static void
emit(struct smtp_data *d, char c, char *out, size_t *n)
{
	if (d->line < sizeof(d->name) - 1) {
		d->name[d->line] = c;
		d->name[d->line + 1] = '\0';
	}
	if (++d->line > d->line_max)
		d->long_line = true;
	d->size++;
	out[(*n)++] = c;
}

/* A whole CRLF was seen and emitted. */
static void
line_end(struct smtp_data *d)
{
	if (!d->body) {
		if (d->line == 2)
			d->body = true;
		else
			field_seen(d);
	}
	d->line = 0;
	d->name[0] = '\0';
	d->at = AT_LINE;
}

/* One byte of text, also the first of a line. */
static void
text(struct smtp_data *d, char c, char *out, size_t *n)
{
	if (c == '\n')
		d->bare = true;
	d->at = c == '\r' ? AT_CR : AT_TEXT;
	emit(d, c, out, n);
}

static enum parse
step(struct smtp_data *d, char c, char *out, size_t *n)
{
	switch (d->at) {
	case AT_LINE:
		if (c == '.')
			d->at = AT_DOT;
		else
			text(d, c, out, n);
		break;
	case AT_DOT:
		if (c == '\r')
			d->at = AT_DOT_CR;
		else
			text(d, c, out, n);
		break;
	case AT_DOT_CR:
		if (c == '\n')
			return PARSE_OK;
		d->bare = true;
		emit(d, '\r', out, n);	/* the one place that emits two for one */
		text(d, c, out, n);
		break;
	case AT_TEXT:
		text(d, c, out, n);
		break;
	case AT_CR:
		if (c == '\n') {
			emit(d, c, out, n);
			line_end(d);
			break;
		}
		d->bare = true;
		text(d, c, out, n);
		break;
	}
	return PARSE_MORE;
}

enum parse
smtp_data_step(struct smtp_data *d, struct span in, size_t *taken, char *out, size_t *outlen)
{
	enum parse rc = PARSE_MORE;
	size_t i = 0, n = 0;

	while (i < in.len && rc == PARSE_MORE)
		rc = step(d, in.p[i++], out, &n);
	*taken = i;
	*outlen = n;
	return rc;
}
