/* merge_queue_side.c - what a side has in its queue and what it did since a place in its
 * log: rows as the caller reads them, and records.  Found by id through a table that
 * doubles; a side owns its texts. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "merge_queue.h"
#include "owner.h"

void
merge_queue_init(struct merge_queue_side *s, bool whole)
{
	memset(s, 0, sizeof(*s));
	s->whole = whole;
}

void
merge_queue_clear(struct merge_queue_side *s)
{
	for (size_t i = 0; i < s->nmsgs; i++) {
		struct merge_queue_msg *m = &s->msgs[i];

		for (size_t j = 0; j < m->nrcpts; j++) {
			free(m->rcpts[j].address);
			free(m->rcpts[j].reply);
		}
		free(m->rcpts);
		free(m->done);
		free(m->trace);
		free(m->sender);
	}
	free(s->msgs);
	free(s->adopted);
	free(s->slots);
	memset(s, 0, sizeof(*s));
}

/* Room for one more; grows at each power of two. */
static void *
more(void *v, size_t n, size_t size)
{
	return (n & (n - 1)) == 0 ? mem_grow(v, n == 0 ? 1 : n * 2, size) : v;
}

/* The slot of an id, or the empty one where it belongs. */
static uint32_t *
slot(const struct merge_queue_side *s, uint64_t id)
{
	size_t i = (size_t)((id * 0x9e3779b97f4a7c15ull) >> 32) & (s->nslots - 1);

	while (s->slots[i] != 0 && s->msgs[s->slots[i] - 1].id != id)
		i = (i + 1) & (s->nslots - 1);
	return &s->slots[i];
}

static void
index_all(struct merge_queue_side *s)
{
	free(s->slots);
	s->nslots = s->nslots == 0 ? 64 : s->nslots * 2;
	s->slots = mem_array(s->nslots, sizeof(*s->slots));
	for (size_t i = 0; i < s->nmsgs; i++)
		*slot(s, s->msgs[i].id) = (uint32_t)i + 1;
}

struct merge_queue_msg *
merge_queue_msg(struct merge_queue_side *s, uint64_t id)
{
	uint32_t *at;

	if ((s->nmsgs + 1) * 2 > s->nslots)
		index_all(s);
	at = slot(s, id);
	if (*at != 0)
		return &s->msgs[*at - 1];
	s->msgs = more(s->msgs, s->nmsgs, sizeof(*s->msgs));
	s->msgs[s->nmsgs] = (struct merge_queue_msg){ .id = id };
	*at = (uint32_t)++s->nmsgs;
	return &s->msgs[s->nmsgs - 1];
}

void
merge_queue_rcpt(struct merge_queue_msg *m, uint16_t index, bool failed, const char *address,
    const char *reply)
{
	m->rcpts = more(m->rcpts, m->nrcpts, sizeof(*m->rcpts));
	m->rcpts[m->nrcpts++] = (struct merge_queue_rcpt){ index, failed, mem_dup(address),
		mem_dup(reply) };
}

void
merge_queue_adopted(struct merge_queue_side *s, uint64_t id)
{
	s->adopted = more(s->adopted, s->nadopted, sizeof(*s->adopted));
	s->adopted[s->nadopted++] = id;
}

void
merge_queue_done(struct merge_queue_msg *m, uint16_t index, bool bounced)
{
	m->done = more(m->done, m->ndone, sizeof(*m->done));
	m->done[m->ndone++] = (struct merge_queue_done){ index, bounced };
}

/* ---- records ------------------------------------------------------------- */

static void
made(struct merge_queue_msg *m, const char *trace, const char *sender, uint64_t size,
    int64_t created_ms)
{
	m->made = true;
	if (m->trace != NULL)
		return;			/* a second one had no effect */
	m->trace = mem_dup(trace);
	m->sender = mem_dup(sender);
	m->size = size;
	m->created_ms = created_ms;
}

static bool
add_result(struct merge_queue_side *s, struct span payload)
{
	struct merge_queue_msg *m;
	struct queue_result r;
	struct wire_in list;
	int64_t next;
	uint64_t id;
	uint16_t n;

	if (queue_result_get(payload, &id, &next, &n, &list) != PARSE_OK)
		return false;
	m = merge_queue_msg(s, id);
	while (n-- > 0) {
		queue_result_next(&list, &r);
		if (r.outcome == QUEUE_DONE)
			merge_queue_done(m, r.rcpt, false);
	}
	return true;
}

static bool
add_reported(struct merge_queue_side *s, struct span payload)
{
	struct merge_queue_msg *m;
	struct wire_in list;
	uint64_t id;
	uint16_t n;

	if (queue_reported_get(payload, &id, &n, &list) != PARSE_OK)
		return false;
	m = merge_queue_msg(s, id);
	while (n-- > 0)
		merge_queue_done(m, wire_get_u16(&list), true);
	return true;
}

static bool
add_operator(struct merge_queue_side *s, uint8_t type, struct span payload)
{
	struct merge_queue_msg *m;
	struct wire_in in;
	uint64_t id;

	wire_in_init(&in, payload.p, payload.len);
	id = wire_get_u64(&in);
	if (!wire_in_done(&in) || id > INT64_MAX || (id == 0 && type == QUEUE_DELETE))
		return false;
	if (type == QUEUE_DELETE) {
		m = merge_queue_msg(s, id);
		/* Pieces that never became a message were swept: nobody removed anything. */
		m->removed = m->removed || !m->pieces || m->made;
	}
	if (type == QUEUE_HOLD || type == QUEUE_RELEASE) {
		if (id == 0)
			s->hold_all = true;
		else
			merge_queue_msg(s, id)->hold = true;
	}
	return true;
}

bool
merge_queue_record(struct merge_queue_side *s, uint8_t type, struct span payload, int64_t time_ms)
{
	struct queue_enqueue e;
	struct queue_adopt a;
	struct span bytes;
	uint64_t id, at;

	switch (type) {
	case OWNER_REC_GENERATION:
		return true;
	case QUEUE_BLOB:
		if (queue_blob_get(payload, &id, &at, &bytes) != PARSE_OK)
			return false;
		merge_queue_msg(s, id)->pieces = true;
		return true;
	case QUEUE_ENQUEUE:
		if (queue_enqueue_get(payload, &e) != PARSE_OK)
			return false;
		made(merge_queue_msg(s, e.id), e.trace, e.sender, e.size, time_ms);
		return true;
	case QUEUE_ADOPT:
		if (queue_adopt_get(payload, &a) != PARSE_OK)
			return false;
		made(merge_queue_msg(s, a.id), a.trace, a.sender, a.size, a.created_ms);
		return true;
	case QUEUE_RESULT:
		return add_result(s, payload);
	case QUEUE_REPORTED:
		return add_reported(s, payload);
	case QUEUE_HOLD:
	case QUEUE_RELEASE:
	case QUEUE_RETRY:
	case QUEUE_DELETE:
		return add_operator(s, type, payload);
	default:
		return false;
	}
}
