/* corosync_facts.c - reads cmap and votequorum.
 *
 * A key that is not there is a fact like others; every loop over keys has an end.
 * Quorum of two nodes without a third vote ("two_node") is had by both halves of a
 * split pair, so it is told as proving nothing. */
#include "corosync_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 16	/* of a node list that is looked through */
#define LINKS_MAX 8	/* of knet to one node */

/* The text of a key into dst; false: not there, or longer than anything known. */
static bool
get_text(cmap_handle_t h, const char *key, char *dst, size_t size)
{
	char *s = NULL;
	bool fits;

	if (cmap_get_string(h, key, &s) != CS_OK || s == NULL)
		return false;
	fits = strlen(s) < size;
	if (fits)
		memcpy(dst, s, strlen(s) + 1);
	free(s);
	return fits;
}

bool
corosync_facts_crypto(cmap_handle_t h, struct corosync_state *s)
{
	char secauth[COROSYNC_WORD];
	bool have = get_text(h, "totem.secauth", secauth, sizeof(secauth));
	bool cipher = get_text(h, "totem.crypto_cipher", s->cipher, sizeof(s->cipher));
	bool hash = get_text(h, "totem.crypto_hash", s->hash, sizeof(s->hash));
	bool good = corosync_encrypted(have ? secauth : NULL, cipher ? s->cipher : NULL,
	    hash ? s->hash : NULL);

	if (!cipher)
		snprintf(s->cipher, sizeof(s->cipher), "%s", good ? "secauth" : "none");
	if (!hash)
		snprintf(s->hash, sizeof(s->hash), "%s", good ? "secauth" : "none");
	if (!get_text(h, "totem.cluster_name", s->cluster, sizeof(s->cluster)))
		s->cluster[0] = '\0';
	if (!get_text(h, "totem.transport", s->transport, sizeof(s->transport)))
		snprintf(s->transport, sizeof(s->transport), "knet");
	return good;
}

uint32_t
corosync_facts_peer(cmap_handle_t h, const char *peer, uint32_t own)
{
	char key[CMAP_KEYNAME_MAXLEN], name[256];
	uint32_t id, other = 0;
	unsigned others = 0;

	for (unsigned i = 0; i < NODES_MAX; i++) {
		snprintf(key, sizeof(key), "nodelist.node.%u.nodeid", i);
		if (cmap_get_uint32(h, key, &id) != CS_OK)
			continue;
		snprintf(key, sizeof(key), "nodelist.node.%u.name", i);
		if (get_text(h, key, name, sizeof(name)) && strcmp(name, peer) == 0)
			return id;
		if (id == own)
			continue;
		other = id;
		others++;
	}
	return others == 1 ? other : 0;
}

static void
count_links(cmap_handle_t stats, uint32_t node, struct corosync_state *s)
{
	char key[CMAP_KEYNAME_MAXLEN];
	uint8_t up;

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		snprintf(key, sizeof(key), "stats.knet.node%u.link%u.connected", node, i);
		if (cmap_get_uint8(stats, key, &up) != CS_OK)
			continue;
		s->links++;
		s->links_up += up != 0;
	}
}

void
corosync_facts_links(cmap_handle_t stats, struct corosync_state *s)
{
	s->links = s->links_up = 0;
	if (s->peer_nodeid != 0)
		count_links(stats, s->peer_nodeid, s);
}

static enum corosync_qdevice
qdevice_of(unsigned flags)
{
	if ((flags & VOTEQUORUM_INFO_QDEVICE_REGISTERED) == 0)
		return QDEVICE_NONE;
	if ((flags & VOTEQUORUM_INFO_QDEVICE_ALIVE) == 0)
		return QDEVICE_DEAD;
	return (flags & VOTEQUORUM_INFO_QDEVICE_CAST_VOTE) != 0 ? QDEVICE_VOTES
	    : QDEVICE_NO_VOTE;
}

cs_error_t
corosync_facts_votes(votequorum_handle_t h, struct corosync_state *s)
{
	struct votequorum_info info;
	cs_error_t rc = votequorum_getinfo(h, s->nodeid, &info);

	if (rc != CS_OK)
		return rc;
	s->votes = info.total_votes;
	s->expected = info.highest_expected;
	s->needed = info.quorum;
	s->qdevice = qdevice_of(info.flags);
	snprintf(s->why, sizeof(s->why), "%s", (info.flags & VOTEQUORUM_INFO_TWONODE) != 0
	    ? "two_node: both halves of a split pair would have it; add a quorum device" : "");
	return CS_OK;
}
