/* listener.h - a listening socket on an event base.  Each connection is accepted
 * non-blocking and close-on-exec and handed over.  Without descriptors or memory the
 * socket stays readable: then the listener rests for a moment instead of spinning, and
 * says so once.  What is wrong with one connection only is that connection's end. */
#ifndef LIB_LISTENER_H
#define LIB_LISTENER_H

#include <sys/socket.h>

struct event_base;
struct listener;

/* fd is the callee's; from is who connects. */
typedef void listener_cb(int fd, const struct sockaddr *from, void *arg);

/* Owns fd from here on.  name is for the log and has to stay. */
struct listener *listener_new(struct event_base *, int fd, const char *name, listener_cb *,
    void *arg);
void listener_free(struct listener *);		/* NULL is fine */

#endif
