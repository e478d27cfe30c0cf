/* address.c - envelope addresses (RFC 5321 4.1.2), strict: what the grammar does
 * not allow is refused, since it ends up in headers, logs and queries.
 *
 * A quoted local part loses its quotes when a dot-string says the same, so that
 * "joe"@x and joe@x are one address.  Addresses in UTF-8 (RFC 6531) are refused. */
#include <ctype.h>
#include <string.h>

#include "address.h"

static bool
atext(unsigned char c)
{
	return c < 0x80 && (isalnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL));
}

static bool
dot_string(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '.' && (i == 0 || i + 1 == s.len || s.p[i - 1] == '.'))
			return false;
		if (s.p[i] != '.' && !atext((unsigned char)s.p[i]))
			return false;
	}
	return s.len > 0;
}

bool
address_domain_ok(struct span s)
{
	size_t label = 0;

	if (s.len == 0 || s.len > ADDRESS_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return false;
			label = 0;
		} else if (c < 0x80 && (isalnum(c) || c == '_' || (c == '-' && label > 0))) {
			if (++label > 63)
				return false;
		} else
			return false;
	}
	return label > 0 && s.p[s.len - 1] != '-';
}

static bool
literal_ok(struct span s)
{
	if (s.len < 3 || s.len > ADDRESS_DOMAIN_MAX || s.p[0] != '[' || s.p[s.len - 1] != ']')
		return false;
	for (size_t i = 1; i + 1 < s.len; i++)
		if (!isalnum((unsigned char)s.p[i]) && strchr(".:-", s.p[i]) == NULL)
			return false;
	return true;
}

/* Length of the quoted string at the front with both quotes; its text without quotes
 * and backslashes goes to out.  0 when it is none, or too long. */
static size_t
quoted(struct span in, char out[ADDRESS_LOCAL_MAX + 1])
{
	size_t n = 0, i = 1;

	for (; i < in.len && in.p[i] != '"'; i++) {
		if (in.p[i] == '\\')
			i++;
		if (i >= in.len || in.p[i] < ' ' || in.p[i] > '~' || n == ADDRESS_LOCAL_MAX)
			return 0;
		out[n++] = in.p[i];
	}
	if (i >= in.len || n == 0)
		return 0;
	out[n] = '\0';
	return i + 1;
}

/* The local part at the front of in, up to its '@' (or the end); its length there,
 * 0 when bad.  dst gets it in its shortest form. */
static size_t
local_part(struct span in, char dst[2 * ADDRESS_LOCAL_MAX + 3])
{
	char plain[ADDRESS_LOCAL_MAX + 1];
	size_t n = 0, d = 0;

	if (in.len > 0 && in.p[0] == '"') {
		if ((n = quoted(in, plain)) == 0)
			return 0;
		if (dot_string(span_of(plain))) {
			memcpy(dst, plain, strlen(plain) + 1);
			return n;
		}
		dst[d++] = '"';
		for (const char *p = plain; *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				dst[d++] = '\\';
			dst[d++] = *p;
		}
		dst[d++] = '"';
		dst[d] = '\0';
		return d > ADDRESS_LOCAL_MAX ? 0 : n;
	}
	while (n < in.len && (atext((unsigned char)in.p[n]) || in.p[n] == '.'))
		n++;
	if (n > ADDRESS_LOCAL_MAX || !dot_string((struct span){ in.p, n }))
		return 0;
	memcpy(dst, in.p, n);
	dst[n] = '\0';
	return n;
}

/* local@domain with nothing behind it; bare: "postmaster" alone is fine. */
static enum parse
mailbox(struct span in, bool bare, char out[ADDRESS_MAX + 1])
{
	char local[2 * ADDRESS_LOCAL_MAX + 3];
	size_t n = local_part(in, local), len = strlen(local);
	struct span dom;

	if (n == 0)
		return PARSE_BAD;
	if (n == in.len && bare && span_is_nocase(in, "postmaster")) {
		memcpy(out, local, len + 1);
		return PARSE_OK;
	}
	if (n == in.len || in.p[n] != '@')
		return PARSE_BAD;
	dom = (struct span){ in.p + n + 1, in.len - n - 1 };
	if (dom.len == 0 || (!address_domain_ok(dom) && !literal_ok(dom)))
		return PARSE_BAD;
	memcpy(out, local, len);
	out[len] = '@';
	memcpy(out + len + 1, dom.p, dom.len);
	out[len + 1 + dom.len] = '\0';
	return PARSE_OK;
}

enum parse
address_mailbox(struct span in, char out[ADDRESS_MAX + 1])
{
	char got[ADDRESS_MAX + 1];

	if (in.len == 0 || in.len > ADDRESS_MAX || mailbox(in, false, got) != PARSE_OK)
		return PARSE_BAD;
	memcpy(out, got, sizeof(got));
	return PARSE_OK;
}

/* Where the '>' that ends the path is; quotes may hold one. */
static size_t
path_end(struct span in)
{
	bool quote = false;

	for (size_t i = 1; i < in.len; i++) {
		if (quote && in.p[i] == '\\')
			i++;
		else if (in.p[i] == '"')
			quote = !quote;
		else if (in.p[i] == '>' && !quote)
			return i;
	}
	return 0;
}

enum parse
address_path(struct span in, bool null, bool bare, char out[ADDRESS_MAX + 1], struct span *rest)
{
	char got[ADDRESS_MAX + 1] = "";
	struct span path;
	size_t end;

	if (in.len < 2 || in.p[0] != '<' || (end = path_end(in)) == 0)
		return PARSE_BAD;
	path = (struct span){ in.p + 1, end - 1 };
	if (path.len > 0 && path.p[0] == '@') {		/* a source route, RFC 5321 C */
		const char *colon = memchr(path.p, ':', path.len);

		if (colon == NULL)
			return PARSE_BAD;
		path.len -= (size_t)(colon + 1 - path.p);
		path.p = colon + 1;
	} else if (path.len == 0 && null) {
		out[0] = '\0';
		*rest = (struct span){ in.p + end + 1, in.len - end - 1 };
		return PARSE_OK;
	}
	if (path.len > ADDRESS_MAX || mailbox(path, bare, got) != PARSE_OK)
		return PARSE_BAD;
	memcpy(out, got, strlen(got) + 1);
	*rest = (struct span){ in.p + end + 1, in.len - end - 1 };
	return PARSE_OK;
}

void
address_fold(char *s)
{
	for (; *s != '\0'; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
}
