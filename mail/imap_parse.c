/* imap_parse.c - the words of IMAP: atoms, strings, sets, flags and dates.
 *
 * Pure: a cursor over a span, an arena for what has to be copied (quoted strings
 * with escapes, lists).  Every loop ends with the input, every copy is limited by
 * the arena.  Lenient where clients are known to be (8-bit bytes in a quoted
 * string, a day of one digit), strict about everything that would be ambiguous.
 * FETCH and SEARCH arguments are in imap_parse_fetch.c and imap_parse_search.c. */
#include <stdlib.h>
#include <string.h>

#include "imap_parse.h"
#include "store.h"

#define FLAGS_MAX 200		/* keywords of one flag list */

void
imap_cur_init(struct imap_cur *c, struct span in, struct arena *a)
{
	c->p = in.p;
	c->end = in.p + in.len;
	c->arena = a;
}

enum parse
imap_get_char(struct imap_cur *c, char ch)
{
	if (c->p == c->end)
		return PARSE_MORE;
	if (*c->p != ch)
		return PARSE_BAD;
	c->p++;
	return PARSE_OK;
}

bool
imap_at(const struct imap_cur *c, char ch)
{
	return c->p != c->end && *c->p == ch;
}

enum parse
imap_get_end(struct imap_cur *c)
{
	return c->p == c->end ? PARSE_OK : PARSE_BAD;
}

/* RFC 3501 9: ATOM-CHAR, with "extra" ones let through. */
static bool
atom_char(char ch, const char *extra)
{
	unsigned char u = (unsigned char)ch;

	if (u <= 0x20 || u >= 0x7f)
		return false;
	if (strchr("(){%*\"\\]", ch) == NULL)
		return true;
	return strchr(extra, ch) != NULL;
}

static enum parse
get_run(struct imap_cur *c, const char *extra, const char *not, struct span *out)
{
	const char *start = c->p;

	while (c->p != c->end && atom_char(*c->p, extra) && strchr(not, *c->p) == NULL)
		c->p++;
	if (c->p == start)
		return c->p == c->end ? PARSE_MORE : PARSE_BAD;
	*out = (struct span) { start, (size_t)(c->p - start) };
	return PARSE_OK;
}

enum parse
imap_get_tag(struct imap_cur *c, struct span *out)
{
	return get_run(c, "]", "+", out);
}

enum parse
imap_get_atom(struct imap_cur *c, struct span *out)
{
	return get_run(c, "", "", out);
}

enum parse
imap_get_pattern(struct imap_cur *c, struct span *out)
{
	if (imap_at(c, '"') || imap_at(c, '{'))
		return imap_get_string(c, out);
	return get_run(c, "%*]", "", out);
}

/* The text between the quotes has escapes: copy it without them. */
static enum parse
unescape(struct imap_cur *c, struct span raw, struct span *out)
{
	char *dst = arena_alloc(c->arena, raw.len);
	size_t n = 0;

	if (dst == NULL)
		return PARSE_BAD;
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.p[i] == '\\')
			i++;
		dst[n++] = raw.p[i];
	}
	*out = (struct span) { dst, n };
	return PARSE_OK;
}

static enum parse
get_quoted(struct imap_cur *c, struct span *out)
{
	const char *start = ++c->p;
	bool escaped = false;
	struct span raw;

	for (;; c->p++) {
		if (c->p == c->end)
			return PARSE_MORE;
		if (*c->p == '"')
			break;
		if (*c->p == '\r' || *c->p == '\n' || *c->p == '\0')
			return PARSE_BAD;
		if (*c->p != '\\')
			continue;
		escaped = true;
		if (++c->p == c->end)
			return PARSE_MORE;
		if (*c->p != '"' && *c->p != '\\')
			return PARSE_BAD;
	}
	raw = (struct span) { start, (size_t)(c->p - start) };
	c->p++;
	if (escaped)
		return unescape(c, raw, out);
	*out = raw;
	return PARSE_OK;
}

static enum parse
get_literal(struct imap_cur *c, struct span *out)
{
	uint64_t n;
	enum parse rc;

	c->p++;
	if ((rc = imap_get_number(c, UINT32_MAX, &n)) != PARSE_OK)
		return rc;
	if (imap_at(c, '+'))
		c->p++;
	if ((rc = imap_get_char(c, '}')) != PARSE_OK ||
	    (rc = imap_get_char(c, '\r')) != PARSE_OK ||
	    (rc = imap_get_char(c, '\n')) != PARSE_OK)
		return rc;
	if (n > (uint64_t)(c->end - c->p))
		return PARSE_MORE;
	if (memchr(c->p, '\0', (size_t)n) != NULL)	/* literal: CHAR8, no NUL */
		return PARSE_BAD;
	*out = (struct span) { c->p, (size_t)n };
	c->p += n;
	return PARSE_OK;
}

