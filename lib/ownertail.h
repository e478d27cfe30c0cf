/* ownertail.h - the records of one shard behind a place in the log, as a file that
 * travels by its descriptor: when two histories are made one, syncd writes it and the
 * owner reads it (owner.h, "Merging").  Each record is u32 length of what follows, u64
 * lsn, u64 gen_no, u16 shard, u8 type, u8 copies, u64 time_ms, payload; big-endian.
 *
 * Reading costs memory for one record.  LSNs must grow, as they do in the log. */
#ifndef LIB_OWNERTAIL_H
#define LIB_OWNERTAIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "owner.h"

struct owner_tail {
	int fd;
	off_t at;
	uint64_t lsn;			/* of the record before, 0: none */
	char *buf;
};

/* Reads from the start of fd, which it borrows.  -1 with errno: not a regular file. */
int owner_tail_open(struct owner_tail *, int fd);
/* 1 = a record, its payload is valid until the next call; 0 = the end; -1 with errno,
 * EBADMSG where the bytes are no records. */
int owner_tail_next(struct owner_tail *, struct owner_record *);
void owner_tail_rewind(struct owner_tail *);
void owner_tail_close(struct owner_tail *);	/* leaves fd open */
/* Appends at fd's offset. */
int owner_tail_put(int fd, const struct owner_record *);

#endif
