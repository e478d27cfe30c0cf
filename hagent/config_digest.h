/* config_digest.h - one number for all three configuration files, to compare the two
 * nodes by, and one for each file, to find the one that differs.  Of hagent.conf every
 * setting counts as parsed, of syncd.conf and maild.conf in the same folder every byte:
 * their syntax is not known here. */
#ifndef HAGENT_CONFIG_DIGEST_H
#define HAGENT_CONFIG_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define CONFIG_FILES 3

struct hagent_conf;

struct config_digest {
	uint32_t all;
	uint32_t file[CONFIG_FILES];	/* 0: it is not there */
};

/* A file that is not there counts as such.  -1 with errno: one cannot be read, and
 * *file names it. */
int config_digest(const struct hagent_conf *, struct config_digest *, const char **file);
const char *config_digest_file(unsigned);	/* its name */
/* The names of those that differ, as "syncd.conf, maild.conf"; buf. */
const char *config_digest_differ(const uint32_t a[CONFIG_FILES], const uint32_t b[CONFIG_FILES],
    char *buf, size_t size);

#endif
