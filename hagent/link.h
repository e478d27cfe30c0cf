/* link.h - a heartbeat medium: whole frames out, whole frames in, nothing known of
 * their contents.
 *
 * The descriptor comes from the executor through link_attach().  When it stops
 * working (device unplugged, interface gone) the link closes it and calls broken();
 * the owner asks the executor for a new one.  Until then link_send() drops: the next
 * heartbeat says the same. */
#ifndef HAGENT_LINK_H
#define HAGENT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hagent_conf.h"

struct event_base;
struct link;

struct link_ops {
	void (*frame)(void *arg, unsigned index, const uint8_t *, size_t);
	void (*broken)(void *arg, unsigned index, const char *why);
};

/* What a medium implements. */
struct link_medium_ops {
	/* -1 with errno: broken; 0: sent, or dropped (counted) for a reason that passes */
	int (*send)(struct link *, const uint8_t *, size_t);
	int (*read)(struct link *);	/* everything that waits; -1 with errno: broken */
	void (*reset)(struct link *);	/* a new descriptor: forget half a frame */
	void (*free)(struct link *);
};

struct link {
	const struct link_medium_ops *ops;
	const struct link_conf *conf;
	struct event_base *base;
	struct event *readable;
	const struct link_ops *owner;
	void *arg;
	unsigned index, self;
	int fd;			/* -1: waits for one */
	uint64_t dropped;	/* frames not sent for lack of room */
	void *medium;		/* the medium's own */
};

struct link *link_new(struct event_base *, const struct link_conf *, unsigned index,
    unsigned self, const struct link_ops *, void *arg);
void link_free(struct link *);
void link_attach(struct link *, int fd);	/* fd is the link's from here on */
bool link_up(const struct link *);
/* True: it left, as far as this side can know. */
bool link_send(struct link *, const uint8_t *, size_t);
/* Closes the descriptor; broken() is called. */
void link_break(struct link *, const char *why);

extern const struct link_medium_ops link_udp_ops, link_serial_ops, link_corosync_ops;

#endif
