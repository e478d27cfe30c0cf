/* frame.c - encode and decode the authenticated frame of PROTOCOL.md.
 *
 * Refuses by cheap comparisons first, but believes nothing before the MAC: the
 * order of the checks only decides which counter grows.  Keys are per medium,
 * channel and sender, so a frame that is reflected or carried to another link
 * fails at its sender or channel number, and would fail at the MAC as well.
 *
 * Can fail: OpenSSL (treated as a bad MAC, and as -1 when encoding).  Does not
 * judge whether a frame is new: see peer.c. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "frame.h"
#include "hex.h"
#include "hook.h"
#include "sha256.h"
#include "wire.h"

#define MAGIC 0x4d50		/* "MP" */
#define VERSION 1
#define CONTROL_LEN 20		/* u32 arg, u64 gen, u64 lsn */
#define CONTROL_SIZE (2 + CONTROL_LEN)

const char *
frame_rc_name(enum frame_rc rc)
{
	static const char *const names[FRAME_RCS] = { "ok", "short", "magic", "length",
		"cluster", "key", "mac", "sender", "channel", "malformed", "replay", "old-boot" };

	return (unsigned)rc < FRAME_RCS ? names[rc] : "unknown";
}

static int
hkdf(const uint8_t key[32], const char *info, size_t info_len, uint8_t *out, size_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	static const unsigned char salt[] = "mailpair frame 1";
	int ok;

	if (ctx == NULL)
		return -1;
	ok = EVP_PKEY_derive_init(ctx) > 0
	    && EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) > 0
	    && EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt, sizeof(salt) - 1) > 0
	    && EVP_PKEY_CTX_set1_hkdf_key(ctx, key, 32) > 0
	    && EVP_PKEY_CTX_add1_hkdf_info(ctx, (const unsigned char *)info, (int)info_len) > 0
	    && EVP_PKEY_derive(ctx, out, &len) > 0;
	EVP_PKEY_CTX_free(ctx);
	return ok ? 0 : -1;
}

int
frame_derive(const uint8_t cluster_key[32], uint8_t key_id, const char *cluster,
    const char *medium, uint8_t channel, uint8_t sender, struct frame_key *out)
{
	char info[512];
	int n;

	/* The name stands last: it is the only part that may hold any character. */
	n = snprintf(info, sizeof(info), "mac %s %u from %u %s", medium, channel, sender, cluster);
	if (n < 0 || (size_t)n >= sizeof(info)) {
		errno = EMSGSIZE;
		return -1;
	}
	out->id = key_id;
	return hkdf(cluster_key, info, (size_t)n, out->secret, sizeof(out->secret));
}

int
frame_cluster_id(const char *cluster, uint8_t id[16])
{
	char text[512];
	uint8_t sum[32];
	int n = snprintf(text, sizeof(text), "mailpair identity 1 %s", cluster);

	if (n < 0 || (size_t)n >= sizeof(text)) {
		errno = EMSGSIZE;
		return -1;
	}
	sha256(text, (size_t)n, sum);
	memcpy(id, sum, 16);
	return 0;
}

/* The same order as in PROTOCOL.md; frame_decode() reads it with wire.h. */
static void
put_head(const struct frame *f, const uint8_t cluster[8], uint8_t key_id, size_t len,
    uint8_t *p)
{
	wire_store16(p, MAGIC);
	p[2] = VERSION;
	p[3] = f->type;
	p[4] = key_id;
	p[5] = f->channel;
	wire_store16(p + 6, (uint16_t)len);
	memcpy(p + 8, cluster, 8);
	p[16] = f->sender;
	p[17] = f->role;
	p[18] = f->mode;
	p[19] = (uint8_t)(f->gen_kind << 1 | (f->gen_node & 1));
	wire_store16(p + 20, f->flags);
	p[22] = f->ncontrols;
	p[23] = f->score;
	wire_store32(p + 24, f->config);
	wire_store32(p + 28, f->boot);
	wire_store32(p + 32, f->echo_boot);
	wire_store64(p + 36, f->seq);
	wire_store64(p + 44, f->gen);
	wire_store64(p + 52, f->fixed);
	wire_store64(p + 60, f->durable);
	wire_store64(p + 68, f->applied);
	wire_store64(p + 76, f->echo_seq);
	wire_store64(p + 84, f->order);
	memcpy(p + 92, f->nonce, 16);
	memcpy(p + 108, f->echo_nonce, 16);
}

int
frame_encode(const struct frame *f, const uint8_t cluster[8], const struct frame_key *key,
    uint8_t *dst, size_t size)
{
	size_t len = FRAME_HEAD + (size_t)f->ncontrols * CONTROL_SIZE;
	uint8_t *p = dst + FRAME_HEAD;

	assert(f->ncontrols <= FRAME_CONTROLS);
	if (len + FRAME_MAC > size) {
		errno = EMSGSIZE;
		return -1;
	}
	put_head(f, cluster, key->id, len + FRAME_MAC, dst);
	for (unsigned i = 0; i < f->ncontrols; i++, p += CONTROL_SIZE) {
		p[0] = f->controls[i].type;
		p[1] = CONTROL_LEN;
		wire_store32(p + 2, f->controls[i].arg);
		wire_store64(p + 6, f->controls[i].gen);
		wire_store64(p + 14, f->controls[i].lsn);
	}
	if (sha256_hmac(key->secret, (struct span){ (const char *)dst, len }, dst + len) == -1)
		return -1;
	return (int)(len + FRAME_MAC);
}

