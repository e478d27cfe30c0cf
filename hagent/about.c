/* about.c - the control messages ABOUT and FILES and what is made of them (see about.h).
 *
 * ABOUT.  arg: seconds in the role.  gen: wall clock in ms.  lsn: version as three bytes, disk
 * used in per cent + 1 (0 unknown), resources up, resources; the rest is 0.
 *
 * FILES.  arg: digest of all, as in the frame's head; gen: of hagent.conf and syncd.conf;
 * lsn: of maild.conf and 32 zeros. */
#include "about.h"

#include <stdio.h>

bool
about_put(const struct about *b, struct frame *f)
{
	uint8_t disk = b->disk_used < 0 ? 0 : (uint8_t)(b->disk_used > 100 ? 101 : b->disk_used + 1);
	const uint8_t bytes[8] = { b->version[0], b->version[1], b->version[2], disk, b->res_up,
		b->res_all, 0, 0 };
	struct control *c = &f->controls[f->ncontrols];

	if (f->ncontrols >= FRAME_CONTROLS)
		return false;
	*c = (struct control){ .type = CTRL_ABOUT, .arg = b->role_s, .gen = (uint64_t)b->wall_ms };
	for (int i = 0; i < 8; i++)
		c->lsn = c->lsn << 8 | bytes[i];
	f->ncontrols++;
	return true;
}

static const struct control *
find(const struct frame *f, enum control_type type)
{
	for (unsigned i = 0; i < f->ncontrols; i++)
		if (f->controls[i].type == type)
			return &f->controls[i];
	return NULL;
}

bool
about_get(const struct frame *f, struct about *b)
{
	const struct control *c = find(f, CTRL_ABOUT);

	if (c == NULL)
		return false;
	b->wall_ms = (int64_t)c->gen;
	b->role_s = c->arg;
	for (int i = 0; i < 3; i++)
		b->version[i] = (uint8_t)(c->lsn >> (56 - 8 * i));
	b->disk_used = (int)(c->lsn >> 32 & 0xff) - 1;
	b->res_up = (uint8_t)(c->lsn >> 24);
	b->res_all = (uint8_t)(c->lsn >> 16);
	return true;
}

bool
about_files_put(const struct config_digest *d, struct frame *f)
{
	if (f->ncontrols >= FRAME_CONTROLS)
		return false;
	f->controls[f->ncontrols++] = (struct control){ .type = CTRL_FILES, .arg = d->all,
		.gen = (uint64_t)d->file[0] << 32 | d->file[1], .lsn = (uint64_t)d->file[2] << 32 };
	return true;
}

bool
about_files_get(const struct frame *f, struct config_digest *d)
{
	const struct control *c = find(f, CTRL_FILES);

	if (c == NULL)
		return false;
	d->all = c->arg;
	d->file[0] = (uint32_t)(c->gen >> 32);
	d->file[1] = (uint32_t)c->gen;
	d->file[2] = (uint32_t)(c->lsn >> 32);
	return true;
}

void
about_version_set(struct about *b, const char *text)
{
	for (int i = 0; i < 3; i++) {
		unsigned n = 0;

		for (; *text >= '0' && *text <= '9'; text++)
			n = n < 255 ? n * 10 + (unsigned)(*text - '0') : n;
		b->version[i] = (uint8_t)(n > 255 ? 255 : n);
		if (*text == '.')
			text++;
	}
}

const char *
about_version(const struct about *b, char *buf, size_t size)
{
	snprintf(buf, size, "%u.%u.%u", b->version[0], b->version[1], b->version[2]);
	return buf;
}

void
about_clock_add(struct about_clock *c, int64_t theirs_ms, int64_t ours_ms)
{
	/* Both come from clocks that may say anything. */
	c->ahead_ms[c->n++ % ABOUT_CLOCKS] = (int64_t)((uint64_t)theirs_ms - (uint64_t)ours_ms);
}

int64_t
about_clock_ahead(const struct about_clock *c)
{
	int64_t best = c->n == 0 ? 0 : c->ahead_ms[0];

	for (unsigned i = 1; i < c->n && i < ABOUT_CLOCKS; i++)
		if (c->ahead_ms[i] > best)
			best = c->ahead_ms[i];
	return best;
}
