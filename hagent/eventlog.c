/* eventlog.c - a ring of events and its two files (see eventlog.h).
 *
 * One record: u16 length of the body, body, u32 CRC-32C of the body; the body is u64
 * number, u64 wall clock in ms, u64 epoch, u8 kind, str text.  Records are appended
 * with one write each.  A write that fails is cut off again, so that what follows it
 * stays readable.  Reading stops at the first record that is not whole or whose
 * number is not the next one, and the file is cut there. */
#include "eventlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"
#include "fs.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

#define FILE_MAX (16u << 20)
#define HEAD 2
#define TAIL 4

struct eventlog {
	unsigned max;
	uint64_t last;		/* number of the newest; 0 none yet */
	unsigned kept;
	struct eventlog_entry *ring;	/* number n stands at n % max */
	char *path, *old_path;
	int fd;			/* of path, or -1 */
	off_t size;
	unsigned in_file;	/* records in path */
	bool told;		/* that it cannot be written */
};

const char *
eventlog_kind_name(enum eventlog_kind k)
{
	static const char *const names[] = { "agent", "role", "switch", "alarm", "peer", "link",
		"ping", "resource", "vip", "operator", "config", "data", "note" };

	return (unsigned)k < EVENTLOG_KINDS ? names[k] : "other";
}

/* ---- memory -------------------------------------------------------------- */

static struct eventlog_entry *
keep(struct eventlog *l, const struct eventlog_entry *e)
{
	struct eventlog_entry *slot = &l->ring[e->no % l->max];

	*slot = *e;
	l->kept = l->last + 1 == e->no && l->kept > 0 ? l->kept + 1 : 1;
	if (l->kept > l->max)
		l->kept = l->max;
	l->last = e->no;
	return slot;
}

uint64_t
eventlog_first(const struct eventlog *l)
{
	return l->last - l->kept + 1;
}

uint64_t
eventlog_last(const struct eventlog *l)
{
	return l->last;
}

const struct eventlog_entry *
eventlog_get(const struct eventlog *l, uint64_t no)
{
	return no < eventlog_first(l) || no > l->last ? NULL : &l->ring[no % l->max];
}

/* ---- reading ------------------------------------------------------------- */

/* Length of the record at p, or 0 when it is not whole. */
static size_t
decode(const char *p, size_t left, struct eventlog_entry *e)
{
	struct wire_in in;
	size_t len;

	if (left < HEAD + TAIL)
		return 0;
	len = wire_load16(p);
	if (left < HEAD + len + TAIL || wire_load32(p + HEAD + len) != crc32c(0, p + HEAD, len))
		return 0;
	wire_in_init(&in, p + HEAD, len);
	e->no = wire_get_u64(&in);
	e->wall_ms = (int64_t)wire_get_u64(&in);
	e->epoch = wire_get_u64(&in);
	e->kind = (enum eventlog_kind)wire_get_u8(&in);
	wire_get_str(&in, e->text, sizeof(e->text));
	return wire_in_done(&in) ? HEAD + len + TAIL : 0;
}

/* Bytes that were good; *n records. */
static size_t
load(struct eventlog *l, const char *path, unsigned *n)
{
	struct eventlog_entry e;
	size_t len, at = 0, one;
	char *buf;

	*n = 0;
	if (fs_read(path, FILE_MAX, &buf, &len) == -1) {
		if (errno != ENOENT)
			log_warn("events in %s cannot be read", path);
		return 0;
	}
	while ((one = decode(buf + at, len - at, &e)) > 0 && e.no > l->last) {
		keep(l, &e);
		at += one;
		(*n)++;
	}
	if (at < len)
		log_warnx("events in %s end after %u records: the rest is damaged", path, *n);
	free(buf);
	return at;
}

static void
open_file(struct eventlog *l)
{
	l->fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->fd != -1 && ftruncate(l->fd, l->size) == -1) {
		close(l->fd);
		l->fd = -1;
	}
}

struct eventlog *
eventlog_open(const char *dir, unsigned max)
{
	struct eventlog *l = mem_alloc(sizeof(*l));
	unsigned before;

	l->max = max;
	l->ring = mem_array(max, sizeof(l->ring[0]));
	l->path = mem_printf("%s/events", dir);
	l->old_path = mem_printf("%s/events.1", dir);
	load(l, l->old_path, &before);
	l->size = (off_t)load(l, l->path, &l->in_file);
	open_file(l);
	return l;
}

void
eventlog_free(struct eventlog *l)
{
	if (l == NULL)
		return;
	if (l->fd != -1)
		close(l->fd);
	free(l->ring);
	free(l->path);
	free(l->old_path);
	free(l);
}

/* ---- writing ------------------------------------------------------------- */

static void
encode(const struct eventlog_entry *e, struct wire_out *w)
{
	wire_put_u16(w, 0);
	wire_put_u64(w, e->no);
	wire_put_u64(w, (uint64_t)e->wall_ms);
	wire_put_u64(w, e->epoch);
	wire_put_u8(w, (uint8_t)e->kind);
	wire_put_str(w, e->text);
	wire_store16(w->p, (uint16_t)(w->len - HEAD));
	wire_put_u32(w, crc32c(0, w->p + HEAD, w->len - HEAD));
}

static int
turn_over(struct eventlog *l)
{
	if (l->fd != -1)
		close(l->fd);
	l->fd = -1;
	if (rename(l->path, l->old_path) == -1 && errno != ENOENT)
		return -1;
	l->size = 0;
	l->in_file = 0;
	return 0;
}

static int
append(struct eventlog *l, const struct eventlog_entry *e)
{
	struct wire_out w;
	int rc;

	if (l->in_file >= l->max && turn_over(l) == -1)
		return -1;
	if (l->fd == -1)
		open_file(l);
	if (l->fd == -1)
		return -1;
	wire_out_init(&w);
	encode(e, &w);
	rc = fs_write_all(l->fd, w.p, w.len);
	if (rc == 0) {
		l->size += (off_t)w.len;
		l->in_file++;
	} else {
		close(l->fd);
		l->fd = -1;	/* the next one opens it, and cuts off what is torn */
	}
	wire_out_clear(&w);
	return rc;
}

static void
write_out(struct eventlog *l, const struct eventlog_entry *e)
{
	if (append(l, e) == 0) {
		l->told = false;
		return;
	}
	if (!l->told)
		log_warn("events cannot be written to %s", l->path);
	l->told = true;
}

const struct eventlog_entry *
eventlog_add(struct eventlog *l, int64_t wall_ms, uint64_t epoch, enum eventlog_kind kind,
    const char *text)
{
	struct eventlog_entry e = { .no = l->last + 1, .wall_ms = wall_ms, .epoch = epoch,
		.kind = kind };

	snprintf(e.text, sizeof(e.text), "%s", text);
	for (char *p = e.text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	write_out(l, &e);
	return keep(l, &e);
}
