/* mutf7.c - modified UTF-7 to UTF-8 and back (RFC 3501 5.1.3).
 *
 * Printable US-ASCII stands for itself, "&" is "&-", everything else is UTF-16BE in
 * base64 with "," for "/", between "&" and "-".  The decoder is strict: no second
 * spelling of a name is let in (encoded printable text, two encoded runs in a row,
 * bits left over, half a surrogate).  Pure; the caller's buffer is the bound. */
#include <errno.h>
#include <string.h>

#include "mutf7.h"

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

int32_t
utf8_next(struct span *in)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)in->p;
	uint32_t code;
	size_t n;

	if (in->len == 0)
		return -1;
	if (p[0] < 0x80)
		n = 1;
	else if (p[0] >= 0xc2 && p[0] < 0xe0)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] < 0xf0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] < 0xf5)
		n = 4;
	else
		return -1;
	if (n > in->len)
		return -1;
	code = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return -1;
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return -1;
	in->p += n;
	in->len -= n;
	return (int32_t)code;
}

size_t
utf8_put(uint32_t c, char d[4])
{
	if (c < 0x80) {
		d[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		d[0] = (char)(0xc0 | c >> 6);
		d[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		d[0] = (char)(0xe0 | c >> 12);
		d[1] = (char)(0x80 | (c >> 6 & 0x3f));
		d[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	d[0] = (char)(0xf0 | c >> 18);
	d[1] = (char)(0x80 | (c >> 12 & 0x3f));
	d[2] = (char)(0x80 | (c >> 6 & 0x3f));
	d[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

bool
utf8_valid(struct span in)
{
	while (in.len > 0)
		if (utf8_next(&in) < 0)
			return false;
	return true;
}

struct out {
	char *p;
	size_t len, size;
};

static int
put(struct out *o, const char *p, size_t n)
{
	if (o->len + n >= o->size) {
		errno = EMSGSIZE;
		return -1;
	}
	memcpy(o->p + o->len, p, n);
	o->len += n;
	o->p[o->len] = '\0';
	return 0;
}

static int
invalid(void)
{
	errno = EINVAL;
	return -1;
}

/* One UTF-16 unit; *high is a first surrogate that waits for its second. */
static int
put_unit(struct out *o, uint32_t unit, uint32_t *high)
{
	char utf8[4];
	size_t n;

	if (*high != 0) {
		if (unit < 0xdc00 || unit >= 0xe000)
			return invalid();
		unit = 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00);
		*high = 0;
	} else if (unit >= 0xd800 && unit < 0xdc00) {
		*high = unit;
		return 0;
	} else if ((unit >= 0xdc00 && unit < 0xe000) || (unit >= 0x20 && unit < 0x7f) ||
	    unit == 0) {
		return invalid();
	}
	n = utf8_put(unit, utf8);
	return put(o, utf8, n);
}

/* Between "&" and "-", both gone already on return. */
static int
decode_run(struct span *in, struct out *o)
{
	uint32_t bits = 0, high = 0;
	unsigned n = 0;
	const char *d;

	for (; in->len > 0 && *in->p != '-'; in->p++, in->len--) {
		if (*in->p == '\0' || (d = strchr(digits, *in->p)) == NULL)
			return invalid();
		bits = bits << 6 | (uint32_t)(d - digits);
		n += 6;
		if (n < 16)
			continue;
		n -= 16;
		if (put_unit(o, bits >> n & 0xffff, &high) == -1)
			return -1;
		bits &= (1u << n) - 1;
	}
	if (in->len == 0 || high != 0 || n >= 6 || bits != 0)
		return invalid();
	in->p++;
	in->len--;
	/* two runs in a row would have been one */
	if (in->len > 1 && in->p[0] == '&' && in->p[1] != '-')
		return invalid();
	return 0;
}

int
mutf7_decode(struct span in, char *utf8, size_t size)
{
	struct out o = { utf8, 0, size };

	if (size > 0)
		utf8[0] = '\0';
	while (in.len > 0) {
		if (*in.p < 0x20 || *in.p > 0x7e)
			return invalid();
		if (*in.p != '&') {
			if (put(&o, in.p, 1) == -1)
				return -1;
			in.p++;
			in.len--;
			continue;
		}
		in.p++;
		in.len--;
		if (in.len > 0 && *in.p == '-') {
			if (put(&o, "&", 1) == -1)
				return -1;
			in.p++;
			in.len--;
		} else if (decode_run(&in, &o) == -1) {
			return -1;
		}
	}
	return 0;
}

struct run {			/* an encoded run on its way out */
	uint32_t bits;
	unsigned n;
	bool open;
};

static int
encode_unit(struct out *o, struct run *r, uint32_t unit)
{
	if (!r->open && put(o, "&", 1) == -1)
		return -1;
	r->open = true;
	r->bits = r->bits << 16 | unit;
	r->n += 16;
	while (r->n >= 6) {
		r->n -= 6;
		if (put(o, &digits[r->bits >> r->n & 0x3f], 1) == -1)
			return -1;
	}
	r->bits &= (1u << r->n) - 1;
	return 0;
}

static int
close_run(struct out *o, struct run *r)
{
	if (!r->open)
		return 0;
	if (r->n > 0 && put(o, &digits[r->bits << (6 - r->n) & 0x3f], 1) == -1)
		return -1;
	*r = (struct run) { 0 };
	return put(o, "-", 1);
}

static int
encode_code(struct out *o, struct run *r, uint32_t code)
{
	char ch = (char)code;

	if (code >= 0x10000) {
		code -= 0x10000;
		if (encode_unit(o, r, 0xd800 + (code >> 10)) == -1)
			return -1;
		return encode_unit(o, r, 0xdc00 + (code & 0x3ff));
	}
	if (code < 0x20 || code > 0x7e)
		return encode_unit(o, r, code);
	if (close_run(o, r) == -1)
		return -1;
	return code == '&' ? put(o, "&-", 2) : put(o, &ch, 1);
}

int
mutf7_encode(const char *utf8, char *dst, size_t size)
{
	struct span in = span_of(utf8);
	struct out o = { dst, 0, size };
	struct run r = { 0 };
	int32_t code;

	if (size > 0)
		dst[0] = '\0';
	while (in.len > 0) {
		if ((code = utf8_next(&in)) < 0)
			return invalid();
		if (encode_code(&o, &r, (uint32_t)code) == -1)
			return -1;
	}
	return close_run(&o, &r);
}
