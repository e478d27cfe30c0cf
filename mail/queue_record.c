/* queue_record.c - the queue's records as bytes.  Every length is checked, a record
 * that does not decode as a whole is PARSE_BAD, and nothing is written to the results
 * of one.  Knows neither the database nor the log. */
#include <string.h>

#include "queue_record.h"

#define ID_MAX INT64_MAX		/* SQLite's integers have a sign */

const char *
queue_outcome_name(enum queue_outcome o)
{
	static const char *const names[] = { "?", "delivered", "deferred", "failed" };

	return (unsigned)o < sizeof(names) / sizeof(names[0]) ? names[o] : "?";
}

static bool
id_ok(uint64_t id)
{
	return id != 0 && id <= ID_MAX;
}

void
queue_enqueue_put(struct wire_out *w, const struct queue_enqueue *e, const char *const *rcpts)
{
	wire_put_u64(w, e->id);
	wire_put_str(w, e->trace);
	wire_put_str(w, e->sender);
	wire_put_u8(w, e->flags);
	wire_put_u64(w, e->size);
	wire_put_raw(w, e->sha, sizeof(e->sha));
	wire_put_u16(w, e->nrcpts);
	for (uint16_t i = 0; i < e->nrcpts; i++)
		wire_put_str(w, rcpts[i]);
}

enum parse
queue_enqueue_get(struct span payload, struct queue_enqueue *out)
{
	char address[ADDRESS_MAX + 1];
	struct queue_enqueue e;
	struct wire_in in;

	memset(&e, 0, sizeof(e));
	wire_in_init(&in, payload.p, payload.len);
	e.id = wire_get_u64(&in);
	wire_get_str(&in, e.trace, sizeof(e.trace));
	wire_get_str(&in, e.sender, sizeof(e.sender));
	e.flags = wire_get_u8(&in);
	e.size = wire_get_u64(&in);
	wire_get_raw(&in, e.sha, sizeof(e.sha));
	e.nrcpts = wire_get_u16(&in);
	e.rcpts = in;
	for (uint16_t i = 0; i < e.nrcpts && wire_in_ok(&in); i++)
		wire_get_str(&in, address, sizeof(address));
	e.content = wire_get_rest(&in);
	if (!wire_in_ok(&in) || !id_ok(e.id) || e.nrcpts == 0 || e.size > ID_MAX
	    || (e.content.len > 0 && e.content.len != e.size))
		return PARSE_BAD;
	*out = e;
	return PARSE_OK;
}

void
queue_rcpt_next(struct wire_in *in, char out[ADDRESS_MAX + 1])
{
	wire_get_str(in, out, ADDRESS_MAX + 1);
}

void
queue_adopt_put(struct wire_out *w, const struct queue_adopt *a)
{
	wire_put_u64(w, a->id);
	wire_put_str(w, a->trace);
	wire_put_str(w, a->sender);
	wire_put_u8(w, a->flags);
	wire_put_u64(w, a->size);
	wire_put_raw(w, a->sha, sizeof(a->sha));
	wire_put_u64(w, (uint64_t)a->created_ms);
	wire_put_u64(w, (uint64_t)a->next_ms);
	wire_put_u32(w, a->attempts);
	wire_put_u8(w, a->held);
	wire_put_u8(w, a->warned);
	wire_put_u16(w, a->nrcpts);
}

void
queue_adopt_rcpt_put(struct wire_out *w, uint16_t index, bool failed, const char *address,
    const char *reply)
{
	wire_put_u16(w, index);
	wire_put_u8(w, failed);
	wire_put_str(w, address);
	wire_put_str(w, reply);
}

enum parse
queue_adopt_get(struct span payload, struct queue_adopt *out)
{
	struct queue_adopt_rcpt r;
	struct queue_adopt a;
	struct wire_in in;
	int last = -1;

	memset(&a, 0, sizeof(a));
	wire_in_init(&in, payload.p, payload.len);
	a.id = wire_get_u64(&in);
	wire_get_str(&in, a.trace, sizeof(a.trace));
	wire_get_str(&in, a.sender, sizeof(a.sender));
	a.flags = wire_get_u8(&in);
	a.size = wire_get_u64(&in);
	wire_get_raw(&in, a.sha, sizeof(a.sha));
	a.created_ms = (int64_t)wire_get_u64(&in);
	a.next_ms = (int64_t)wire_get_u64(&in);
	a.attempts = wire_get_u32(&in);
	a.held = wire_get_u8(&in) != 0;
	a.warned = wire_get_u8(&in) != 0;
	a.nrcpts = wire_get_u16(&in);
	a.rcpts = in;
	for (uint16_t i = 0; i < a.nrcpts && wire_in_ok(&in); i++) {
		queue_adopt_next(&in, &r);
		if (r.index <= last || r.address[0] == '\0')
			return PARSE_BAD;
		last = r.index;
	}
	a.content = wire_get_rest(&in);
	if (!wire_in_ok(&in) || !id_ok(a.id) || a.nrcpts == 0 || a.size > ID_MAX
	    || a.created_ms < 0 || a.next_ms < 0
	    || (a.content.len > 0 && a.content.len != a.size))
		return PARSE_BAD;
	*out = a;
	return PARSE_OK;
}