enum parse
imap_get_string(struct imap_cur *c, struct span *out)
{
	if (c->p == c->end)
		return PARSE_MORE;
	if (*c->p == '"')
		return get_quoted(c, out);
	if (*c->p == '{')
		return get_literal(c, out);
	return PARSE_BAD;
}

enum parse
imap_get_astring(struct imap_cur *c, struct span *out)
{
	if (imap_at(c, '"') || imap_at(c, '{'))
		return imap_get_string(c, out);
	return get_run(c, "]", "", out);
}

enum parse
imap_get_nstring(struct imap_cur *c, struct span *out)
{
	struct span word;
	enum parse rc;

	if (imap_at(c, '"') || imap_at(c, '{'))
		return imap_get_string(c, out);
	if ((rc = imap_get_atom(c, &word)) != PARSE_OK)
		return rc;
	if (!span_is_nocase(word, "NIL"))
		return PARSE_BAD;
	*out = (struct span) { NULL, 0 };
	return PARSE_OK;
}

enum parse
imap_get_number(struct imap_cur *c, uint64_t max, uint64_t *out)
{
	const char *start = c->p;
	uint64_t n = 0;

	for (; c->p != c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
		unsigned digit = (unsigned)(*c->p - '0');

		if (n > (max - digit) / 10)
			return PARSE_BAD;
		n = n * 10 + digit;
	}
	if (c->p == start)
		return c->p == c->end ? PARSE_MORE : PARSE_BAD;
	*out = n;
	return PARSE_OK;
}

static enum parse
get_seq_number(struct imap_cur *c, uint32_t *out)
{
	uint64_t n;
	enum parse rc;

	if (imap_at(c, '*')) {
		c->p++;
		*out = 0;
		return PARSE_OK;
	}
	if ((rc = imap_get_number(c, UINT32_MAX, &n)) != PARSE_OK)
		return rc;
	if (n == 0)
		return PARSE_BAD;
	*out = (uint32_t)n;
	return PARSE_OK;
}

/* An upper bound for the ranges that follow: one more than the commas. */
static size_t
count_ranges(const struct imap_cur *c)
{
	size_t n = 1;

	for (const char *p = c->p; p != c->end; p++) {
		if (*p == ',')
			n++;
		else if (*p != '*' && *p != ':' && (*p < '0' || *p > '9'))
			break;
	}
	return n;
}

enum parse
imap_get_set(struct imap_cur *c, struct imap_set *out)
{
	struct imap_set set = { 0 };
	struct imap_range *r;
	enum parse rc;

	set.r = arena_alloc(c->arena, count_ranges(c) * sizeof(*set.r));
	if (set.r == NULL)
		return PARSE_BAD;
	for (;;) {
		r = &set.r[set.n];
		if ((rc = get_seq_number(c, &r->lo)) != PARSE_OK)
			return rc;
		r->hi = r->lo;
		if (imap_at(c, ':')) {
			c->p++;
			if ((rc = get_seq_number(c, &r->hi)) != PARSE_OK)
				return rc;
		}
		set.n++;
		if (!imap_at(c, ','))
			break;
		c->p++;
	}
	*out = set;
	return PARSE_OK;
}

static enum parse
system_flag(struct span name, uint32_t *bits)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} flags[] = {
		{ "Seen", FLAG_SEEN }, { "Answered", FLAG_ANSWERED },
		{ "Flagged", FLAG_FLAGGED }, { "Deleted", FLAG_DELETED },
		{ "Draft", FLAG_DRAFT },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (span_is_nocase(name, flags[i].name)) {
			*bits |= flags[i].bit;
			return PARSE_OK;
		}
	return PARSE_BAD;		/* \Recent, \* and strangers cannot be set */
}

struct keyword_list {
	struct span word[FLAGS_MAX];
	size_t n, bytes;
};

