/* corosync_proto.h - the words between the agent and the process that speaks to
 * corosync, one a packet, the first byte saying what it is; and what the agent may
 * conclude from them.  Pure. */
#ifndef HAGENT_COROSYNC_PROTO_H
#define HAGENT_COROSYNC_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COROSYNC_PACKET 512	/* at most */
#define COROSYNC_WORD 32
#define COROSYNC_WHY 120

enum corosync_tag {
	COROSYNC_FRAME = 'F',	/* both ways: a frame */
	COROSYNC_STATE = 'S',	/* struct corosync_state; the group is joined */
	COROSYNC_BROKEN = 'B',	/* text: why the process ends */
};

enum corosync_qdevice { QDEVICE_NONE, QDEVICE_DEAD, QDEVICE_NO_VOTE, QDEVICE_VOTES };
const char *corosync_qdevice_name(enum corosync_qdevice);

struct corosync_state {
	bool quorate;
	bool peer_member;	/* corosync counts the other node in, or does not know it */
	bool peer_joined;	/* it is in our group: its agent lives */
	uint32_t nodeid, peer_nodeid;	/* 0: not known */
	uint32_t members;
	uint32_t votes, expected, needed;
	enum corosync_qdevice qdevice;
	uint32_t links, links_up;	/* of knet, to all other nodes */
	char cluster[COROSYNC_WORD], transport[COROSYNC_WORD];
	char cipher[COROSYNC_WORD], hash[COROSYNC_WORD];
	char why[COROSYNC_WHY];	/* quorum proves nothing here, and why; "" = it does */
};

/* Both with the tag; the length, or -1 with EMSGSIZE. */
int corosync_state_encode(const struct corosync_state *, uint8_t *dst, size_t size);
int corosync_text_encode(enum corosync_tag, const char *text, uint8_t *dst, size_t size);
/* Behind the tag.  *out is written only when it is whole: 0, else -1. */
int corosync_state_decode(const uint8_t *, size_t, struct corosync_state *out);

/* What corosync.conf says of encryption: both a cipher and a hash, by themselves or by
 * secauth.  NULL: the key is not there. */
bool corosync_encrypted(const char *secauth, const char *cipher, const char *hash);

#endif
