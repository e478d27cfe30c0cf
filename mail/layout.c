/* layout.c - the small file that fixes the number of shards of this node.
 *
 * Read before anything is started, written durably and as a whole.  A file that is not
 * understood is refused, never written over: it may be of a newer version. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "layout.h"
#include "log.h"
#include "maild_conf.h"
#include "mem.h"

#define NAME "layout"
#define LAYOUT_MAX 256

/* The number in the text; 0: it is none of ours. */
static unsigned
layout_parse(const char *text)
{
	unsigned n = 0;
	int end = 0;

	if (sscanf(text, "mailpair-layout 1\nshards %4u\n%n", &n, &end) != 1 || text[end] != '\0'
	    || end == 0 || n > CONF_SHARDS_MAX)
		return 0;
	return n;
}

int
layout_check(const struct maild_conf *c, char *err, size_t errlen)
{
	char *path = mem_printf("%s/shards/" NAME, c->state_dir), *text = NULL;
	unsigned n = 0;
	size_t len;
	int rc = -1;

	if (fs_read(path, LAYOUT_MAX, &text, &len) == -1) {
		rc = errno == ENOENT ? 0 : -1;
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
	} else if ((n = layout_parse(text)) == 0) {
		snprintf(err, errlen, "%s: damaged; expected \"mailpair-layout 1\" and \"shards N\"",
		    path);
	} else if (n != c->shards) {
		snprintf(err, errlen, "shards is %u, expected %u: the store was made with that, "
		    "and it cannot change (%s)", c->shards, n, path);
	} else
		rc = 0;
	free(text);
	free(path);
	return rc;
}

int
layout_set(const struct maild_conf *c, unsigned shards)
{
	char *dir = mem_printf("%s/shards", c->state_dir);
	char *text = mem_printf("mailpair-layout 1\nshards %u\n", shards);
	int rc = fs_replace(dir, NAME, text, strlen(text), 0644);

	if (rc == -1)
		log_warn("cannot write %s/" NAME, dir);
	free(text);
	free(dir);
	return rc;
}

int
layout_make(const struct maild_conf *c)
{
	char *path = mem_printf("%s/shards/" NAME, c->state_dir), *text = NULL;
	size_t len;
	int rc = 0;

	if (fs_read(path, LAYOUT_MAX, &text, &len) == -1)
		rc = errno == ENOENT ? layout_set(c, c->shards) : -1;
	free(text);
	free(path);
	return rc;
}
