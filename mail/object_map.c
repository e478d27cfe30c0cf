/* object_map.c - maps a message for FETCH, SEARCH and RETR.
 *
 * Objects never change, and one that is unlinked stays as long as it is mapped, so
 * the bytes are good until object_map_close().  An object whose length is not the one
 * in the index is refused: no client is served half a message. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "object_map.h"

int
object_map_open(struct object_map *o, struct store *store, uint16_t shard,
    const struct store_msg *m)
{
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
		if (map == MAP_FAILED)
			goto fail;
	}
	close(fd);
	o->map = map;
	o->text = (struct span) { map != NULL ? map : "", (size_t)st.st_size };
	return 0;
fail:
	saved = errno;
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
