/* mirror_spool.c - see mirror_spool.h.  Each row is u32 length, u8 op, the entry.
 * The file is nobody else's, so a row that does not decode is our disk's failure. */
#define _GNU_SOURCE
#include "mirror_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

#define ROW_HEAD 5u
#define ROW_MAX (4u * TREE_PATH_MAX + 2 * TREE_XATTRS_MAX)

struct mirror_spool {
	FILE *f;
	uint64_t count;
	uint8_t *row;
	size_t cap;
	struct wire_out out;		/* the row that is written */
};

struct mirror_spool *
mirror_spool_new(const char *dir)
{
	struct mirror_spool *s = mem_alloc(sizeof(*s));
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd == -1)
		fd = memfd_create("mirror-list", MFD_CLOEXEC);
	if (fd == -1 || (s->f = fdopen(fd, "w+")) == NULL)
		log_fatal("no file for the list of a mirror pass");
	return s;
}

void
mirror_spool_free(struct mirror_spool *s)
{
	if (s == NULL)
		return;
	(void)fclose(s->f);
	wire_out_clear(&s->out);
	free(s->row);
	free(s);
}

int
mirror_spool_put(struct mirror_spool *s, uint8_t op, const struct tree_entry *e)
{
	struct wire_out *w = &s->out;

	w->len = 0;
	wire_put_u32(w, 0);
	wire_put_u8(w, op);
	tree_entry_put(w, e);
	wire_store32(w->p, (uint32_t)(w->len - ROW_HEAD));
	s->count++;
	return fwrite(w->p, w->len, 1, s->f) == 1 ? 0 : -1;
}

void
mirror_spool_rewind(struct mirror_spool *s)
{
	rewind(s->f);		/* flushes; an error shows as a short list */
}

static int
short_list(struct mirror_spool *s)
{
	if (!ferror(s->f))
		errno = EIO;
	return -1;
}

int
mirror_spool_next(struct mirror_spool *s, uint8_t *op, struct tree_entry *e)
{
	struct wire_in in;
	uint8_t head[ROW_HEAD];
	size_t len;

	if (fread(head, sizeof(head), 1, s->f) != 1)
		return feof(s->f) && !ferror(s->f) ? 0 : short_list(s);
	len = wire_load32(head);
	if (len > ROW_MAX)
		return short_list(s);
	if (len > s->cap) {
		s->cap = len + 1024;
		s->row = mem_grow(s->row, s->cap, 1);
	}
	if (fread(s->row, len, 1, s->f) != 1)
		return short_list(s);
	wire_in_init(&in, s->row, len);
	*op = head[4];
	return tree_entry_get(&in, e) == 0 ? 1 : -1;
}

uint64_t
mirror_spool_count(const struct mirror_spool *s)
{
	return s->count;
}
