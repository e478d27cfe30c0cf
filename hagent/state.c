/* state.c - the agent's persisted state (the file format is in PROTOCOL.md).
 *
 * Promises: a state that state_load() returned was written whole by state_save().
 * Two copies, both on the disk before either takes its name, so each is whole at
 * every moment (on a full disk one of them); the higher serial number wins.  Refuses (-1) when no copy is good but
 * at least one is there: starting with a fresh state would use generation numbers
 * twice. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "fs.h"
#include "log.h"
#include "state.h"

#define MAGIC 0x4d504853u	/* "MPHS" */
#define VERSION 2
#define FILE_MAX (64u << 10)

static const char *const copies[2] = { "state", "state.2" };

void
state_init(struct state *s, const uint8_t cluster[16], uint8_t node)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->cluster, cluster, sizeof(s->cluster));
	s->node = node;
}

static void
put_switch(struct wire_out *o, const struct state_switch *w)
{
	wire_put_u64(o, (uint64_t)w->wall_ms);
	wire_put_u64(o, w->gen);
	wire_put_u8(o, w->kind);
	wire_put_u8(o, w->from);
	wire_put_u8(o, w->to);
	wire_put_u8(o, w->planned);
	wire_put_u64(o, (uint64_t)w->outage_ms);
	wire_put_str(o, w->reason);
}

void
state_encode(const struct state *s, struct wire_out *o)
{
	size_t start = o->len;

	wire_put_u32(o, MAGIC);
	wire_put_u16(o, VERSION);
	wire_put_raw(o, s->cluster, sizeof(s->cluster));
	wire_put_u8(o, s->node);
	wire_put_u64(o, s->serial);
	wire_put_u32(o, s->boot);
	wire_put_u32(o, s->peer_boot);
	wire_put_u64(o, s->marks.fixed);
	wire_put_u64(o, s->marks.released);
	wire_put_u64(o, s->marks.outdated);
	wire_put_u8(o, s->marks.kept_out);
	wire_put_u16(o, (uint16_t)s->marks.ngens);
	for (unsigned i = 0; i < s->marks.ngens; i++)
		gen_put(o, &s->marks.gens[i]);
	wire_put_u16(o, (uint16_t)s->nswitches);
	for (unsigned i = 0; i < s->nswitches; i++)
		put_switch(o, &s->switches[i]);
	wire_put_u64(o, (uint64_t)s->marks.maint_wall_ms);
	wire_put_u64(o, (uint64_t)s->marks.maint_ms);
	wire_put_u32(o, crc32c(0, o->p + start, o->len - start));
}

static void
get_switch(struct wire_in *in, struct state_switch *w)
{
	w->wall_ms = (int64_t)wire_get_u64(in);
	w->gen = wire_get_u64(in);
	w->kind = wire_get_u8(in);
	w->from = wire_get_u8(in);
	w->to = wire_get_u8(in);
	w->planned = wire_get_u8(in) != 0;
	w->outage_ms = (int64_t)wire_get_u64(in);
	wire_get_str(in, w->reason, sizeof(w->reason));
}

static bool
get_state(struct wire_in *in, struct state *s)
{
	wire_get_raw(in, s->cluster, sizeof(s->cluster));
	s->node = wire_get_u8(in);
	s->serial = wire_get_u64(in);
	s->boot = wire_get_u32(in);
	s->peer_boot = wire_get_u32(in);
	s->marks.fixed = wire_get_u64(in);
	s->marks.released = wire_get_u64(in);
	s->marks.outdated = wire_get_u64(in);
	s->marks.kept_out = wire_get_u8(in) != 0;
	s->marks.ngens = wire_get_u16(in);
	if (s->marks.ngens > STATE_GENS)
		return false;
	for (unsigned i = 0; i < s->marks.ngens; i++)
		gen_get(in, &s->marks.gens[i]);
	s->nswitches = wire_get_u16(in);
	if (s->nswitches > STATE_SWITCHES)
		return false;
	for (unsigned i = 0; i < s->nswitches; i++)
		get_switch(in, &s->switches[i]);
	s->marks.maint_wall_ms = (int64_t)wire_get_u64(in);
	s->marks.maint_ms = (int64_t)wire_get_u64(in);
	return s->node <= 1 && wire_in_done(in);
}

