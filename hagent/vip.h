/* vip.h - one virtual address: up and down, announced to the segment, and probed
 * for before it goes up.  Runs in the executor (CAP_NET_ADMIN, CAP_NET_RAW). */
#ifndef HAGENT_VIP_H
#define HAGENT_VIP_H

#include "exec_proto.h"
#include "hagent_conf.h"

struct event_base;
struct vip;

typedef void vip_probe_cb(enum exec_vip_result, const char *error, void *arg);

struct vip *vip_new(struct event_base *, const struct vip_conf *, int probe_wait_ms);
void vip_free(struct vip *);		/* the address stays as it is */
/* VIP_ADD, VIP_DEL, VIP_ANNOUNCE, VIP_QUERY at once: the result, and on VIP_FAILED
 * the reason in errno.  Announcements go on by themselves until 10 s or vip_del. */
enum exec_vip_result vip_do(struct vip *, enum exec_vip_op);
/* Asks the segment twice within probe_wait_ms; VIP_CLEAR, VIP_TAKEN or VIP_FAILED.
 * A second probe while one runs fails with "busy". */
void vip_probe(struct vip *, vip_probe_cb *, void *arg);

#endif