void
queue_adopt_next(struct wire_in *in, struct queue_adopt_rcpt *r)
{
	r->index = wire_get_u16(in);
	r->failed = wire_get_u8(in) != 0;
	wire_get_str(in, r->address, sizeof(r->address));
	wire_get_str(in, r->reply, sizeof(r->reply));
}

void
queue_blob_put(struct wire_out *w, uint64_t id, uint64_t offset)
{
	wire_put_u64(w, id);
	wire_put_u64(w, offset);
}

enum parse
queue_blob_get(struct span payload, uint64_t *id, uint64_t *offset, struct span *bytes)
{
	struct wire_in in;
	uint64_t i, o;
	struct span b;

	wire_in_init(&in, payload.p, payload.len);
	i = wire_get_u64(&in);
	o = wire_get_u64(&in);
	b = wire_get_rest(&in);
	if (!wire_in_ok(&in) || !id_ok(i) || o > ID_MAX || b.len == 0 || b.len > QUEUE_INLINE_MAX)
		return PARSE_BAD;
	*id = i;
	*offset = o;
	*bytes = b;
	return PARSE_OK;
}

void
queue_result_put(struct wire_out *w, uint64_t id, int64_t next_ms, const struct queue_result *r,
    uint16_t n)
{
	wire_put_u64(w, id);
	wire_put_u64(w, (uint64_t)next_ms);
	wire_put_u16(w, n);
	for (uint16_t i = 0; i < n; i++) {
		wire_put_u16(w, r[i].rcpt);
		wire_put_u8(w, (uint8_t)r[i].outcome);
		wire_put_str(w, r[i].reply);
	}
}

enum parse
queue_result_get(struct span payload, uint64_t *id, int64_t *next_ms, uint16_t *n,
    struct wire_in *list)
{
	struct wire_in in, start;
	struct queue_result r;
	uint64_t i, next;
	uint16_t count;

	wire_in_init(&in, payload.p, payload.len);
	i = wire_get_u64(&in);
	next = wire_get_u64(&in);
	count = wire_get_u16(&in);
	start = in;
	for (uint16_t k = 0; k < count && wire_in_ok(&in); k++) {
		queue_result_next(&in, &r);
		if (r.outcome < QUEUE_DONE || r.outcome > QUEUE_FAIL)
			return PARSE_BAD;
	}
	if (!wire_in_done(&in) || !id_ok(i) || next > ID_MAX || count == 0)
		return PARSE_BAD;
	*id = i;
	*next_ms = (int64_t)next;
	*n = count;
	*list = start;
	return PARSE_OK;
}

void
queue_result_next(struct wire_in *in, struct queue_result *r)
{
	r->rcpt = wire_get_u16(in);
	r->outcome = (enum queue_outcome)wire_get_u8(in);
	wire_get_str(in, r->reply, sizeof(r->reply));
}

void
queue_reported_put(struct wire_out *w, uint64_t id, const uint16_t *rcpts, uint16_t n)
{
	wire_put_u64(w, id);
	wire_put_u16(w, n);
	for (uint16_t i = 0; i < n; i++)
		wire_put_u16(w, rcpts[i]);
}

enum parse
queue_reported_get(struct span payload, uint64_t *id, uint16_t *n, struct wire_in *list)
{
	struct wire_in in, start;
	uint16_t count;
	uint64_t i;

	wire_in_init(&in, payload.p, payload.len);
	i = wire_get_u64(&in);
	count = wire_get_u16(&in);
	start = in;
	for (uint16_t k = 0; k < count && wire_in_ok(&in); k++)
		(void)wire_get_u16(&in);
	if (!wire_in_done(&in) || !id_ok(i))
		return PARSE_BAD;
	*id = i;
	*n = count;
	*list = start;
	return PARSE_OK;
}
