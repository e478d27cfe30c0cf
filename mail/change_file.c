/* change_file.c - see change_file.h.  What is read came from the other node: every length
 * is checked, and nothing of it counts before the sum at its end was right. */
#include "change_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "mem.h"

#define MAGIC "MPCHANGE"
#define VERSION 1
#define HEAD 21
#define BUFFER (256u << 10)

static EVP_MD_CTX *
digest(void)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	return md;
}

/* ---- writing -------------------------------------------------------------- */

static void
flush(struct change_out *o)
{
	if (o->n > 0 && o->error == 0 && fs_write_all(o->fd, o->buf, o->n) == -1)
		o->error = errno;
	o->n = 0;
}

void
change_out_raw(struct change_out *o, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0) {
		size_t part = BUFFER - o->n < n ? BUFFER - o->n : n;

		memcpy(o->buf + o->n, from, part);
		o->n += part;
		from += part;
		n -= part;
		if (o->n == BUFFER)
			flush(o);
	}
}

static void
summed(struct change_out *o, const void *p, size_t n)
{
	EVP_DigestUpdate(o->sha, p, n);
	change_out_raw(o, p, n);
}

void
change_out_open(struct change_out *o, const char *dir, uint16_t shard, uint64_t fork, bool whole)
{
	struct wire_out w;

	*o = (struct change_out){ .fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
		.sha = digest(), .buf = mem_alloc(BUFFER) };
	if (o->fd == -1 && errno == EOPNOTSUPP)
		o->fd = memfd_create("changes", MFD_CLOEXEC);
	if (o->fd == -1)
		o->error = errno;
	wire_out_init(&w);
	wire_put_raw(&w, MAGIC, 8);
	wire_put_u16(&w, VERSION);
	wire_put_u16(&w, shard);
	wire_put_u64(&w, fork);
	wire_put_u8(&w, whole);
	summed(o, w.p, w.len);
	wire_out_clear(&w);
}

void
change_out_item(struct change_out *o, uint8_t type, struct wire_out *body)
{
	uint8_t head[5] = { type };

	if (body->len > CHANGE_ITEM_MAX && o->error == 0)
		o->error = EMSGSIZE;
	wire_store32(head + 1, (uint32_t)body->len);
	summed(o, head, sizeof(head));
	summed(o, body->p, body->len);
	wire_out_clear(body);
}

int
change_out_end(struct change_out *o)
{
	uint8_t end[5 + 32] = { 0 };

	wire_store32(end + 1, 32);
	EVP_DigestFinal_ex(o->sha, end + 5, NULL);
	EVP_MD_CTX_free(o->sha);
	change_out_raw(o, end, sizeof(end));
	flush(o);
	if (o->error == 0 && lseek(o->fd, 0, SEEK_SET) == -1)
		o->error = errno;
	free(o->buf);
	if (o->error == 0)
		return o->fd;
	if (o->fd != -1)
		close(o->fd);
	errno = o->error;
	return -1;
}

/* ---- reading -------------------------------------------------------------- */

static int
take(struct change_in *in, void *p, size_t n)
{
	ssize_t got = fs_pread_all(in->fd, p, n, in->at);

	if (got == -1)
		return -1;
	if ((size_t)got != n) {
		errno = EBADMSG;
		return -1;
	}
	in->at += (off_t)n;
	return 0;
}

int
change_in_open(struct change_in *in, int fd, uint16_t shard, uint64_t fork)
{
	uint8_t head[HEAD];

	*in = (struct change_in){ .fd = fd, .buf = mem_alloc(CHANGE_ITEM_MAX), .sha = digest() };
	if (take(in, head, HEAD) == 0 && memcmp(head, MAGIC, 8) == 0 &&
	    wire_load16(head + 8) == VERSION && wire_load16(head + 10) == shard &&
	    wire_load64(head + 12) == fork && head[20] <= 1) {
		in->whole = head[20] != 0;
		EVP_DigestUpdate(in->sha, head, HEAD);
		return 0;
	}
	change_in_close(in);
	errno = EBADMSG;
	return -1;
}

int
change_in_next(struct change_in *in, uint8_t *type, struct span *body)
{
	uint8_t head[5], sha[32];
	uint32_t len;

	if (take(in, head, sizeof(head)) == -1)
		return -1;
	len = wire_load32(head + 1);
	if (len > CHANGE_ITEM_MAX || (head[0] == 0 && len != sizeof(sha))) {
		errno = EBADMSG;
		return -1;
	}
	if (take(in, in->buf, len) == -1)
		return -1;
	if (head[0] == 0) {
		EVP_DigestFinal_ex(in->sha, sha, NULL);
		errno = EBADMSG;
		return memcmp(sha, in->buf, sizeof(sha)) == 0 ? 0 : -1;
	}
	EVP_DigestUpdate(in->sha, head, sizeof(head));
	EVP_DigestUpdate(in->sha, in->buf, len);
	*type = head[0];
	*body = (struct span){ in->buf, len };
	return 1;
}

uint64_t
change_in_skip(struct change_in *in, uint64_t bytes)
{
	uint64_t at = (uint64_t)in->at;

	/* Beyond the end there is nothing to read: the next item says so. */
	in->at = bytes > (uint64_t)INT64_MAX - at ? INT64_MAX : (off_t)(at + bytes);
	return at;
}

void
change_in_close(struct change_in *in)
{
	EVP_MD_CTX_free(in->sha);
	free(in->buf);
	in->sha = NULL;
	in->buf = NULL;
}
