/* trimmed.c - see trimmed.h.  A text, replaced as a whole: a line "mailpair-trimmed 1", one
 * "base LSN", then "SHARD LSN" for each shard that lost a record. */
#include "trimmed.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "mem.h"
#include "span.h"

#define NAME "trimmed"
#define TEXT_MAX (SHARD_MAX * 32u)

static bool
parse(struct trimmed *t, struct span rest)
{
	struct span line, word;
	uint64_t shard, lsn;

	if (!span_cut(&rest, '\n', &line) || !span_is(line, "mailpair-trimmed 1") ||
	    !span_cut(&rest, '\n', &line) || !span_cut(&line, ' ', &word) ||
	    !span_is(word, "base") || span_u64(line, UINT64_MAX - 1, &t->base) != PARSE_OK)
		return false;
	while (rest.len > 0) {
		if (!span_cut(&rest, '\n', &line) || !span_cut(&line, ' ', &word) ||
		    span_u64(word, SHARD_MAX - 1, &shard) != PARSE_OK ||
		    span_u64(line, UINT64_MAX - 1, &lsn) != PARSE_OK)
			return false;
		t->shard[shard] = lsn;
	}
	return true;
}

int
trimmed_load(struct trimmed *t, const char *dir)
{
	char *path = mem_printf("%s/%s", dir, NAME), *buf = NULL;
	size_t len = 0;
	int rc = 0;

	memset(t, 0, sizeof(*t));
	if (fs_read(path, TEXT_MAX, &buf, &len) == -1) {
		rc = errno == ENOENT ? 0 : -1;
	} else if (!parse(t, (struct span){ buf, len })) {
		memset(t, 0, sizeof(*t));
		errno = EBADMSG;
		rc = -1;
	}
	free(buf);
	free(path);
	return rc;
}

int
trimmed_save(const struct trimmed *t, const char *dir)
{
	char *text = mem_alloc(TEXT_MAX);
	size_t n;
	int rc;

	n = (size_t)snprintf(text, TEXT_MAX, "mailpair-trimmed 1\nbase %llu\n",
	    (unsigned long long)t->base);
	for (unsigned i = 0; i < SHARD_MAX && n < TEXT_MAX; i++)
		if (t->shard[i] != 0)
			n += (size_t)snprintf(text + n, TEXT_MAX - n, "%u %llu\n", i,
			    (unsigned long long)t->shard[i]);
	rc = fs_replace(dir, NAME, text, n, 0600);
	free(text);
	return rc;
}

void
trimmed_add(struct trimmed *t, const uint64_t last[SHARD_MAX])
{
	for (unsigned i = 0; i < SHARD_MAX; i++)
		if (last[i] > t->shard[i])
			t->shard[i] = last[i];
}

void
trimmed_reset(struct trimmed *t, uint64_t lsn)
{
	memset(t, 0, sizeof(*t));
	t->base = lsn;
}

uint64_t
trimmed_last(const struct trimmed *t, uint16_t shard)
{
	uint64_t last = shard < SHARD_MAX ? t->shard[shard] : 0;

	return last > t->base ? last : t->base;
}
