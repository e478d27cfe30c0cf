/* peer.h - what is known of the other node, from accepted frames only.
 *
 * Three grades, and the policy needs all of them:
 *   silent    no authentic new frame on any link for deadtime.  Only this may
 *             become part of a presumption that the peer is gone.
 *   (neither) something is heard, but the peer does not prove that it hears us:
 *             a one-way link, or its first frames after a restart of either.
 *   alive     it echoes our nonce of this boot and a recent one of our frames on
 *             the same link: it speaks now, and hears us.
 * Contents (role, generation, controls) are taken only from frames of the last
 * grade, so a recorded or long delayed frame commands nothing.
 *
 * No clock, no socket; `now` is an argument. */
#ifndef HAGENT_PEER_H
#define HAGENT_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

#define PEER_LINKS 8
#define PEER_BUCKETS 16		/* lateness: 0, 1, 2-3, 4-7 ... ms */
#define PEER_SENT 64		/* send times that are remembered per link */

struct peer_link_stat {
	uint64_t accepted, lost, sent;
	uint64_t refused[FRAME_RCS];
	uint32_t late[PEER_BUCKETS];
	uint64_t late_sum_ms;
	int64_t late_max_ms;
};

struct peer_link {
	int64_t keepalive_ms, dead_ms, warn_ms;
	int64_t heard_ms;	/* any accepted frame; -1 never */
	int64_t proof_ms;	/* an accepted frame with a fresh echo; -1 never */
	int64_t echoed_ms;	/* when the frame was sent that the peer echoed last; -1 */
	uint64_t seq;		/* last one sent */
	uint64_t echo_seq;	/* highest accepted from the peer, in this boot of it */
	int64_t sent_ms[PEER_SENT];
	struct frame_window window;
	struct peer_link_stat stat;
};

struct peer {
	uint8_t node;		/* our own */
	uint32_t boot;		/* our own */
	uint8_t nonce[16];	/* our own, fresh for this boot */
	uint32_t peer_boot;	/* highest accepted */
	uint32_t kept_boot;	/* highest that is durable; contents of later ones do not count */
	bool peer_nonce_known;
	uint8_t peer_nonce[16];
	int64_t start_ms;
	unsigned nlinks;
	struct peer_link link[PEER_LINKS];
	bool have;		/* last is filled, and of the peer's present boot */
	bool ever;		/* have was true once */
	uint64_t order;		/* own counter over all links */
	struct frame last;	/* newest proven frame */
	int64_t last_ms;
	int64_t answers_ms;	/* when the frame of ours was sent that last echoes */
};

/* What the policy sees. */
struct peer_view {
	bool alive;
	bool silent;
	int64_t silent_ms;	/* how long nothing was heard (from our start, if never) */
	bool ever;		/* alive at least once in this boot of ours */
	bool have;		/* f is from the peer's present boot */
	uint32_t boot;
	struct frame f;		/* newest proven contents */
	int64_t answers_ms;	/* f was sent after we sent something at this time */
	unsigned links_alive, links;
};

enum peer_link_state { PEER_LINK_NEVER, PEER_LINK_OK, PEER_LINK_WARN, PEER_LINK_ONE_WAY, PEER_LINK_DEAD };
const char *peer_link_state_name(enum peer_link_state);

/* peer_boot: highest known from ha/state. */
void peer_init(struct peer *, uint8_t node, uint32_t boot, const uint8_t nonce[16],
    uint32_t peer_boot, int64_t now_ms);
/* Returns the channel number, which must be the same on both nodes: the order in the
 * configuration.  -1 when there are too many. */
int peer_add_link(struct peer *, int64_t keepalive_ms, int64_t warn_ms, int64_t dead_ms);
/* Sets sender, channel, boot, seq, nonce and echo of a frame about to be sent. */
void peer_stamp(struct peer *, unsigned link, int64_t now_ms, struct frame *);
/* An authentic frame of this boot came, and it is on our disk that it did.  Until this
 * is said before peer_accept(), frames of the boot break the silence and no more: after
 * a restart of ours they would be taken again, from whoever recorded them. */
void peer_kept(struct peer *, uint32_t boot);
/* An authentic frame (frame_decode() said FRAME_OK) came in.  FRAME_OK, FRAME_REPLAY
 * or FRAME_OLD_BOOT. */
enum frame_rc peer_accept(struct peer *, unsigned link, const struct frame *, int64_t now_ms);
/* A frame that did not get that far: counts. */
void peer_refused(struct peer *, unsigned link, enum frame_rc);
void peer_look(const struct peer *, int64_t now_ms, struct peer_view *);
enum peer_link_state peer_link_state(const struct peer *, unsigned link, int64_t now_ms);
/* The next moment at which time alone changes what is said of a link; INT64_MAX: none. */
int64_t peer_next_ms(const struct peer *, int64_t now_ms);
/* Lateness below which `percent` of the frames came, in ms: the upper end of a bucket, or
 * the highest that was seen. */
int64_t peer_late_ms(const struct peer_link_stat *, unsigned percent);
const struct control *peer_control(const struct peer_view *, enum control_type);

#endif
