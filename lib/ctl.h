/* ctl.h - the control sockets that hactl and mailctl speak to.
 * One JSON object a line in each direction.  Request: {"op": "...", ...}.
 * Answer: any number of {"schema":1,"part":...} lines, then one that has "exit"
 * (an exit code of the table below) and, unless it is 0, "error", and optionally
 * "why" and "hint" (strings, or arrays of strings).  A client may ask again behind
 * the answer; one that says nothing for a minute is dropped. */
#ifndef LIB_CTL_H
#define LIB_CTL_H

#include <stdbool.h>
#include <jansson.h>
#include <sys/types.h>

struct event_base;
struct ctl_server;
struct ctl_call;	/* one request that waits for its answer */

enum ctl_exit {		/* the exit codes of hactl and mailctl */
	CTL_OK = 0, CTL_WARNING = 1, CTL_CRITICAL = 2, CTL_UNKNOWN = 3,
	CTL_USAGE = 10, CTL_DENIED = 11, CTL_NOT_FOUND = 12, CTL_CONFLICT = 13,
	CTL_REFUSED = 14, CTL_NO_PEER = 15, CTL_TIMEOUT = 16, CTL_ROLLED_BACK = 17,
	CTL_HALF_DONE = 18, CTL_BAD_CONFIG = 19,
};

/* Called with a borrowed request; the answer comes by ctl_done(), now or later. */
typedef void ctl_request_cb(struct ctl_call *, json_t *request, void *arg);

/* fd is a listening Unix socket (ipc_listen), owned from here on. */
struct ctl_server *ctl_server_new(struct event_base *, int fd, ctl_request_cb *, void *);
void ctl_server_free(struct ctl_server *);
uid_t ctl_uid(const struct ctl_call *);		/* who asks */
/* Sends one part; takes the reference of data. */
void ctl_part(struct ctl_call *, json_t *data);
/* Bytes of the answer that the client has not read yet, and a call from the loop each
 * time when there are none left: what goes on for long sends in pieces. */
size_t ctl_unread(const struct ctl_call *);
void ctl_on_drained(struct ctl_call *, void (*cb)(struct ctl_call *, void *), void *arg);
/* Ends the call; takes the reference of data (NULL: none), merged into the last line.
 * error, why, hint may be NULL. */
void ctl_done(struct ctl_call *, enum ctl_exit, json_t *data, const char *error,
    const char *why, const char *hint);
/* Called when the client hangs up before ctl_done(); the call is freed behind it.
 * Without it the call stays until ctl_done(), whose answer goes nowhere. */
void ctl_on_gone(struct ctl_call *, void (*cb)(struct ctl_call *, void *), void *arg);

/* Client side, blocking.  Sends the request (borrowed), calls part() for each part
 * line with what ctl_part() was given (borrowed; NULL: ignored), returns the exit code
 * and the last line in *last (new reference; NULL when there was none).  CTL_UNKNOWN
 * when nobody answers, CTL_DENIED when the socket may not be opened, CTL_TIMEOUT when
 * nothing comes for timeout_ms (-1: wait for ever). */
enum ctl_exit ctl_ask(const char *socket_path, json_t *request, int timeout_ms,
    void (*part)(json_t *, void *), void *arg, json_t **last);
/* Prints ERROR, WHY and HINT of a last line to stderr. */
void ctl_complain(json_t *last);

#endif
