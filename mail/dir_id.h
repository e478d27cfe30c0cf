/* dir_id.h - the id of a user: what its mailboxes are kept under.  Pure.
 *
 * It follows from the address, so that two nodes which made the same user while they
 * could not speak with each other gave it the same id.  A user that is made anew after it
 * was deleted gets another one (n), so that nobody sees the mail of who had the address. */
#ifndef MAIL_DIR_ID_H
#define MAIL_DIR_ID_H

#include <stdint.h>

/* The n-th id of an address (in lower case); never 0, at most INT64_MAX. */
uint64_t dir_id(const char *address, uint32_t n);
/* The shard in which a user's mailboxes are. */
uint16_t dir_id_shard(uint64_t id, unsigned shards);

#endif
