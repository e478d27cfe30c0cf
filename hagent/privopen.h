/* privopen.h - descriptors that only root can make, for the agent. */
#ifndef HAGENT_PRIVOPEN_H
#define HAGENT_PRIVOPEN_H

#include "hagent_conf.h"

/* A bound UDP socket, or a serial line in raw mode.  -1 with errno. */
int privopen_link(const struct link_conf *, unsigned self);
int privopen_udp(const struct link_conf *, unsigned self);
/* A raw ICMP or ICMPv6 socket that lets only echo replies through. */
int privopen_ping(const struct ping_conf *);
/* Raw mode, the speed, no modem control; also on a pty. */
int privopen_tty_setup(int fd, uint32_t baud);

#endif
