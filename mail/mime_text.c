/* mime_text.c - decoding for search.
 *
 * A body runs through two stages, block by block: transfer encoding (base64, quoted-
 * printable, or none), then charset (iconv; UTF-8 and unknown ones go through with
 * repair).  Memory is a few blocks however long the body is.  Base64 skips what is
 * not of its alphabet, quoted-printable leaves what it does not understand. */
#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "mem.h"
#include "mime_text.h"
#include "mutf7.h"

#define BLOCK 32768
#define CHARSET_MAX 64

/* Simple case folding of the scripts that have case, by their regular blocks. */
static uint32_t
fold(uint32_t c)
{
	if (c < 0x80)
		return c >= 'A' && c <= 'Z' ? c + 32 : c;
	if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3ab) ||
	    (c >= 0x410 && c <= 0x42f) || (c >= 0xff21 && c <= 0xff3a))
		return c + 32;
	if ((c >= 0x100 && c <= 0x137 && c != 0x130 && c != 0x131) ||
	    (c >= 0x14a && c <= 0x177) || (c >= 0x460 && c <= 0x481) ||
	    (c >= 0x48a && c <= 0x4bf) || (c >= 0x4d0 && c <= 0x52f) ||
	    (c >= 0x1e00 && c <= 0x1e95) || (c >= 0x1ea0 && c <= 0x1eff))
		return c | 1;
	if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e) ||
	    (c >= 0x4c1 && c <= 0x4ce))
		return c + (c & 1);
	if (c >= 0x400 && c <= 0x40f)
		return c + 80;
	if (c >= 0x531 && c <= 0x556)
		return c + 48;
	switch (c) {
	case 0x178: return 0xff;
	case 0x386: return 0x3ac;
	case 0x388: case 0x389: case 0x38a: return c + 37;
	case 0x38c: return 0x3cc;
	case 0x38e: case 0x38f: return c + 63;
	case 0x3c2: return 0x3c3;		/* final sigma */
	}
	return c;
}

/* Windows-1252 above 0x7f, for text that is not UTF-8 */
static uint32_t
cp1252(unsigned char c)
{
	static const uint16_t high[32] = { 0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026,
		0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
		0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc,
		0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178 };

	return c >= 0x80 && c < 0xa0 ? high[c - 0x80] : c;
}

static uint32_t
next_code(struct span *in)
{
	int32_t code = utf8_next(in);

	if (code >= 0)
		return (uint32_t)code;
	code = (int32_t)cp1252((unsigned char)*in->p);
	in->p++;
	in->len--;
	return (uint32_t)code;
}

char *
text_fold(struct span in)
{
	char *out = mem_alloc(in.len * 3 + 1);	/* 1252 bytes become up to three */
	size_t n = 0;

	while (in.len > 0)
		n += utf8_put(fold(next_code(&in)), out + n);
	out[n] = '\0';
	return out;
}

void
text_match_init(struct text_match *m, const char *needle)
{
	*m = (struct text_match) { .needle = needle, .needle_len = strlen(needle) };
	m->buf = mem_alloc(BLOCK + m->needle_len + 8);
}

void
text_match_clear(struct text_match *m)
{
	free(m->buf);
	m->buf = NULL;
}

static void
look(struct text_match *m)
{
	size_t keep = m->needle_len > 0 ? m->needle_len - 1 : 0;

	if (memmem(m->buf, m->len, m->needle, m->needle_len) != NULL)
		m->found = true;
	if (m->len > keep) {
		memmove(m->buf, m->buf + m->len - keep, keep);
		m->len = keep;
	}
}

void
text_match_add(struct text_match *m, struct span in)
{
	while (in.len > 0 && !m->found) {
		m->len += utf8_put(fold(next_code(&in)), m->buf + m->len);
		if (m->len >= BLOCK + m->needle_len)
			look(m);
	}
}

bool
text_match_end(struct text_match *m)
{
	if (!m->found)
		look(m);
	m->len = 0;
	return m->found;
}

/* ---- charsets ---- */

struct charset {
	iconv_t cd;
	bool direct;		/* UTF-8, or nothing that iconv knows */
	char rest[16];		/* the beginning of a character */
	size_t n_rest;
};

static void
charset_open(struct charset *c, struct span name)
{
	char text[CHARSET_MAX];

	*c = (struct charset) { .direct = true };
	if (name.len == 0 || name.len >= sizeof(text) || span_is_nocase(name, "utf-8") ||
	    span_is_nocase(name, "us-ascii"))
		return;
	for (size_t i = 0; i < name.len; i++) {
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == '/')
			return;
		text[i] = name.p[i];
	}
	text[name.len] = '\0';
	c->cd = iconv_open("UTF-8", text);
	c->direct = c->cd == (iconv_t)-1;
}

