/* seed_send.c - see seed_send.h.  The digest of an object is its name; that of an index is
 * made while it is read, once.  What can fail: reading, and a signature that is none. */
#include "seed_send.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "delta.h"
#include "log.h"
#include "mirror_wire.h"

void
seed_send_init(struct seed_send *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
}

void
seed_send_clear(struct seed_send *s)
{
	if (s->fd != -1)
		close(s->fd);
	EVP_MD_CTX_free(s->sha);
	delta_free(s->load);
	delta_free(s->make);
	delta_sums_free(s->sums);
	if (s->in != NULL)
		evbuffer_free(s->in);
	seed_send_init(s);
}

int
seed_send_begin(struct seed_send *s, int fd, const uint8_t sha[32], uint64_t *size)
{
	struct stat st;

	seed_send_clear(s);
	s->fd = fd;
	s->index = sha == NULL;
	if (fstat(fd, &st) == -1 || lseek(fd, 0, SEEK_SET) == -1)
		return -1;
	*size = (uint64_t)st.st_size;
	if (sha != NULL) {
		memcpy(s->digest, sha, 32);
		return 0;
	}
	s->in = evbuffer_new();
	s->sha = EVP_MD_CTX_new();
	if (s->in == NULL || s->sha == NULL ||
	    EVP_DigestInit_ex(s->sha, EVP_sha256(), NULL) != 1)
		log_fatal("no memory, or no SHA-256");
	return 0;
}

int
seed_send_from(struct seed_send *s, uint64_t offset)
{
	struct stat st;

	if (fstat(s->fd, &st) == -1 || offset > (uint64_t)st.st_size ||
	    lseek(s->fd, (off_t)offset, SEEK_SET) == -1)
		return -1;
	return 0;
}

int
seed_send_sums(struct seed_send *s, struct span body, bool end)
{
	struct evbuffer *none;
	enum delta_rc rc;

	if (s->load == NULL) {
		if (end && body.len == 0)
			return 0;	/* it has nothing: all of it is sent */
		s->load = delta_load_new();
	}
	if ((none = evbuffer_new()) == NULL || evbuffer_add(s->in, body.p, body.len) == -1)
		log_fatal("no memory");
	do
		rc = delta_step(s->load, s->in, end, none);
	while (rc == DELTA_MORE && end);
	evbuffer_free(none);
	if (rc == DELTA_FAIL || (rc == DELTA_DONE) != end)
		return -1;
	if (!end)
		return 0;
	s->sums = delta_take_sums(s->load);
	s->make = delta_make_new(s->sums, true);
	return 0;
}

static ssize_t
read_chunk(struct seed_send *s, uint8_t buf[MIRROR_CHUNK])
{
	ssize_t n;

	do
		n = read(s->fd, buf, MIRROR_CHUNK);
	while (n == -1 && errno == EINTR);
	if (n > 0 && s->make == NULL && s->index && EVP_DigestUpdate(s->sha, buf, (size_t)n) != 1)
		log_fatal("no SHA-256");
	s->eof = n == 0;
	return n;
}

static enum seed_send_rc
step_whole(struct seed_send *s, struct evbuffer *out)
{
	uint8_t buf[MIRROR_CHUNK];
	ssize_t n = read_chunk(s, buf);

	if (n == -1)
		return SEED_SEND_FAIL;
	if (n > 0 && evbuffer_add(out, buf, (size_t)n) == -1)
		log_fatal("no memory");
	if (!s->eof)
		return SEED_SEND_MORE;
	if (s->index && EVP_DigestFinal_ex(s->sha, s->digest, NULL) != 1)
		log_fatal("no SHA-256");
	return SEED_SEND_DONE;
}

static enum seed_send_rc
step_delta(struct seed_send *s, struct evbuffer *out)
{
	uint8_t buf[MIRROR_CHUNK];
	ssize_t n;

	if (!s->eof && evbuffer_get_length(s->in) < MIRROR_CHUNK) {
		if ((n = read_chunk(s, buf)) == -1)
			return SEED_SEND_FAIL;
		if (n > 0 && evbuffer_add(s->in, buf, (size_t)n) == -1)
			log_fatal("no memory");
	}
	switch (delta_step(s->make, s->in, s->eof, out)) {
	case DELTA_MORE:
		return SEED_SEND_MORE;
	case DELTA_DONE:
		delta_digest(s->make, s->digest);
		return SEED_SEND_DONE;
	default:
		log_warnx("seeding: delta: %s", delta_error(s->make));
		return SEED_SEND_FAIL;
	}
}

enum seed_send_rc
seed_send_step(struct seed_send *s, struct evbuffer *out)
{
	return s->make != NULL ? step_delta(s, out) : step_whole(s, out);
}
