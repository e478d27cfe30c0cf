/* ownertail.c - see ownertail.h.  The bytes come from our own syncd, and are checked
 * all the same: a broken file must end in an error, never in half of a history. */
#include "ownertail.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fs.h"
#include "mem.h"
#include "wire.h"

#define HEAD 28				/* of a record, behind its length */

int
owner_tail_open(struct owner_tail *t, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	*t = (struct owner_tail){ .fd = fd, .buf = mem_alloc(HEAD + OWNER_PAYLOAD_MAX) };
	return 0;
}

int
owner_tail_next(struct owner_tail *t, struct owner_record *r)
{
	uint8_t len[4];
	struct wire_in in;
	ssize_t n = fs_pread_all(t->fd, len, sizeof(len), t->at);
	size_t body;

	if (n <= 0)
		return (int)n;
	body = wire_load32(len);
	if (n != sizeof(len) || body < HEAD || body > HEAD + OWNER_PAYLOAD_MAX) {
		errno = EBADMSG;
		return -1;
	}
	if ((n = fs_pread_all(t->fd, t->buf, body, t->at + (off_t)sizeof(len))) == -1)
		return -1;
	wire_in_init(&in, t->buf, (size_t)n);
	*r = (struct owner_record){ .lsn = wire_get_u64(&in) };
	r->gen_no = wire_get_u64(&in);
	r->shard = wire_get_u16(&in);
	r->type = wire_get_u8(&in);
	r->copies = wire_get_u8(&in);
	r->time_ms = (int64_t)wire_get_u64(&in);
	r->payload = wire_get_rest(&in);
	if ((size_t)n != body || !wire_in_ok(&in) || r->lsn <= t->lsn) {
		errno = EBADMSG;
		return -1;
	}
	t->lsn = r->lsn;
	t->at += (off_t)(sizeof(len) + body);
	return 1;
}

void
owner_tail_rewind(struct owner_tail *t)
{
	t->at = 0;
	t->lsn = 0;
}

void
owner_tail_close(struct owner_tail *t)
{
	free(t->buf);
	t->buf = NULL;
}

int
owner_tail_put(int fd, const struct owner_record *r)
{
	struct wire_out out;
	int rc;

	assert(r->payload.len <= OWNER_PAYLOAD_MAX);
	wire_out_init(&out);
	wire_put_u32(&out, (uint32_t)(HEAD + r->payload.len));
	wire_put_u64(&out, r->lsn);
	wire_put_u64(&out, r->gen_no);
	wire_put_u16(&out, r->shard);
	wire_put_u8(&out, r->type);
	wire_put_u8(&out, r->copies);
	wire_put_u64(&out, (uint64_t)r->time_ms);
	wire_put_raw(&out, r->payload.p, r->payload.len);
	rc = fs_write_all(fd, out.p, out.len);
	wire_out_clear(&out);
	return rc;
}
