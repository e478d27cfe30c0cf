/* cluster_key.h - the file of cluster keys: one key, or two while they are changed.
 *
 * A line for each: a number from 1 to 255 and 64 hexadecimal digits; the digits alone
 * are key 1.  The first key signs what is sent, every key is accepted, so two nodes
 * that share any first key of either side hear each other.  Pure but for reading. */
#ifndef HAGENT_CLUSTER_KEY_H
#define HAGENT_CLUSTER_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

#define CLUSTER_KEYS_MAX 2
#define CLUSTER_KEY_TEXT (CLUSTER_KEYS_MAX * 69 + 1)

struct cluster_keys {
	uint8_t n;
	struct cluster_key {
		uint8_t id;
		uint8_t secret[32];
	} key[CLUSTER_KEYS_MAX];
};

/* NULL, or what was expected; *out is written only on success. */
const char *cluster_keys_parse(struct span text, struct cluster_keys *out);
/* dst holds CLUSTER_KEY_TEXT bytes; the length. */
size_t cluster_keys_print(const struct cluster_keys *, char *dst);
bool cluster_keys_have(const struct cluster_keys *, uint8_t id);
/* What two people can compare; says nothing of the key.  dst holds 9 bytes. */
void cluster_key_fingerprint(const struct cluster_key *, char *dst);
/* The file must be readable by its owner only, and for root nobody else may be able to
 * write it.  -1, and the reason in why[]. */
int cluster_keys_load(const char *path, struct cluster_keys *, char *why, size_t size);
/* Adds a new key behind the present one (or the first).  -1: there are two. */
int cluster_keys_add(struct cluster_keys *);
void cluster_keys_wipe(struct cluster_keys *);

#endif
