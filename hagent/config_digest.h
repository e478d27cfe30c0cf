/* config_digest.h - one number for all three configuration files, to compare the two
 * nodes by.  Of hagent.conf every setting counts as parsed, of syncd.conf and
 * maild.conf in the same folder every byte: their syntax is not known here. */
#ifndef HAGENT_CONFIG_DIGEST_H
#define HAGENT_CONFIG_DIGEST_H

#include <stdint.h>

struct hagent_conf;

/* A file that is not there counts as such.  -1 with errno: one cannot be read, and
 * *file names it. */
int config_digest(const struct hagent_conf *, uint32_t *digest, const char **file);

#endif
