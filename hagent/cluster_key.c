/* cluster_key.c - reads and writes the file of cluster keys.  Nothing of a key is ever
 * in a message. */
#include "cluster_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "hex.h"
#include "mem.h"

#define FILE_MAX 4096
#define DIGITS 64

static const char expected[] =
    "expected 64 hexadecimal digits, or one or two lines \"NUMBER DIGITS\"";

static struct span
trim(struct span s)
{
	if (s.len > 0 && s.p[s.len - 1] == '\r')
		s.len--;
	return span_trim(s);
}

/* -1: no key. */
static int
parse_line(struct span line, struct cluster_key *k)
{
	struct span id;
	uint64_t n = 1;

	if (line.len != DIGITS) {
		if (!span_cut(&line, ' ', &id) || line.p == NULL)
			return -1;
		line = span_trim(line);
		if (span_u64(id, 255, &n) != PARSE_OK || n == 0)
			return -1;
	}
	k->id = (uint8_t)n;
	return hex_decode(line, k->secret, sizeof(k->secret));
}

const char *
cluster_keys_parse(struct span text, struct cluster_keys *out)
{
	struct cluster_keys keys = {0};
	const char *why = NULL;
	struct span line;

	while (why == NULL && span_cut(&text, '\n', &line)) {
		line = trim(line);
		if (line.len == 0 || line.p[0] == '#')
			continue;
		if (keys.n == CLUSTER_KEYS_MAX)
			why = "expected at most two keys";
		else if (parse_line(line, &keys.key[keys.n]) == -1)
			why = expected;
		else
			keys.n++;
	}
	if (why == NULL && keys.n == 0)
		why = expected;
	if (why == NULL && keys.n == 2 && keys.key[0].id == keys.key[1].id)
		why = "expected two keys with different numbers";
	if (why == NULL)
		*out = keys;
	cluster_keys_wipe(&keys);
	return why;
}

size_t
cluster_keys_print(const struct cluster_keys *keys, char *dst)
{
	size_t len = 0;

	for (unsigned i = 0; i < keys->n; i++) {
		char digits[DIGITS + 1];

		hex_encode(keys->key[i].secret, sizeof(keys->key[i].secret), digits);
		len += (size_t)snprintf(dst + len, CLUSTER_KEY_TEXT - len, "%u %s\n",
		    keys->key[i].id, digits);
		mem_wipe(digits, sizeof(digits));
	}
	return len;
}

bool
cluster_keys_have(const struct cluster_keys *keys, uint8_t id)
{
	for (unsigned i = 0; i < keys->n; i++)
		if (keys->key[i].id == id)
			return true;
	return false;
}

void
cluster_key_fingerprint(const struct cluster_key *k, char *dst)
{
	static const char label[] = "mailpair key fingerprint";
	uint8_t text[sizeof(label) + sizeof(k->secret)], sum[32];

	memcpy(text, label, sizeof(label));
	memcpy(text + sizeof(label), k->secret, sizeof(k->secret));
	sha256(text, sizeof(text), sum);
	hex_encode(sum, 4, dst);
	mem_wipe(text, sizeof(text));
}

int
cluster_keys_load(const char *path, struct cluster_keys *keys, char *why, size_t size)
{
	const char *wrong;
	struct stat st;
	char *text;
	size_t len;

	if (geteuid() == 0 && fs_trusted_why(path, why, size) == -1 && errno == EPERM)
		return -1;
	if (stat(path, &st) == -1 || fs_read(path, FILE_MAX, &text, &len) == -1) {
		snprintf(why, size, "cannot read %s: %s", path, strerror(errno));
		return -1;
	}
	wrong = cluster_keys_parse((struct span){text, len}, keys);
	mem_wipe(text, len);
	free(text);
	if ((st.st_mode & 077) != 0)
		snprintf(why, size, "%s: expected mode 0600, not %04o", path,
		    (unsigned)(st.st_mode & 07777));
	else if (wrong != NULL)
		snprintf(why, size, "%s: %s", path, wrong);
	else
		return 0;
	if (wrong == NULL)
		cluster_keys_wipe(keys);
	return -1;
}

int
cluster_keys_add(struct cluster_keys *keys)
{
	struct cluster_key *k = &keys->key[keys->n];

	if (keys->n == CLUSTER_KEYS_MAX) {
		errno = EEXIST;
		return -1;
	}
	k->id = keys->n == 0 ? 1 : (uint8_t)(keys->key[0].id % 255 + 1);
	random_bytes(k->secret, sizeof(k->secret));
	keys->n++;
	return 0;
}

void
cluster_keys_wipe(struct cluster_keys *keys)
{
	mem_wipe(keys, sizeof(*keys));
}
