/* feed.c - the end of the log in memory, the rest through the store.  The recent
 * records form one run that ends at the tip; the oldest are dropped from memory when
 * they are durable and there are too many.  So shipping and delivery in step with
 * the writer never touch the disk, and a reader that lags reads verified segments. */
#include "feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "owner.h"

#define READ_CHUNK (256u << 10)

struct feed {
	struct log_store *store;
	struct log_writer *writer;
	struct log_tip tip;
	struct history history;
	struct logrec **ring;		/* of LSN first .. tip at [lsn % size] */
	size_t size;			/* power of two */
	uint64_t first;
	size_t bytes, max_bytes;
};

struct feed *
feed_new(struct log_store *store, struct log_writer *writer, size_t recent_bytes)
{
	struct feed *f = mem_alloc(sizeof(*f));

	f->store = store;
	f->writer = writer;
	f->tip = log_store_tip(store);
	log_store_history(store, &f->history);
	f->size = 1024;
	f->ring = mem_array(f->size, sizeof(struct logrec *));
	f->first = f->tip.lsn + 1;
	f->max_bytes = recent_bytes;
	return f;
}

static void
drop_first(struct feed *f)
{
	struct logrec **slot = &f->ring[f->first % f->size];

	f->bytes -= (*slot)->len;
	logrec_unref(*slot);
	*slot = NULL;
	f->first++;
}

static void
forget_recent(struct feed *f)
{
	while (f->first <= f->tip.lsn)
		drop_first(f);
	f->tip = log_store_tip(f->store);
	log_store_history(f->store, &f->history);
	f->first = f->tip.lsn + 1;
}

void
feed_free(struct feed *f)
{
	if (f == NULL)
		return;
	while (f->first <= f->tip.lsn)
		drop_first(f);
	free(f->ring);
	free(f);
}

void
feed_reader_clear(struct feed_reader *r)
{
	free(r->buf);
	memset(r, 0, sizeof(*r));
}

struct log_tip
feed_tip(const struct feed *f)
{
	return f->tip;
}

const struct history *
feed_history(const struct feed *f)
{
	return &f->history;
}

uint64_t
feed_oldest(const struct feed *f)
{
	return log_store_oldest(f->store);
}

static void
ring_grow(struct feed *f)
{
	struct logrec **bigger = mem_array(f->size * 2, sizeof(struct logrec *));

	for (uint64_t l = f->first; l <= f->tip.lsn; l++)
		bigger[l % (f->size * 2)] = f->ring[l % f->size];
	free(f->ring);
	f->ring = bigger;
	f->size *= 2;
}

bool
feed_gen(const struct record *r, struct gen *g)
{
	struct wire_in w;

	if (r->shard != SHARD_PAIR || r->type != RECORD_GEN)
		return false;
	wire_in_init(&w, r->payload.p, r->payload.len);
	gen_get(&w, g);
	return wire_in_done(&w);
}

static const struct logrec *
take(struct feed *f, struct logrec *l, const struct record *r, uint64_t durable_lsn)
{
	struct gen g;

	l->lsn = r->lsn;
	l->gen_no = r->gen_no;
	l->origin = r->origin;
	l->time_ms = r->time_ms;
	l->shard = r->shard;
	l->type = r->type;
	memcpy(l->hash, r->hash, 16);
	while (f->first <= f->tip.lsn && f->first <= durable_lsn &&
	    f->bytes + l->len > f->max_bytes)
		drop_first(f);
	if (r->lsn - f->first >= f->size)
		ring_grow(f);
	f->ring[r->lsn % f->size] = l;
	f->bytes += l->len;
	f->tip.lsn = r->lsn;
	memcpy(f->tip.hash, r->hash, 16);
	if (feed_gen(r, &g))
		history_add(&f->history, &g);
	log_writer_put(f->writer, l);
	return l;
}

const struct logrec *
feed_append(struct feed *f, struct record *r, uint64_t durable_lsn)
{
	struct logrec *l = logrec_new(r->payload.len);

	r->lsn = f->tip.lsn + 1;
	r->synced = durable_lsn;
	record_encode(r, f->tip.hash, l->raw);
	return take(f, l, r, durable_lsn);
}

const struct logrec *
feed_receive(struct feed *f, const struct record *r, uint64_t durable_lsn)
{
	struct logrec *l = logrec_new(r->payload.len);

	memcpy(l->raw, r->raw.p, r->raw.len);
	record_stamp(l->raw, durable_lsn);
	return take(f, l, r, durable_lsn);
}

/* Fills the reader with old records from lsn on. */
static int
refill(struct feed *f, struct feed_reader *rd, uint64_t lsn)
{
	feed_reader_clear(rd);
	if (log_store_read(f->store, lsn, READ_CHUNK, &rd->buf, &rd->len) == -1)
		return -1;
	rd->lsn = lsn;
	return 0;
}

int
feed_read(struct feed *f, struct feed_reader *rd, uint64_t lsn, struct record *r)
{
	struct span in;
	size_t used;

	if (lsn > f->tip.lsn)
		return 0;
	if (lsn >= f->first) {
		const struct logrec *l = f->ring[lsn % f->size];

		feed_reader_clear(rd);
		in = (struct span){ (const char *)l->raw, l->len };
		if (record_decode(in, r, &used) != PARSE_OK) {
			errno = EBADMSG;
			return -1;
		}
		return 1;
	}
	if ((rd->lsn != lsn || rd->at >= rd->len) && refill(f, rd, lsn) == -1)
		return -1;
	in = (struct span){ (const char *)rd->buf + rd->at, rd->len - rd->at };
	if (record_decode(in, r, &used) != PARSE_OK || r->lsn != lsn) {
		errno = EBADMSG;
		return -1;
	}
	rd->at += used;
	rd->lsn = lsn + 1;
	return 1;
}

int
feed_hash(struct feed *f, uint64_t lsn, uint8_t hash[16])
{
	if (lsn == f->tip.lsn) {
		memcpy(hash, f->tip.hash, 16);
		return 0;
	}
	if (lsn >= f->first && lsn < f->tip.lsn) {
		memcpy(hash, f->ring[lsn % f->size]->hash, 16);
		return 0;
	}
	if (lsn > f->tip.lsn) {
		errno = ERANGE;
		return -1;
	}
	return log_store_hash(f->store, lsn, hash);
}

int
feed_cut(struct feed *f, uint64_t lsn, const char *name)
{
	if (log_store_cut(f->store, lsn, name) == -1)
		return -1;
	forget_recent(f);
	return 0;
}

int
feed_reset(struct feed *f, const struct log_tip *tip, const struct history *h)
{
	if (log_store_reset(f->store, tip, h) == -1)
		return -1;
	forget_recent(f);
	return 0;
}
