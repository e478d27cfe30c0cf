/* dir_hash.h - password hashes (yescrypt, crypt(3)) computed in threads beside the
 * event loop, and a small memory of passwords that were right. */
#ifndef MAIL_DIR_HASH_H
#define MAIL_DIR_HASH_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct dir_hash;
struct dir_cache;

/* verify: ok says whether it fits; make: hash is the new one, NULL when it failed. */
typedef void dir_hash_cb(void *arg, bool ok, const char *hash);

struct dir_hash *dir_hash_new(struct event_base *, unsigned threads, unsigned queue_max,
    unsigned cost);
void dir_hash_free(struct dir_hash *);		/* waits for the jobs that run; no cb comes */
/* -1 with EAGAIN when too many jobs wait.  stored NULL: spends the same time and says
 * no, so that an unknown user cannot be told from a wrong password. */
int dir_hash_verify(struct dir_hash *, const char *password, const char *stored, dir_hash_cb *,
    void *arg);
int dir_hash_make(struct dir_hash *, const char *password, dir_hash_cb *, void *arg);

/* Holds keyed digests of (user, stored hash, password), so that a changed password is
 * forgotten by itself.  life_ms 0: remembers nothing. */
struct dir_cache *dir_cache_new(unsigned entries, int64_t life_ms);
void dir_cache_free(struct dir_cache *);
bool dir_cache_has(struct dir_cache *, uint64_t user, const char *stored, const char *password,
    int64_t now_ms);
void dir_cache_add(struct dir_cache *, uint64_t user, const char *stored, const char *password,
    int64_t now_ms);

#endif