typedef void sink_fn(void *arg, struct span);

/* Converts in[n]; what is left of a character is moved to c->rest. */
static void
convert(struct charset *c, char *in, size_t n, sink_fn *sink, void *arg)
{
	char out[4096], *o;
	size_t room, rc;

	while (n > 0) {
		o = out;
		room = sizeof(out);
		errno = 0;
		rc = iconv(c->cd, &in, &n, &o, &room);
		sink(arg, (struct span) { out, sizeof(out) - room });
		if (rc != (size_t)-1 || errno == E2BIG)
			continue;
		if (errno == EINVAL && n < sizeof(c->rest)) {
			memcpy(c->rest, in, n);
			c->n_rest = n;
			return;
		}
		sink(arg, SPAN("\xef\xbf\xbd"));	/* not of this charset */
		in++;
		n--;
	}
}

/* How many bytes at the end are the beginning of a character of UTF-8? */
static size_t
unfinished(const char *p, size_t n)
{
	for (size_t k = 1; k <= 3 && k <= n; k++) {
		unsigned char c = (unsigned char)p[n - k];

		if ((c & 0xc0) == 0x80)
			continue;
		return (c >= 0xc0 && k < 2) || (c >= 0xe0 && k < 3) || (c >= 0xf0 && k < 4)
		    ? k : 0;
	}
	return 0;
}

static void
charset_add(struct charset *c, struct span in, sink_fn *sink, void *arg)
{
	char block[sizeof(c->rest) + 4096];
	size_t n, keep;

	while (in.len > 0) {
		n = in.len < 4096 ? in.len : 4096;
		memcpy(block, c->rest, c->n_rest);
		memcpy(block + c->n_rest, in.p, n);
		in.p += n;
		in.len -= n;
		n += c->n_rest;
		c->n_rest = 0;
		if (!c->direct) {
			convert(c, block, n, sink, arg);
			continue;
		}
		keep = unfinished(block, n);
		sink(arg, (struct span) { block, n - keep });
		memcpy(c->rest, block + n - keep, keep);
		c->n_rest = keep;
	}
}

static void
charset_close(struct charset *c, sink_fn *sink, void *arg)
{
	if (c->direct)			/* half a character is shown as what it is */
		sink(arg, (struct span) { c->rest, c->n_rest });
	else
		iconv_close(c->cd);
}

/* ---- transfer encodings, one block at a time ---- */