int
state_decode(struct state *s, const void *p, size_t len)
{
	struct state *t;
	struct wire_in in;
	bool ok;

	errno = EBADMSG;
	if (len < 10 || wire_load32((const uint8_t *)p + len - 4) != crc32c(0, p, len - 4))
		return -1;
	wire_in_init(&in, p, len - 4);
	if (wire_get_u32(&in) != MAGIC)
		return -1;
	errno = EPROTO;
	if (wire_get_u16(&in) != VERSION)
		return -1;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return -1;
	ok = get_state(&in, t);
	if (ok)
		*s = *t;
	free(t);
	errno = EBADMSG;
	return ok ? 0 : -1;
}

/* 0 good, 1 not there, -1 bad. */
static int
load_copy(struct state *s, const char *dir, const char *name)
{
	char path[512], *buf;
	size_t len;
	int rc;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (fs_read(path, FILE_MAX, &buf, &len) == -1)
		return errno == ENOENT ? 1 : -1;
	rc = state_decode(s, buf, len);
	free(buf);
	return rc;
}

int
state_load(struct state *s, const char *dir)
{
	struct state *two = calloc(2, sizeof(*two));
	int rc[2], best = -1;

	if (two == NULL)
		return -1;
	for (int i = 0; i < 2; i++) {
		rc[i] = load_copy(&two[i], dir, copies[i]);
		if (rc[i] == -1 && errno == EPROTO)
			log_warnx("ha state copy=%s was written by another version of hagentd",
			    copies[i]);
		else if (rc[i] == -1)
			log_warn("ha state copy=%s is bad", copies[i]);
		if (rc[i] == 0 && (best == -1 || two[i].serial > two[best].serial))
			best = i;
	}
	if (best >= 0)
		*s = two[best];
	free(two);
	if (best >= 0)
		return 0;
	/* One copy alone can be missing only in the very first save, before anything was
	 * done under it; a bad one is never taken for a new node. */
	if (rc[0] == 1 && rc[1] == 1)
		return 1;
	errno = EBADMSG;
	return -1;
}

/* A full disk has no room for files beside.  What this node promises must be kept all the
 * same, and the place of the old ones is ours: one after the other, so one is whole. */
static int
save_in_place(const char *dir, const struct wire_out *o)
{
	for (int i = 0; i < 2; i++)
		if (fs_overwrite(dir, copies[i], o->p, o->len) == -1)
			return -1;
	return 0;
}

int
state_save(struct state *s, const char *dir)
{
	struct wire_out o;
	int rc, saved;

	s->serial++;
	wire_out_init(&o);
	state_encode(s, &o);
	rc = fs_replace_copies(dir, copies, 2, o.p, o.len, 0600);
	if (rc == -1 && (errno == ENOSPC || errno == EDQUOT))
		rc = save_in_place(dir, &o);
	saved = errno;
	wire_out_clear(&o);
	errno = saved;
	return rc;
}

const struct gen *
state_newest(const struct state_marks *m)
{
	return m->ngens == 0 ? NULL : &m->gens[m->ngens - 1];
}

/* In order of their numbers; the oldest falls out. */
void
state_add_gen(struct state_marks *m, const struct gen *g)
{
	unsigned at = m->ngens;

	while (at > 0 && m->gens[at - 1].no > g->no)
		at--;
	if (at > 0 && m->gens[at - 1].no == g->no) {
		m->gens[at - 1] = *g;
		return;
	}
	if (m->ngens == STATE_GENS) {
		if (at == 0)
			return;
		memmove(m->gens, m->gens + 1, (STATE_GENS - 1) * sizeof(m->gens[0]));
		m->ngens--;
		at--;
	}
	memmove(m->gens + at + 1, m->gens + at, (m->ngens - at) * sizeof(m->gens[0]));
	m->gens[at] = *g;
	m->ngens++;
	if (g->no > m->fixed)
		m->fixed = g->no;
}

void
state_add_switch(struct state *s, const struct state_switch *w)
{
	if (s->nswitches == STATE_SWITCHES) {
		memmove(s->switches, s->switches + 1, (STATE_SWITCHES - 1) * sizeof(s->switches[0]));
		s->nswitches--;
	}
	s->switches[s->nswitches++] = *w;
}
