/* about.h - what a node tells the other one for people: its wall clock, its version, how
 * full its disk is, its resources, how long it has had its role, and, while the two
 * configurations differ, the digest of each file.  Control messages (PROTOCOL.md, ABOUT
 * and FILES) that ride where a frame has room for them; no decision reads them, and
 * without them the other node's row in the status has gaps.  Pure. */
#ifndef HAGENT_ABOUT_H
#define HAGENT_ABOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config_digest.h"
#include "frame.h"

#define ABOUT_CLOCKS 8

struct about {
	int64_t wall_ms;
	uint32_t role_s;	/* since when it has its role */
	uint8_t version[3];
	int disk_used;		/* per cent; -1 unknown */
	uint8_t res_up, res_all;
};

bool about_put(const struct about *, struct frame *);	/* false: there is no room */
bool about_get(const struct frame *, struct about *);	/* false: it is not in there */
bool about_files_put(const struct config_digest *, struct frame *);
bool about_files_get(const struct frame *, struct config_digest *);
void about_version_set(struct about *, const char *);	/* "1.0.0" */
const char *about_version(const struct about *, char *buf, size_t size);

/* How far the other node's wall clock is ahead of ours.  A frame that was under way for
 * long makes it look behind, never ahead: of the last readings the highest is right. */
struct about_clock {
	unsigned n;
	int64_t ahead_ms[ABOUT_CLOCKS];
};
void about_clock_add(struct about_clock *, int64_t theirs_ms, int64_t ours_ms);
int64_t about_clock_ahead(const struct about_clock *);	/* 0 without a reading */

#endif