static int
base64_value(char ch)
{
	if (ch >= 'A' && ch <= 'Z')
		return ch - 'A';
	if (ch >= 'a' && ch <= 'z')
		return ch - 'a' + 26;
	if (ch >= '0' && ch <= '9')
		return ch - '0' + 52;
	return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

static size_t
take_base64(struct span *in, char *out, size_t room, uint32_t *bits, unsigned *n)
{
	size_t len = 0;
	int v;

	for (; in->len > 0 && len < room; in->p++, in->len--) {
		if ((v = base64_value(*in->p)) < 0) {
			if (*in->p == '=')	/* the end of a run: begin anew */
				*n = 0;
			continue;
		}
		*bits = *bits << 6 | (uint32_t)v;
		if ((*n += 6) >= 8) {
			*n -= 8;
			out[len++] = (char)(*bits >> *n & 0xff);
		}
	}
	return len;
}

static int
hex_value(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'A' && ch <= 'F')
		return ch - 'A' + 10;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Behind a "=": how many bytes of a soft line break are there? */
static size_t
soft_break(struct span in)
{
	size_t i = 1;

	while (i < in.len && (in.p[i] == ' ' || in.p[i] == '\t'))
		i++;
	if (i < in.len && in.p[i] == '\r')
		i++;
	return i < in.len && in.p[i] == '\n' ? i + 1 : 0;
}

static size_t
take_quoted(struct span *in, char *out, size_t room, bool word)
{
	size_t len = 0, skip;

	for (; in->len > 0 && len < room; in->p++, in->len--) {
		char ch = *in->p;

		if (ch == '=' && in->len >= 3 && hex_value(in->p[1]) >= 0 &&
		    hex_value(in->p[2]) >= 0) {
			out[len++] = (char)(hex_value(in->p[1]) << 4 | hex_value(in->p[2]));
			in->p += 2;
			in->len -= 2;
		} else if (!word && ch == '=' && (skip = soft_break(*in)) > 0) {
			in->p += skip - 1;
			in->len -= skip - 1;
		} else {
			out[len++] = word && ch == '_' ? ' ' : ch;
		}
	}
	return len;
}

/* ---- header values ---- */

struct text {
	char *p;
	size_t len, cap;
};

static void
text_add(void *arg, struct span s)
{
	struct text *t = arg;

	if (t->len + s.len + 1 > t->cap) {
		t->cap = (t->len + s.len) * 2 + 64;
		t->p = mem_grow(t->p, t->cap, 1);
	}
	memcpy(t->p + t->len, s.p, s.len);
	t->len += s.len;
	t->p[t->len] = '\0';
}

/* =?charset?B?text?= at the front of in; false when it is not one. */
static bool
encoded_word(struct span *in, struct text *out)
{
	struct span rest = { in->p + 2, in->len - 2 }, charset, method, word;
	struct charset c;
	char buf[1024];
	uint32_t bits = 0;
	unsigned n_bits = 0;
	size_t n;
	bool base64;
	const char *end, *star;

	if (!span_cut(&rest, '?', &charset) || !span_cut(&rest, '?', &method) ||
	    method.len != 1 || charset.len == 0)
		return false;
	base64 = span_is_nocase(method, "B");
	if (!base64 && !span_is_nocase(method, "Q"))
		return false;
	if (rest.len == 0 || (end = memmem(rest.p, rest.len, "?=", 2)) == NULL)
		return false;
	word = (struct span) { rest.p, (size_t)(end - rest.p) };
	if ((star = memchr(charset.p, '*', charset.len)) != NULL)	/* RFC 2231 5 */
		charset.len = (size_t)(star - charset.p);
	charset_open(&c, charset);
	while (word.len > 0) {
		n = base64 ? take_base64(&word, buf, sizeof(buf), &bits, &n_bits)
			   : take_quoted(&word, buf, sizeof(buf), true);
		charset_add(&c, (struct span) { buf, n }, text_add, out);
	}
	charset_close(&c, text_add, out);
	in->len -= (size_t)(end + 2 - in->p);
	in->p = end + 2;
	return true;
}

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

char *
text_header(struct span in)
{
	struct text out = { 0 };
	size_t before_gap = 0;
	bool after_word = false;

	in = span_trim(in);
	text_add(&out, SPAN(""));
	while (in.len > 0) {
		if (in.len > 6 && in.p[0] == '=' && in.p[1] == '?') {
			size_t gap = out.len;
			struct span save = in;

			/* white space between two encoded words is not there */
			if (after_word)
				out.len = before_gap;
			if (encoded_word(&in, &out)) {
				after_word = true;
				before_gap = out.len;
				continue;
			}
			in = save;
			out.len = gap;
		}
		if (*in.p != '\r' && *in.p != '\n')
			text_add(&out, (struct span) { in.p, 1 });
		if (!blank(*in.p))
			after_word = false;
		in.p++;
		in.len--;
	}
	return out.p;
}

/* ---- bodies ---- */

static void
match_sink(void *arg, struct span s)
{
	text_match_add(arg, s);
}

void
text_body(const struct mime_part *p, struct text_match *m)
{
	struct mime_type type, encoding;
	struct span charset = { 0 }, value, rest = p->body;
	struct charset c;
	char buf[4096];
	uint32_t bits = 0;
	unsigned n_bits = 0;
	bool base64 = false, quoted = false;

	mime_part_type(p, &type);
	mime_type_param(&type, "charset", &charset);
	if (mime_field_find(p->head, "Content-Transfer-Encoding", &value) &&
	    mime_type_parse(value, &encoding)) {
		base64 = span_is_nocase(encoding.type, "base64");
		quoted = span_is_nocase(encoding.type, "quoted-printable");
	}
	charset_open(&c, charset);
	while (rest.len > 0 && !m->found) {
		struct span block = rest;
		size_t n;

		if (base64) {
			n = take_base64(&rest, buf, sizeof(buf), &bits, &n_bits);
			block = (struct span) { buf, n };
		} else if (quoted) {
			n = take_quoted(&rest, buf, sizeof(buf), false);
			block = (struct span) { buf, n };
		} else {
			block.len = block.len < BLOCK ? block.len : BLOCK;
			rest.p += block.len;
			rest.len -= block.len;
		}
		charset_add(&c, block, match_sink, m);
	}
	charset_close(&c, match_sink, m);
}
