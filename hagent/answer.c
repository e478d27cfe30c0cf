/* answer.c - members of JSON answers, and spans of time.  Texts of foreign origin were
 * made printable by the daemon; who prints them bounds them all the same. */
#include "answer.h"

#include <stdio.h>
#include <string.h>

const char *
answer_text(json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));

	return s == NULL || s[0] == '\0' ? "-" : s;
}

long long
answer_int(json_t *o, const char *member)
{
	return json_integer_value(json_object_get(o, member));
}

bool
answer_has(json_t *o, const char *member)
{
	return json_is_integer(json_object_get(o, member));
}

bool
answer_true(json_t *o, const char *member)
{
	return json_is_true(json_object_get(o, member));
}

json_t *
answer_node(json_t *status, const char *role)
{
	size_t i;
	json_t *node;

	json_array_foreach(json_object_get(status, "nodes"), i, node)
		if (strcmp(answer_text(node, "role"), role) == 0)
			return node;
	return NULL;
}

const char *
answer_span(long long ms, char *buf, size_t size)
{
	long long s = ms / 1000;

	if (ms < 0)
		snprintf(buf, size, "never");
	else if (s < 60)
		snprintf(buf, size, "%lld s", s);
	else if (s < 86400)
		snprintf(buf, size, "%02lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(buf, size, "%lldd %02lld:%02lld", s / 86400, s / 3600 % 24,
		    s / 60 % 60);
	return buf;
}
