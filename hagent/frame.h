/* frame.h - the one authenticated frame that travels on every link (PROTOCOL.md),
 * and the wrapper that carries it over a serial line.
 *
 * Pure: bytes in, struct out.  A frame that frame_decode() refuses has changed
 * nothing.  Whether an authentic frame is new is decided in peer.h, which holds
 * the windows; this file only knows how a window works. */
#ifndef HAGENT_FRAME_H
#define HAGENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen.h"

#define FRAME_HEAD 124		/* fixed part, before the control payload */
#define FRAME_MAC 32
#define FRAME_MAX 244		/* head, payload and MAC; fits the serial wrapper */
#define FRAME_CONTROLS 4	/* most control messages in one frame */

enum frame_type { FRAME_HEARTBEAT = 1 };

/* Why a frame was refused; the counters of `hactl links` have these names. */
enum frame_rc {
	FRAME_OK,
	FRAME_SHORT,		/* or longer than any frame */
	FRAME_MAGIC,		/* not ours, or another version */
	FRAME_LENGTH,		/* length field and datagram differ */
	FRAME_CLUSTER,		/* another pair */
	FRAME_KEY,		/* no such key id */
	FRAME_BAD_MAC,
	FRAME_SENDER,		/* our own frame reflected, or no node */
	FRAME_CHANNEL,		/* recorded on another link */
	FRAME_MALFORMED,	/* authentic, but it cannot be read */
	FRAME_REPLAY,		/* not newer than what was accepted */
	FRAME_OLD_BOOT,		/* from before a restart of the peer */
	FRAME_RCS
};
const char *frame_rc_name(enum frame_rc);

/* flags */
#define FRAME_F_SYNCD 0x0001		/* the local syncd answers; data fields are known */
#define FRAME_F_NO_SYNCD 0x0002		/* this pair is configured without syncd */
#define FRAME_F_TAKE 0x0004		/* in sync and nothing speaks against taking over */
#define FRAME_F_OUTDATED 0x0008
#define FRAME_F_KEPT_OUT 0x0010		/* an operator keeps this node out */
#define FRAME_F_HEALTHY 0x0020		/* its resources may be started there */
#define FRAME_F_PING 0x0040		/* a ping target answers */
#define FRAME_F_LEAVING 0x0080		/* shutting down in order */
#define FRAME_F_DATA_ACTIVE 0x0100	/* syncd is active */
#define FRAME_F_EMPTY 0x0200		/* no record yet */
#define FRAME_F_WATCHDOG 0x0400		/* its watchdog is armed, at most as long as configured */
#define FRAME_F_MAINTENANCE 0x0800	/* nothing happens by itself there */
#define FRAME_F_FREED 0x1000		/* leaving the active role: the addresses are down */
#define FRAME_F_SLOW 0x2000		/* the disk of its log is slow */
#define FRAME_F_FULL 0x4000		/* and has no room */

/* Control messages are states, not events: each rides in every frame for as long as
 * it is true, so a lost frame loses nothing and a repeated one changes nothing. */
enum control_type {
	CTRL_RELEASE = 1,	/* gen, lsn: I stopped acknowledging in gen for ever;
				 * arg: enum policy_reason */
	CTRL_DECLINE,		/* gen: I shall not take the RELEASE(gen) */
	CTRL_OUTDATE,		/* gen: forget that you are in sync up to gen */
	CTRL_OUTDATED,		/* gen: done, durably unless the disk takes nothing */
	CTRL_REQUEST,		/* arg: request id, gen: enum policy_op; do this for an operator */
	CTRL_ANSWER,		/* arg: request id, gen: exit code of hactl */
	CTRL_SWITCH,		/* what made me active: policy_switch.c */
	CTRL_ALONE,		/* gen: the newest in my log that acknowledged alone */
	CTRL_ABOUT,		/* for people only: about.h */
	CTRL_FILES,		/* the same */
	CTRLS
};
struct control {
	uint8_t type;
	uint32_t arg;
	uint64_t gen, lsn;
};

struct frame {
	uint8_t type;
	uint8_t key_id;
	uint8_t channel;
	uint8_t sender;		/* node 0 or 1 */
	uint8_t role;		/* enum ha_role */
	uint8_t mode;		/* enum data_mode */
	uint16_t flags;
	uint8_t score;		/* of the ping targets that answer there */
	uint32_t config;	/* digest of the configuration, for comparing */
	uint32_t boot;
	uint64_t seq;		/* counts per channel within a boot */
	uint64_t order;		/* counts over all channels: which content is newer */
	uint64_t gen;		/* newest generation in the log (without syncd: fixed) */
	uint64_t fixed;		/* highest generation number this node knows of */
	uint8_t gen_kind;
	uint8_t gen_node;
	uint64_t durable, applied;
	uint8_t nonce[16];	/* of this boot of the sender; the peer echoes it */
	uint32_t echo_boot;	/* what the sender has of us: boot, */
	uint64_t echo_seq;	/* highest seq accepted on this channel, */
	uint8_t echo_nonce[16];	/* and nonce */
	uint8_t ncontrols;
	struct control controls[FRAME_CONTROLS];
};

/* One direction of one channel.  Two keys are accepted (old and new, while the
 * cluster key is changed), the first is used for sending. */
struct frame_key {
	uint8_t id;
	uint8_t secret[32];
};
struct frame_keys {
	struct frame_key key[2];
	uint8_t nkeys;
};
/* What a receiver on one channel expects. */
struct frame_expect {
	uint8_t cluster[8];
	uint8_t sender;		/* the peer's node number */
	uint8_t channel;
	const struct frame_keys *keys;
};

/* HKDF-SHA256 of the 32-byte cluster key: another key for each cluster name, medium,
 * channel and sender.  -1 when OpenSSL fails. */
int frame_derive(const uint8_t cluster_key[32], uint8_t key_id, const char *cluster,
    const char *medium, uint8_t channel, uint8_t sender, struct frame_key *out);
/* The pair's identity as it stands in ha/state; frames carry the first 8 bytes.  Made of
 * the name alone, so that it outlives every key. */
int frame_cluster_id(const char *cluster, uint8_t id[16]);

/* Length written, or -1 with EMSGSIZE. */
int frame_encode(const struct frame *, const uint8_t cluster[8], const struct frame_key *,
    uint8_t *dst, size_t size);
/* *out is written only for FRAME_OK. */
enum frame_rc frame_decode(const uint8_t *, size_t, const struct frame_expect *,
    struct frame *out);

/* 64 wide: true, and remembered, when seq is new and not older than the window, which
 * begins with the first one taken. */
struct frame_window {
	uint64_t top, bits;
};
bool frame_window_take(struct frame_window *, uint64_t seq);

/* ---- serial wrapper: COBS(frame, CRC-16), 0 as delimiter on both sides ---- */
#define SERIAL_MAX 256
#define SERIAL_BITS 10		/* of a byte on the line: start, eight, stop */
/* Bytes written into dst[SERIAL_MAX], or -1 with EMSGSIZE. */
int serial_wrap(const uint8_t *frame, size_t len, uint8_t *dst, size_t size);

struct serial_in {
	uint8_t buf[SERIAL_MAX];
	size_t len;
	bool skip;		/* too long, or torn at the start: wait for a delimiter */
	uint64_t bad;		/* runs of bytes that were no frame */
};
void serial_in_init(struct serial_in *);
/* One byte of the line; the length of a frame now in out[FRAME_MAX], or 0. */
size_t serial_feed(struct serial_in *, uint8_t byte, uint8_t out[FRAME_MAX]);

#endif
