/* ping.h - asks one ping target by ICMP or ICMPv6 echo whether it is there.  A vote
 * against ourselves only: no answer can mean that this node is cut off. */
#ifndef HAGENT_PING_H
#define HAGENT_PING_H

#include <stdbool.h>
#include <stdint.h>

#include "hagent_conf.h"

struct event_base;
struct ping;

struct ping *ping_new(struct event_base *, const struct ping_conf *);
void ping_free(struct ping *);
void ping_attach(struct ping *, int fd);	/* from the executor; owned */
bool ping_attached(const struct ping *);
void ping_send(struct ping *);
int64_t ping_heard_ms(const struct ping *);	/* clock_ms() of the last answer; -1 never */
int64_t ping_rtt_us(const struct ping *);	/* of the last answer; -1 */

#endif
