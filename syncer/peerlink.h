/* peerlink.h - the TLS connections between the two syncds.  Node 0 listens on its
 * addresses, node 1 connects to them in turn; both show the certificate whose pin
 * the other has in its configuration.  Each connection opens with a HELLO in both
 * directions (cluster, node, channel, version).  Channel 0 carries the log's frames
 * and exists at most once; channel 1 (bulk) is handed over to the mirror as it is.
 *
 * A log connection that is silent for silent_ms is dropped and the next address
 * tried, so that replication moves to the other path. */
#ifndef SYNCER_PEERLINK_H
#define SYNCER_PEERLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

#include "span.h"

struct bufferevent;
struct event_base;
struct peerlink;

#define PEERLINK_VERSION 1
#define PEERLINK_ADDRESSES_MAX 8
#define PEERLINK_FRAME_MAX (4u << 20)
enum peerlink_channel { PEERLINK_LOG = 0, PEERLINK_BULK = 1 };

struct peerlink_conf {
	const char *cluster;
	unsigned node;			/* this one: 0 listens, 1 connects */
	char *const *addresses;		/* of node 0 */
	size_t naddresses;
	char *const *from;		/* of node 1: others at the port are strangers */
	size_t nfrom;
	uint16_t port;
	int silent_ms, ping_ms, retry_ms;
	SSL_CTX *tls;			/* borrowed */
};

struct peerlink_ops {
	void (*up)(void *arg);		/* the log channel passed its HELLO */
	/* A frame of the log channel; body is valid during the call. */
	void (*frame)(void *arg, uint8_t type, struct span body);
	void (*down)(void *arg, const char *why);
	void (*room)(void *arg);	/* unsent bytes fell below the low-water mark */
	/* A bulk connection: the callee owns it and sets its own callbacks.  Its input
	 * may hold bytes already, which no event announces.  NULL bev: it could not be
	 * made (only after peerlink_want_bulk). */
	void (*bulk)(void *arg, struct bufferevent *bev);
};

struct peerlink *peerlink_new(struct event_base *, const struct peerlink_conf *,
    const struct peerlink_ops *, void *arg);	/* NULL: cannot listen, errno */
void peerlink_free(struct peerlink *);
/* Frames go out in order; dropped when the channel is down. */
void peerlink_send(struct peerlink *, uint8_t type, const struct span *parts, size_t n);
bool peerlink_up(const struct peerlink *);
size_t peerlink_unsent(const struct peerlink *);
void peerlink_read_enable(struct peerlink *, bool on);
/* Drops the log channel; it is made again. */
void peerlink_drop(struct peerlink *, const char *why);
/* Asks for a bulk connection over the path that the log uses; either node may ask,
 * both nodes get bulk(). */
void peerlink_want_bulk(struct peerlink *);
int64_t peerlink_heard_ms(const struct peerlink *);	/* clock_ms(); -1 never */
const char *peerlink_path(const struct peerlink *);	/* address in use, or "" */

#endif
