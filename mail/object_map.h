/* object_map.h - the bytes of one stored message, mapped for reading. */
#ifndef MAIL_OBJECT_MAP_H
#define MAIL_OBJECT_MAP_H

#include "store.h"

struct object_map {
	struct span text;	/* p NULL: not open */
	void *map;
};

/* -1 with errno when it is not there, cannot be read (EIO), is not as long as the index
 * says, or is not what its name says (EBADMSG). */
int object_map_open(struct object_map *, struct store *, uint16_t shard,
    const struct store_msg *);
void object_map_close(struct object_map *);	/* also when it is not open */

#endif
