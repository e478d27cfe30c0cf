/* netaddr.h - addresses on interfaces, by rtnetlink.  Needs CAP_NET_ADMIN. */
#ifndef HAGENT_NETADDR_H
#define HAGENT_NETADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "hagent_conf.h"

/* Idempotent: 0 also when it was there before.  IPv6 without the kernel's own
 * duplicate detection (our probe has run).  -1 with errno; ENODEV: no interface. */
int netaddr_add(const struct vip_conf *);
int netaddr_del(const struct vip_conf *);	/* 0 also when it was not there */
/* 1: on its interface; 0: not; -1 with errno. */
int netaddr_present(const struct vip_conf *);

#endif
