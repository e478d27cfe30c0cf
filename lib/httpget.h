/* httpget.h - one path over HTTP/1.x, for who reads metrics: GET and HEAD, one answer a
 * connection.  Few clients at once, a bounded request, a bounded time; a client can
 * cost nothing more, and it can change nothing. */
#ifndef LIB_HTTPGET_H
#define LIB_HTTPGET_H

#include <sys/socket.h>

struct event_base;
struct evbuffer;
struct httpget;

typedef void httpget_cb(struct evbuffer *body, void *arg);

/* "127.0.0.1:9694" or "[::1]:9694": the address, or -1 and EINVAL. */
int httpget_address(const char *text, struct sockaddr_storage *);
int httpget_listen(const struct sockaddr_storage *);	/* descriptor or -1 */
/* Owns fd.  path and type have to stay; body() is called for each GET of path. */
struct httpget *httpget_new(struct event_base *, int fd, const char *path, const char *type,
    httpget_cb *body, void *arg);
void httpget_free(struct httpget *);			/* NULL is fine */

#endif