static enum parse
get_flag(struct imap_cur *c, uint32_t *bits, struct keyword_list *k)
{
	struct span word;
	enum parse rc;

	if (imap_at(c, '\\')) {
		c->p++;
		if ((rc = imap_get_atom(c, &word)) != PARSE_OK)
			return rc;
		/* "\S" is a proper prefix of "\Seen" */
		if (system_flag(word, bits) != PARSE_OK)
			return c->p == c->end ? PARSE_MORE : PARSE_BAD;
		return PARSE_OK;
	}
	if ((rc = imap_get_atom(c, &word)) != PARSE_OK)
		return rc;
	for (size_t i = 0; i < k->n; i++)
		if (span_iequal(k->word[i], word))
			return PARSE_OK;
	if (k->n == FLAGS_MAX || k->bytes + word.len + 1 > STORE_KEYWORDS_MAX)
		return PARSE_BAD;
	k->word[k->n++] = word;
	k->bytes += word.len + 1;
	return PARSE_OK;
}

static int
keyword_cmp(const void *va, const void *vb)
{
	const struct span *a = va, *b = vb;
	size_t n = a->len < b->len ? a->len : b->len;
	int rc = memcmp(a->p, b->p, n);

	return rc != 0 ? rc : (a->len > b->len) - (a->len < b->len);
}

static const char *
join_keywords(struct arena *a, struct keyword_list *k)
{
	char *text = arena_alloc(a, k->bytes + 1), *p = text;

	if (text == NULL)
		return NULL;
	if (k->n > 0)
		qsort(k->word, k->n, sizeof(k->word[0]), keyword_cmp);
	for (size_t i = 0; i < k->n; i++) {
		if (i > 0)
			*p++ = ' ';
		memcpy(p, k->word[i].p, k->word[i].len);
		p += k->word[i].len;
	}
	*p = '\0';
	return text;
}

static enum parse
get_flag_words(struct imap_cur *c, bool list, uint32_t *bits, struct keyword_list *k)
{
	enum parse rc;

	if (list && imap_at(c, ')'))
		return PARSE_OK;
	for (;;) {
		if ((rc = get_flag(c, bits, k)) != PARSE_OK)
			return rc;
		if (!imap_at(c, ' '))
			return PARSE_OK;
		c->p++;
	}
}

enum parse
imap_get_flags(struct imap_cur *c, bool bare, struct imap_flags *out)
{
	struct keyword_list k;
	uint32_t bits = 0;
	const char *text;
	bool list = imap_at(c, '(');
	enum parse rc;

	k.n = k.bytes = 0;
	if (c->p == c->end)
		return PARSE_MORE;
	if (!list && !bare)
		return PARSE_BAD;
	if (list)
		c->p++;
	if ((rc = get_flag_words(c, list, &bits, &k)) != PARSE_OK)
		return rc;
	if (list && (rc = imap_get_char(c, ')')) != PARSE_OK)
		return rc;
	if ((text = join_keywords(c->arena, &k)) == NULL)
		return PARSE_BAD;
	*out = (struct imap_flags) { bits, text };
	return PARSE_OK;
}

