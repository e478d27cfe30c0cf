/* fence_args.c - checks and builds the input of fence devices; pure.  The form is the
 * one of the fence-agents package: one argument a line, the key without spaces, nothing
 * quoted, '#' begins a comment. */
#include "fence_args.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KEY_MAX 64
#define SECRET_MIN 4

static size_t
key_len(struct span s)
{
	const char *eq = memchr(s.p, '=', s.len);

	return eq == NULL ? 0 : (size_t)(eq - s.p);
}

static bool
key_is(struct span s, const char *const *keys)
{
	size_t len = key_len(s);

	for (; *keys != NULL; keys++)
		if (strlen(*keys) == len && strncasecmp(s.p, *keys, len) == 0)
			return true;
	return false;
}

bool
fence_arg_ok(struct span s)
{
	static const char *const ours[] = { "action", "option", "nodename", NULL };
	const unsigned char *p = (const unsigned char *)s.p;
	size_t len = key_len(s);

	if (len == 0 || len > KEY_MAX || key_is(s, ours))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum(p[i]) && p[i] != '-' && p[i] != '_')
			return false;
	for (size_t i = len; i < s.len; i++)
		if (p[i] < ' ' || p[i] == 0x7f)
			return false;
	return true;
}

bool
fence_arg_secret(struct span s)
{
	static const char *const secret[] = { "passwd", "password", "snmp-priv-passwd",
		"snmp_priv_passwd", "snmp-auth-passwd", "community", "secret", "secret_key",
		"token", "apikey", NULL };

	return key_is(s, secret);
}

unsigned
fence_args_wrong_line(struct span file)
{
	struct span line;
	unsigned n = 0;

	while (span_cut(&file, '\n', &line)) {
		n++;
		if (line.len > 0 && line.p[0] != '#' && !fence_arg_ok(line))
			return n;
	}
	return 0;
}

size_t
fence_args_build(char *buf, size_t size, const char *action, const char *node,
    char *const *args, struct span file)
{
	int n = snprintf(buf, size, "action=%s\nnodename=%s\n", action, node);
	size_t len = n < 0 ? size : (size_t)n;

	for (; *args != NULL && len < size; args++) {
		n = snprintf(buf + len, size - len, "%s\n", *args);
		len += n < 0 ? size : (size_t)n;
	}
	if (len >= size || file.len + 2 > size - len)
		return 0;
	if (file.len > 0)
		memcpy(buf + len, file.p, file.len);
	len += file.len;
	if (buf[len - 1] != '\n')
		buf[len++] = '\n';
	buf[len] = '\0';
	return len;
}

static void
hide(char *words, struct span value)
{
	char *at = words;

	while ((at = memmem(at, strlen(at), value.p, value.len)) != NULL) {
		memset(at, '*', value.len);
		at += value.len;
	}
}

void
fence_args_hide(char *words, struct span lines)
{
	struct span line;

	while (span_cut(&lines, '\n', &line)) {
		size_t skip = key_len(line) + 1;

		if (fence_arg_secret(line) && line.len >= skip + SECRET_MIN)
			hide(words, (struct span){ line.p + skip, line.len - skip });
	}
}