static enum frame_rc
check_mac(const uint8_t *p, size_t len, const struct frame_keys *keys)
{
	enum frame_rc rc = FRAME_KEY;
	struct span head = { (const char *)p, len - FRAME_MAC };
	uint8_t want[FRAME_MAC];

	for (unsigned i = 0; i < keys->nkeys && i < 2; i++) {
		if (keys->key[i].id != p[4])
			continue;
		if (sha256_hmac(keys->key[i].secret, head, want) == 0
		    && CRYPTO_memcmp(want, p + len - FRAME_MAC, FRAME_MAC) == 0)
			return FRAME_OK;
		rc = FRAME_BAD_MAC;
	}
	return rc;
}

/* Unknown controls are skipped: an older program must understand a newer one. */
static bool
get_controls(struct wire_in *in, unsigned n, struct frame *f)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t type = wire_get_u8(in), len = wire_get_u8(in);
		struct control c = { .type = type };

		if (type < CTRL_RELEASE || type >= CTRLS) {
			for (unsigned k = 0; k < len; k++)
				wire_get_u8(in);
			continue;
		}
		c.arg = wire_get_u32(in);
		c.gen = wire_get_u64(in);
		c.lsn = wire_get_u64(in);
		if (len != CONTROL_LEN || !wire_in_ok(in) || f->ncontrols >= FRAME_CONTROLS)
			return false;
		f->controls[f->ncontrols++] = c;
	}
	return wire_in_done(in);
}

static bool
get_body(const uint8_t *p, size_t len, struct frame *f)
{
	struct wire_in in;
	uint8_t kind, n;

	*f = (struct frame) { .type = p[3], .key_id = p[4], .channel = p[5] };
	wire_in_init(&in, p + 16, len - 16);
	f->sender = wire_get_u8(&in);
	f->role = wire_get_u8(&in);
	f->mode = wire_get_u8(&in);
	kind = wire_get_u8(&in);
	f->gen_kind = kind >> 1;
	f->gen_node = kind & 1;
	f->flags = wire_get_u16(&in);
	n = wire_get_u8(&in);
	f->score = wire_get_u8(&in);
	f->config = wire_get_u32(&in);
	f->boot = wire_get_u32(&in);
	f->echo_boot = wire_get_u32(&in);
	f->seq = wire_get_u64(&in);
	f->gen = wire_get_u64(&in);
	f->fixed = wire_get_u64(&in);
	f->durable = wire_get_u64(&in);
	f->applied = wire_get_u64(&in);
	f->echo_seq = wire_get_u64(&in);
	f->order = wire_get_u64(&in);
	wire_get_raw(&in, f->nonce, 16);
	wire_get_raw(&in, f->echo_nonce, 16);
	/* The two bounds keep later arithmetic from wrapping. */
	return f->type == FRAME_HEARTBEAT && f->boot != 0 && f->seq != 0
	    && f->fixed < UINT64_MAX / 2 && f->gen < UINT64_MAX / 2
	    && f->gen_kind <= GEN_MERGE && get_controls(&in, n, f);
}

enum frame_rc
frame_decode(const uint8_t *p, size_t len, const struct frame_expect *x, struct frame *out)
{
	enum frame_rc rc;
	struct frame f;

	if (len < FRAME_HEAD + FRAME_MAC || len > FRAME_MAX)
		return FRAME_SHORT;
	if (wire_load16(p) != MAGIC || p[2] != VERSION)
		return FRAME_MAGIC;
	if (wire_load16(p + 6) != len)
		return FRAME_LENGTH;
	if (memcmp(p + 8, x->cluster, 8) != 0)
		return FRAME_CLUSTER;
	if (p[16] != x->sender)
		return FRAME_SENDER;
	if (p[5] != x->channel)
		return FRAME_CHANNEL;
	if ((rc = check_mac(p, len, x->keys)) != FRAME_OK)
		return rc;
	if (!get_body(p, len - FRAME_MAC, &f))
		return FRAME_MALFORMED;
	*out = f;
	return FRAME_OK;
}

bool
frame_window_take(struct frame_window *w, uint64_t seq)
{
	uint64_t back;

	if (seq > w->top) {
		uint64_t ahead = seq - w->top;

		/* Whether those before the first one were taken by a process before this
		 * one, nobody knows. */
		w->bits = w->top == 0 ? UINT64_MAX : ahead >= 64 ? 0 : w->bits << ahead;
		w->bits |= 1;
		w->top = seq;
		return true;
	}
	back = w->top - seq;
	if (hook_on("accept-replayed-frame"))
		return true;
	if (back >= 64 || (w->bits >> back & 1) != 0)
		return false;
	w->bits |= (uint64_t)1 << back;
	return true;
}