/* Howard Hinnant's days_from_civil: exact for every year of the calendar. */
int64_t
imap_days(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

int
imap_month(struct span name)
{
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		"Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

	for (int i = 0; i < 12; i++)
		if (span_is_nocase(name, months[i]))
			return i + 1;
	return 0;
}

static enum parse
get_digits(struct imap_cur *c, int least, int most, int *out)
{
	int n = 0, v = 0;

	for (; n < most && c->p != c->end && *c->p >= '0' && *c->p <= '9'; n++, c->p++)
		v = v * 10 + (*c->p - '0');
	if (n < least)
		return c->p == c->end ? PARSE_MORE : PARSE_BAD;
	*out = v;
	return PARSE_OK;
}

/* d-Mon-yyyy behind an optional space for a day of one digit */
static enum parse
get_day(struct imap_cur *c, int64_t *days)
{
	int day, month, year;
	struct span name;
	enum parse rc;

	if ((rc = get_digits(c, 1, 2, &day)) != PARSE_OK ||
	    (rc = imap_get_char(c, '-')) != PARSE_OK)
		return rc;
	if (c->end - c->p < 3)
		return PARSE_MORE;
	name = (struct span) { c->p, 3 };
	if ((month = imap_month(name)) == 0)
		return PARSE_BAD;
	c->p += 3;
	if ((rc = imap_get_char(c, '-')) != PARSE_OK ||
	    (rc = get_digits(c, 4, 4, &year)) != PARSE_OK)
		return rc;
	if (day < 1 || day > 31)
		return PARSE_BAD;
	*days = imap_days(year, month, day);
	return PARSE_OK;
}

enum parse
imap_get_date(struct imap_cur *c, int64_t *days)
{
	bool quoted = imap_at(c, '"');
	int64_t d;
	enum parse rc;

	if (quoted)
		c->p++;
	if ((rc = get_day(c, &d)) != PARSE_OK)
		return rc;
	if (quoted && (rc = imap_get_char(c, '"')) != PARSE_OK)
		return rc;
	*days = d;
	return PARSE_OK;
}

static enum parse
get_zone(struct imap_cur *c, int64_t *seconds)
{
	int hours, minutes;
	bool west;
	enum parse rc;

	if (c->p == c->end)
		return PARSE_MORE;
	if (*c->p != '+' && *c->p != '-')
		return PARSE_BAD;
	west = *c->p++ == '-';
	if ((rc = get_digits(c, 2, 2, &hours)) != PARSE_OK ||
	    (rc = get_digits(c, 2, 2, &minutes)) != PARSE_OK)
		return rc;
	if (minutes > 59)
		return PARSE_BAD;
	*seconds = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
	return PARSE_OK;
}

static enum parse
get_time(struct imap_cur *c, int64_t *seconds)
{
	int h, m, s;
	enum parse rc;

	if ((rc = get_digits(c, 2, 2, &h)) != PARSE_OK ||
	    (rc = imap_get_char(c, ':')) != PARSE_OK ||
	    (rc = get_digits(c, 2, 2, &m)) != PARSE_OK ||
	    (rc = imap_get_char(c, ':')) != PARSE_OK ||
	    (rc = get_digits(c, 2, 2, &s)) != PARSE_OK)
		return rc;
	if (h > 23 || m > 59 || s > 60)		/* 60: a leap second */
		return PARSE_BAD;
	*seconds = (h * 60 + m) * 60 + s;
	return PARSE_OK;
}

enum parse
imap_get_datetime(struct imap_cur *c, int64_t *out)
{
	int64_t days, time, zone;
	enum parse rc;

	if ((rc = imap_get_char(c, '"')) != PARSE_OK)
		return rc;
	if (imap_at(c, ' '))
		c->p++;
	if ((rc = get_day(c, &days)) != PARSE_OK ||
	    (rc = imap_get_char(c, ' ')) != PARSE_OK ||
	    (rc = get_time(c, &time)) != PARSE_OK ||
	    (rc = imap_get_char(c, ' ')) != PARSE_OK ||
	    (rc = get_zone(c, &zone)) != PARSE_OK ||
	    (rc = imap_get_char(c, '"')) != PARSE_OK)
		return rc;
	*out = days * 86400 + time - zone;
	return PARSE_OK;
}

bool
imap_literal_mark(struct span line, uint64_t *size, bool *nonsync)
{
	const char *p = line.p + line.len, *digits_end;
	struct span digits;
	bool plus = false;

	if (line.len < 3 || *--p != '}')
		return false;
	if (p[-1] == '+') {
		plus = true;
		p--;
	}
	digits_end = p;
	while (p > line.p && p[-1] >= '0' && p[-1] <= '9')
		p--;
	if (p == line.p || p == digits_end || p[-1] != '{')
		return false;
	digits = (struct span) { p, (size_t)(digits_end - p) };
	if (span_u64(digits, UINT64_MAX / 2, size) != PARSE_OK)
		*size = UINT64_MAX / 2;		/* beyond every limit */
	*nonsync = plus;
	return true;
}

enum parse
imap_get_append(struct imap_cur *c, struct imap_append *out)
{
	struct imap_append a = { .flags = { 0, "" } };
	struct span verb;
	enum parse rc;

	if ((rc = imap_get_tag(c, &a.tag)) != PARSE_OK ||
	    (rc = imap_get_char(c, ' ')) != PARSE_OK ||
	    (rc = imap_get_atom(c, &verb)) != PARSE_OK)
		return rc;
	if (!span_is_nocase(verb, "APPEND"))
		return PARSE_BAD;
	if ((rc = imap_get_char(c, ' ')) != PARSE_OK ||
	    (rc = imap_get_astring(c, &a.mailbox)) != PARSE_OK ||
	    (rc = imap_get_char(c, ' ')) != PARSE_OK)
		return rc;
	if (imap_at(c, '(')) {
		if ((rc = imap_get_flags(c, false, &a.flags)) != PARSE_OK ||
		    (rc = imap_get_char(c, ' ')) != PARSE_OK)
			return rc;
	}
	if (imap_at(c, '"')) {
		if ((rc = imap_get_datetime(c, &a.date_s)) != PARSE_OK ||
		    (rc = imap_get_char(c, ' ')) != PARSE_OK)
			return rc;
		a.has_date = true;
	}
	*out = a;
	return PARSE_OK;
}
