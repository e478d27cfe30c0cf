/* syncd_host.h - what syncd offers to others: the mirror's host functions and the
 * control socket's operations. */
#ifndef SYNCER_SYNCD_HOST_H
#define SYNCER_SYNCD_HOST_H

#include <jansson.h>

struct ctl_call;
struct syncd;

/* Makes the mirror and hands it what seed.h promises; worker_fd as in seed.h. */
void syncd_host_mirror(struct syncd *, int worker_fd);
/* ctl_request_cb; arg is the struct syncd. */
void syncd_host_request(struct ctl_call *, json_t *request, void *arg);

#endif
