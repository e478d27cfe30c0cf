/* ip_table.h - what a gate knows of each client address: its connections, and its
 * wrong passwords within a window.  Pure: time is an argument.  An IPv6 client is its
 * /64, since it can choose the rest. */
#ifndef MAIL_IP_TABLE_H
#define MAIL_IP_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct ip_table;
struct ip_key { uint8_t b[16]; };

struct ip_table *ip_table_new(uint32_t connections_max, uint32_t failures_max,
    int64_t window_ms, uint32_t entries_max);
void ip_table_free(struct ip_table *);
struct ip_key ip_table_key(const struct sockaddr *);
/* One connection more; false: the address has too many (nothing is counted). */
bool ip_table_enter(struct ip_table *, struct ip_key, int64_t now_ms);
void ip_table_leave(struct ip_table *, struct ip_key);
/* A wrong password; how many there were in this window, this one included.  what: a
 * keyed digest of name and password; the last few are remembered, and the same again
 * is not counted: it is a forgotten phone, not a guess. */
uint32_t ip_table_fail(struct ip_table *, struct ip_key, uint64_t what, int64_t now_ms);
/* May the address try at all? */
bool ip_table_may_try(struct ip_table *, struct ip_key, int64_t now_ms);

#endif
