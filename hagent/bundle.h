/* bundle.h - the files that hactl setup makes for the other node, in one text.  Pure.
 *
 *   mailpair-join 1
 *   node NAME
 *   file NAME MODE BASE64		any number
 *   end
 *
 * It holds keys: mode 0600, carried by scp, and removed when it is installed.  What came
 * over is compared by its fingerprint, 16 digits of SHA-256 that a person types. */
#ifndef HAGENT_BUNDLE_H
#define HAGENT_BUNDLE_H

#include <stdio.h>

#include "span.h"

#define BUNDLE_MAX (1u << 20)
#define BUNDLE_FILES_MAX 16
#define BUNDLE_PRINT 20 /* "xxxx-xxxx-xxxx-xxxx" and its NUL */

struct bundle_file {
	char name[64]; /* relative, without "..": "tls/mail.key" */
	unsigned mode; /* 0600 or 0644 */
	char *data;
	size_t len;
};
struct bundle {
	char node[65];
	size_t n;
	struct bundle_file file[BUNDLE_FILES_MAX];
};

/* Takes data over, which has to be malloc()ed.  -1: too many, or the name is no good. */
int bundle_add(struct bundle *, const char *name, unsigned mode, char *data, size_t len);
void bundle_write(const struct bundle *, FILE *);
/* NULL, or what is wrong with it; *out is filled only on success. */
const char *bundle_read(struct span text, struct bundle *out);
void bundle_clear(struct bundle *); /* wipes it */
void bundle_fingerprint(struct span text, char dst[BUNDLE_PRINT]);

#endif
