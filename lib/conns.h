/* conns.h - the connections of one listening socket: accepted, listed, counted, and ended
 * with it.  What they say, how many may be there and how long they may take is their
 * owner's business.
 *
 * A struct conn is the first member of the owner's struct for a connection. */
#ifndef LIB_CONNS_H
#define LIB_CONNS_H

#include <stddef.h>
#include <sys/queue.h>

struct bufferevent;
struct conns;
struct event_base;

struct conn {
	LIST_ENTRY(conn) link;
	struct conns *all;
	struct bufferevent *bev;	/* closes its descriptor */
};

/* fd is the callee's: conns_add() or close(). */
typedef void conns_accept_cb(int fd, void *arg);
/* Has to call conns_remove(). */
typedef void conns_end_cb(struct conn *);

/* Owns fd.  name is for the log and has to stay. */
struct conns *conns_new(struct event_base *, int fd, const char *name, conns_accept_cb *,
    conns_end_cb *, void *arg);
void conns_free(struct conns *);	/* ends each one; NULL is fine */
size_t conns_count(const struct conns *);
struct conn *conns_oldest(const struct conns *);	/* NULL: there is none */
/* Reads and writes from here on, at most read_max bytes ahead; options: bev_options beside
 * BEV_OPT_CLOSE_ON_FREE.  The caller sets the callbacks. */
void conns_add(struct conns *, struct conn *, int fd, int options, size_t read_max);
void conns_remove(struct conn *);	/* closes it; the memory is the caller's */

#endif
