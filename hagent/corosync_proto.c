/* corosync_proto.c - wire form of what the corosync process tells, and its rules. */
#include "corosync_proto.h"

#include <errno.h>
#include <string.h>

#include "wire.h"

const char *
corosync_qdevice_name(enum corosync_qdevice q)
{
	static const char *const names[] = { "none", "dead", "no vote", "votes" };

	return (unsigned)q < sizeof(names) / sizeof(names[0]) ? names[q] : "?";
}

static int
finish(struct wire_out *w, uint8_t *dst, size_t size)
{
	struct span s = wire_out_span(w);
	int len = -1;

	if (s.len <= size) {
		memcpy(dst, s.p, s.len);
		len = (int)s.len;
	}
	wire_out_clear(w);
	if (len == -1)
		errno = EMSGSIZE;
	return len;
}

int
corosync_state_encode(const struct corosync_state *s, uint8_t *dst, size_t size)
{
	const uint32_t numbers[] = { s->nodeid, s->peer_nodeid, s->members, s->votes,
		s->expected, s->needed, s->links, s->links_up };
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, COROSYNC_STATE);
	wire_put_u8(&w, (uint8_t)(s->quorate | s->peer_member << 1 | s->peer_joined << 2));
	wire_put_u8(&w, (uint8_t)s->qdevice);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		wire_put_u32(&w, numbers[i]);
	wire_put_str(&w, s->cluster);
	wire_put_str(&w, s->transport);
	wire_put_str(&w, s->cipher);
	wire_put_str(&w, s->hash);
	wire_put_str(&w, s->why);
	return finish(&w, dst, size);
}

int
corosync_state_decode(const uint8_t *p, size_t n, struct corosync_state *out)
{
	struct corosync_state s = { 0 };
	uint32_t *const numbers[] = { &s.nodeid, &s.peer_nodeid, &s.members, &s.votes,
		&s.expected, &s.needed, &s.links, &s.links_up };
	struct wire_in in;
	uint8_t flags;

	wire_in_init(&in, p, n);
	flags = wire_get_u8(&in);
	s.quorate = (flags & 1) != 0;
	s.peer_member = (flags & 2) != 0;
	s.peer_joined = (flags & 4) != 0;
	s.qdevice = (enum corosync_qdevice)wire_get_u8(&in);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		*numbers[i] = wire_get_u32(&in);
	wire_get_str(&in, s.cluster, sizeof(s.cluster));
	wire_get_str(&in, s.transport, sizeof(s.transport));
	wire_get_str(&in, s.cipher, sizeof(s.cipher));
	wire_get_str(&in, s.hash, sizeof(s.hash));
	wire_get_str(&in, s.why, sizeof(s.why));
	if (!wire_in_done(&in) || flags > 7 || s.qdevice > QDEVICE_VOTES)
		return -1;
	*out = s;
	return 0;
}

int
corosync_text_encode(enum corosync_tag tag, const char *text, uint8_t *dst, size_t size)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)tag);
	wire_put_raw(&w, text, strlen(text));
	return finish(&w, dst, size);
}

static bool
is_set(const char *s)
{
	return s != NULL && s[0] != '\0' && strcmp(s, "none") != 0;
}

bool
corosync_encrypted(const char *secauth, const char *cipher, const char *hash)
{
	bool both = secauth != NULL && strcmp(secauth, "on") == 0;

	return (cipher == NULL ? both : is_set(cipher)) && (hash == NULL ? both : is_set(hash));
}
