/* ip_table.c - connections and wrong passwords by client address.
 *
 * The table is bounded: an entry without connection whose window has passed is
 * dropped when room is needed, and when none is left an address that would need a new
 * entry is refused - it is an attack from very many addresses. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "ip_table.h"
#include "mem.h"

#define BUCKETS 4096
#define TRIED_MAX 8		/* wrong passwords that are known again */

struct entry {
	struct entry *next;
	struct ip_key key;
	uint32_t connections, failures;
	int64_t window_ms;		/* when the first failure of the window was */
	uint64_t tried[TRIED_MAX];	/* the last ones of the window, a ring by failures */
};

struct ip_table {
	struct entry *buckets[BUCKETS];
	uint32_t connections_max, failures_max, entries_max, entries;
	int64_t window_ms, swept_ms;
};

struct ip_table *
ip_table_new(uint32_t connections_max, uint32_t failures_max, int64_t window_ms,
    uint32_t entries_max)
{
	struct ip_table *t = mem_alloc(sizeof(*t));

	t->connections_max = connections_max;
	t->failures_max = failures_max;
	t->window_ms = window_ms;
	t->entries_max = entries_max;
	return t;
}

void
ip_table_free(struct ip_table *t)
{
	if (t == NULL)
		return;
	for (size_t b = 0; b < BUCKETS; b++)
		for (struct entry *e; (e = t->buckets[b]) != NULL;) {
			t->buckets[b] = e->next;
			free(e);
		}
	free(t);
}

struct ip_key
ip_table_key(const struct sockaddr *sa)
{
	struct ip_key k = { { 0 } };

	if (sa->sa_family == AF_INET) {
		memcpy(k.b + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct in6_addr *a = &((const struct sockaddr_in6 *)sa)->sin6_addr;

		if (IN6_IS_ADDR_V4MAPPED(a))
			memcpy(k.b + 12, a->s6_addr + 12, 4);
		else
			memcpy(k.b, a->s6_addr, 8);
	}
	return k;
}

static struct entry **
find(struct ip_table *t, struct ip_key k)
{
	uint32_t h = 2166136261u;
	struct entry **p;

	for (size_t i = 0; i < sizeof(k.b); i++)
		h = (h ^ k.b[i]) * 16777619u;
	for (p = &t->buckets[h % BUCKETS]; *p != NULL; p = &(*p)->next)
		if (memcmp((*p)->key.b, k.b, sizeof(k.b)) == 0)
			break;
	return p;
}

static void
sweep(struct ip_table *t, int64_t now_ms)
{
	t->swept_ms = now_ms;
	for (size_t b = 0; b < BUCKETS; b++)
		for (struct entry **p = &t->buckets[b]; *p != NULL;) {
			struct entry *e = *p;

			if (e->connections > 0
			    || (e->failures > 0 && now_ms - e->window_ms < t->window_ms)) {
				p = &e->next;
				continue;
			}
			*p = e->next;
			free(e);
			t->entries--;
		}
}

static struct entry *
get(struct ip_table *t, struct ip_key k, int64_t now_ms)
{
	struct entry **p = find(t, k);

	if (*p != NULL)
		return *p;
	/* A sweep costs a walk: not more than one a second even when it frees nothing. */
	if (t->entries >= t->entries_max && now_ms - t->swept_ms >= 1000) {
		sweep(t, now_ms);
		p = find(t, k);
	}
	if (t->entries >= t->entries_max)
		return NULL;
	*p = mem_alloc(sizeof(**p));
	(*p)->key = k;
	t->entries++;
	return *p;
}

bool
ip_table_enter(struct ip_table *t, struct ip_key k, int64_t now_ms)
{
	struct entry *e = get(t, k, now_ms);

	if (e == NULL || e->connections >= t->connections_max)
		return false;
	e->connections++;
	return true;
}

void
ip_table_leave(struct ip_table *t, struct ip_key k)
{
	struct entry **p = find(t, k), *e = *p;

	if (e == NULL)
		return;
	if (e->connections > 0)
		e->connections--;
	if (e->connections == 0 && e->failures == 0) {
		*p = e->next;
		free(e);
		t->entries--;
	}
}

uint32_t
ip_table_fail(struct ip_table *t, struct ip_key k, uint64_t what, int64_t now_ms)
{
	struct entry *e = get(t, k, now_ms);

	if (e == NULL)
		return t->failures_max;
	if (e->failures == 0 || now_ms - e->window_ms >= t->window_ms) {
		e->failures = 0;
		e->window_ms = now_ms;
	}
	for (uint32_t i = 0; i < TRIED_MAX && i < e->failures; i++)
		if (e->tried[i] == what)
			return e->failures;
	e->tried[e->failures % TRIED_MAX] = what;
	return ++e->failures;
}

bool
ip_table_may_try(struct ip_table *t, struct ip_key k, int64_t now_ms)
{
	struct entry *e = *find(t, k);

	return e == NULL || e->failures < t->failures_max
	    || now_ms - e->window_ms >= t->window_ms;
}
