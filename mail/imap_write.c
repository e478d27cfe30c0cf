/* imap_write.c - strings, names, flags and dates as RFC 3501 9 writes them.
 *
 * Only formats; what is not printable in a quoted string goes out as a literal. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "imap.h"
#include "mutf7.h"

#define QUOTED_MAX 1000

void
imap_put(struct evbuffer *out, const char *text)
{
	evbuffer_add(out, text, strlen(text));
}

void
imap_put_string(struct evbuffer *out, struct span s)
{
	char quoted[QUOTED_MAX * 2 + 2];
	size_t n = 0;
	bool literal = s.len > QUOTED_MAX;

	for (size_t i = 0; i < s.len && !literal; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x80 || c == '\r' || c == '\n' || c == '\0')
			literal = true;
	}
	if (literal) {
		evbuffer_add_printf(out, "{%zu}\r\n", s.len);
		evbuffer_add(out, s.p, s.len);
		return;
	}
	quoted[n++] = '"';
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			quoted[n++] = '\\';
		quoted[n++] = s.p[i];
	}
	quoted[n++] = '"';
	evbuffer_add(out, quoted, n);
}

void
imap_put_nstring(struct evbuffer *out, struct span s)
{
	if (s.p == NULL)
		imap_put(out, "NIL");
	else
		imap_put_string(out, s);
}

static bool
plain_atom(const char *s)
{
	if (*s == '\0' || strcasecmp(s, "NIL") == 0)
		return false;
	for (; *s != '\0'; s++)
		if (*s <= 0x20 || *s >= 0x7f || strchr("(){%*\"\\]", *s) != NULL)
			return false;
	return true;
}

void
imap_put_mailbox(struct evbuffer *out, const char *utf8)
{
	char name[STORE_NAME_MAX * 3 + 1];

	if (mutf7_encode(utf8, name, sizeof(name)) == -1)
		snprintf(name, sizeof(name), "?");	/* the store holds UTF-8 only */
	if (plain_atom(name))
		imap_put(out, name);
	else
		imap_put_string(out, span_of(name));
}

void
imap_put_flags(struct evbuffer *out, uint32_t flags, const char *keywords, bool recent)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ FLAG_ANSWERED, "\\Answered" }, { FLAG_FLAGGED, "\\Flagged" },
		{ FLAG_DELETED, "\\Deleted" }, { FLAG_SEEN, "\\Seen" },
		{ FLAG_DRAFT, "\\Draft" },
	};
	const char *sep = "";

	imap_put(out, "(");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].bit) {
			evbuffer_add_printf(out, "%s%s", sep, names[i].name);
			sep = " ";
		}
	if (recent) {
		evbuffer_add_printf(out, "%s\\Recent", sep);
		sep = " ";
	}
	if (keywords != NULL && *keywords != '\0')
		evbuffer_add_printf(out, "%s%s", sep, keywords);
	imap_put(out, ")");
}

void
imap_put_date(struct evbuffer *out, int64_t internal_s)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		"Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)internal_s;
	struct tm tm;

	/* four digits of year is all that the grammar has */
	if (gmtime_r(&t, &tm) == NULL || tm.tm_year < 0 || tm.tm_year > 8099) {
		t = 0;
		gmtime_r(&t, &tm);
	}
	evbuffer_add_printf(out, "\"%2d-%s-%04d %02d:%02d:%02d +0000\"", tm.tm_mday,
	    months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* In the order given, neighbours that count up as ranges. */
void
imap_put_uids(struct evbuffer *out, const uint32_t *uid, size_t n)
{
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && uid[j] == uid[j - 1] + 1; j++)
			;
		evbuffer_add_printf(out, i == 0 ? "%u" : ",%u", uid[i]);
		if (j - i > 1)
			evbuffer_add_printf(out, ":%u", uid[j - 1]);
	}
}

void
imap_put_flag_names(struct evbuffer *out, const struct imap_view *v, bool permanent)
{
	imap_put(out, "(\\Answered \\Flagged \\Deleted \\Seen \\Draft");
	for (size_t i = 0; i < v->n_keywords; i++)
		evbuffer_add_printf(out, " %s", v->keywords[i]);
	imap_put(out, permanent ? " \\*)" : ")");
}

void
imap_put_copyuid(struct evbuffer *out, const struct store_result *r)
{
	evbuffer_add_printf(out, "[COPYUID %u ", r->uidvalidity);
	imap_put_uids(out, r->src_uids, r->n);
	imap_put(out, " ");
	imap_put_uids(out, r->dst_uids, r->n);
	imap_put(out, "]");
}
