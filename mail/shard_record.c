/* shard_record.c - encode and decode the store shards' log records.
 *
 * Pure: no clock, file or socket.  A decoder checks every count and length against
 * what is left before it says true; the iterators after it cannot fail then.  It
 * does not check whether mailboxes or messages exist: that is applying. */
#include "shard_record.h"

#include <assert.h>
#include <string.h>

const char *
rec_type_name(unsigned type)
{
	static const char *const names[] = { "generation", "deliver", "append", "blob", "flags",
		"expunge", "copy", "box-create", "box-delete", "box-rename", "box-subscribe",
		"part-drop", "merge-add", "merge-box", "merge-set" };

	return type < sizeof(names) / sizeof(*names) ? names[type] : "unknown";
}

static bool
get_version(struct wire_in *in, struct span body)
{
	wire_in_init(in, body.p, body.len);
	if (wire_get_u8(in) != REC_VERSION)
		in->bad = true;
	return !in->bad;
}

/* ---- mailboxes and entries ---- */

void
rec_put_box(struct wire_out *out, const struct rec_box *b)
{
	wire_put_u64(out, b->id);
	wire_put_u64(out, b->user);
	wire_put_u32(out, b->uidvalidity);
	wire_put_raw(out, b->guid, sizeof(b->guid));
	wire_put_u8(out, b->subscribe);
	wire_put_str(out, b->name);
	wire_put_str(out, b->special);
}

static void
get_box(struct wire_in *in, struct rec_box *b)
{
	b->id = wire_get_u64(in);
	b->user = wire_get_u64(in);
	b->uidvalidity = wire_get_u32(in);
	wire_get_raw(in, b->guid, sizeof(b->guid));
	b->subscribe = wire_get_u8(in) != 0;
	wire_get_str(in, b->name, sizeof(b->name));
	wire_get_str(in, b->special, sizeof(b->special));
	if (b->id == 0 || b->id > INT64_MAX || b->uidvalidity == 0 || b->name[0] == '\0')
		in->bad = true;
}

void
rec_put_entry(struct wire_out *out, const struct rec_entry *e)
{
	wire_put_u64(out, e->user);
	wire_put_u64(out, e->box);
	wire_put_u32(out, e->uid);
	wire_put_u32(out, e->flags);
	wire_put_u64(out, e->modseq);
	wire_put_u64(out, (uint64_t)e->internal_s);
	wire_put_raw(out, e->guid, sizeof(e->guid));
	wire_put_str(out, e->keywords);
}

static void
get_entry(struct wire_in *in, struct rec_entry *e)
{
	e->user = wire_get_u64(in);
	e->box = wire_get_u64(in);
	e->uid = wire_get_u32(in);
	e->flags = wire_get_u32(in);
	e->modseq = wire_get_u64(in);
	e->internal_s = (int64_t)wire_get_u64(in);
	wire_get_raw(in, e->guid, sizeof(e->guid));
	wire_get_str(in, e->keywords, sizeof(e->keywords));
	if (e->uid == 0 || e->box > INT64_MAX || e->modseq > INT64_MAX)
		in->bad = true;
}

/* ---- DELIVER, APPEND ---- */

void
rec_mail_begin(struct wire_out *out, const uint8_t sha[32], uint64_t size, bool inlined,
    unsigned nboxes, unsigned nentries)
{
	assert(nboxes <= REC_BOXES_MAX && nentries <= REC_ENTRIES_MAX);
	wire_put_u8(out, REC_VERSION);
	wire_put_raw(out, sha, 32);
	wire_put_u64(out, size);
	wire_put_u8(out, inlined);
	wire_put_u16(out, (uint16_t)nboxes);
	wire_put_u16(out, (uint16_t)nentries);
}

bool
rec_mail_decode(struct span body, struct rec_mail *m)
{
	struct wire_in in;
	struct rec_box box;
	struct rec_entry entry;

	if (!get_version(&in, body))
		return false;
	wire_get_raw(&in, m->sha, sizeof(m->sha));
	m->size = wire_get_u64(&in);
	m->inlined = wire_get_u8(&in) != 0;
	m->nboxes = wire_get_u16(&in);
	m->nentries = wire_get_u16(&in);
	if (m->nboxes > REC_BOXES_MAX || m->nentries > REC_ENTRIES_MAX || m->nentries == 0 ||
	    m->size > REC_OBJECT_MAX)
		return false;
	m->boxes = in;
	for (unsigned i = 0; i < m->nboxes && wire_in_ok(&in); i++)
		get_box(&in, &box);
	m->entries = in;
	for (unsigned i = 0; i < m->nentries && wire_in_ok(&in); i++)
		get_entry(&in, &entry);
	m->content = wire_get_rest(&in);
	return wire_in_ok(&in) && m->content.len == (m->inlined ? m->size : 0);
}

void
rec_mail_box(struct rec_mail *m, struct rec_box *b)
{
	get_box(&m->boxes, b);
}

void
rec_mail_entry(struct rec_mail *m, struct rec_entry *e)
{
	get_entry(&m->entries, e);
}

/* ---- BLOB ---- */

void
rec_blob_head(struct wire_out *out, const struct rec_blob *b)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_raw(out, b->sha, sizeof(b->sha));
	wire_put_u64(out, b->total);
	wire_put_u64(out, b->offset);
}

bool
rec_blob_decode(struct span body, struct rec_blob *b)
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	wire_get_raw(&in, b->sha, sizeof(b->sha));
	b->total = wire_get_u64(&in);
	b->offset = wire_get_u64(&in);
	b->bytes = wire_get_rest(&in);
	return wire_in_ok(&in) && b->total <= REC_OBJECT_MAX && b->offset <= b->total &&
	    b->bytes.len > 0 && b->bytes.len <= b->total - b->offset;
}

void
rec_drop_put(struct wire_out *out, const uint8_t sha[32])
{
	wire_put_u8(out, REC_VERSION);
	wire_put_raw(out, sha, 32);
}

bool
rec_drop_decode(struct span body, uint8_t sha[32])
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	wire_get_raw(&in, sha, 32);
	return wire_in_done(&in);
}

/* ---- FLAGS, EXPUNGE ---- */

static void
put_ranges(struct wire_out *out, const struct rec_range *r, unsigned n)
{
	assert(n <= REC_RANGES_MAX);
	wire_put_u32(out, n);
	for (unsigned i = 0; i < n; i++) {
		wire_put_u32(out, r[i].lo);
		wire_put_u32(out, r[i].hi);
	}
}

/* The ranges are the last part of a body and fill it exactly. */
static bool
get_ranges(struct wire_in *in, unsigned *n, struct wire_in *ranges)
{
	*n = wire_get_u32(in);
	*ranges = *in;
	return wire_in_ok(in) && *n <= REC_RANGES_MAX && in->left == (size_t)*n * 8;
}

struct rec_range
rec_range_get(struct wire_in *in)
{
	struct rec_range r;

	r.lo = wire_get_u32(in);
	r.hi = wire_get_u32(in);
	return r;
}

void
rec_flags_put(struct wire_out *out, const struct rec_flags *f, const struct rec_range *r)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, f->box);
	wire_put_u64(out, f->modseq);
	wire_put_u8(out, f->op);
	wire_put_u32(out, f->flags);
	wire_put_str(out, f->keywords);
	put_ranges(out, r, f->n);
}

bool
rec_flags_decode(struct span body, struct rec_flags *f)
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	f->box = wire_get_u64(&in);
	f->modseq = wire_get_u64(&in);
	f->op = wire_get_u8(&in);
	f->flags = wire_get_u32(&in);
	wire_get_str(&in, f->keywords, sizeof(f->keywords));
	return get_ranges(&in, &f->n, &f->ranges) && f->op <= STORE_FLAGS_REMOVE &&
	    f->modseq <= INT64_MAX && f->box <= INT64_MAX;
}

void
rec_expunge_put(struct wire_out *out, const struct rec_flags *f, const struct rec_range *r)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, f->box);
	wire_put_u64(out, f->modseq);
	wire_put_u8(out, f->op);
	put_ranges(out, r, f->n);
}

bool
rec_expunge_decode(struct span body, struct rec_flags *f)
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	f->box = wire_get_u64(&in);
	f->modseq = wire_get_u64(&in);
	f->op = wire_get_u8(&in);
	f->flags = 0;
	f->keywords[0] = '\0';
	return get_ranges(&in, &f->n, &f->ranges) && f->op <= 1 && f->modseq <= INT64_MAX &&
	    f->box <= INT64_MAX;
}

/* ---- COPY, MOVE ---- */

void
rec_copy_put(struct wire_out *out, const struct rec_copy *c, const struct rec_range *pairs)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, c->from);
	wire_put_u64(out, c->to);
	wire_put_u64(out, c->modseq);
	wire_put_u64(out, c->gone_modseq);
	wire_put_u8(out, c->move);
	put_ranges(out, pairs, c->n);
}

bool
rec_copy_decode(struct span body, struct rec_copy *c)
{
	struct wire_in in, check;
	bool ok;

	if (!get_version(&in, body))
		return false;
	c->from = wire_get_u64(&in);
	c->to = wire_get_u64(&in);
	c->modseq = wire_get_u64(&in);
	c->gone_modseq = wire_get_u64(&in);
	c->move = wire_get_u8(&in) != 0;
	ok = get_ranges(&in, &c->n, &c->pairs) && c->modseq <= INT64_MAX &&
	    c->gone_modseq <= INT64_MAX && c->from <= INT64_MAX && c->to <= INT64_MAX;
	check = c->pairs;
	for (unsigned i = 0; ok && i < c->n; i++)
		ok = rec_range_get(&check).hi != 0;	/* a UID is never 0 */
	return ok;
}

/* ---- mailboxes ---- */

void
rec_create_put(struct wire_out *out, const struct rec_box *b, unsigned n)
{
	assert(n > 0 && n <= REC_BOXES_MAX);
	wire_put_u8(out, REC_VERSION);
	wire_put_u16(out, (uint16_t)n);
	for (unsigned i = 0; i < n; i++)
		rec_put_box(out, &b[i]);
}

bool
rec_create_decode(struct span body, struct rec_create *c)
{
	struct wire_in in;
	struct rec_box box;

	if (!get_version(&in, body))
		return false;
	c->n = wire_get_u16(&in);
	c->boxes = in;
	if (c->n == 0 || c->n > REC_BOXES_MAX)
		return false;
	for (unsigned i = 0; i < c->n && wire_in_ok(&in); i++)
		get_box(&in, &box);
	return wire_in_done(&in);
}

void
rec_create_box(struct rec_create *c, struct rec_box *b)
{
	get_box(&c->boxes, b);
}

void
rec_delete_put(struct wire_out *out, const struct rec_delete *d)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, d->user);
	wire_put_u64(out, d->box);
	wire_put_u64(out, d->modseq);
}

bool
rec_delete_decode(struct span body, struct rec_delete *d)
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	d->user = wire_get_u64(&in);
	d->box = wire_get_u64(&in);
	d->modseq = wire_get_u64(&in);
	return wire_in_done(&in) && d->box <= INT64_MAX && d->modseq <= INT64_MAX;
}

void
rec_rename_put(struct wire_out *out, const struct rec_rename *r)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, r->user);
	wire_put_u64(out, r->modseq);
	wire_put_u64(out, r->box);
	wire_put_u8(out, r->inbox);
	wire_put_str(out, r->from);
	wire_put_str(out, r->to);
	if (r->inbox)
		rec_put_box(out, &r->made);
}

bool
rec_rename_decode(struct span body, struct rec_rename *r)
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	r->user = wire_get_u64(&in);
	r->modseq = wire_get_u64(&in);
	r->box = wire_get_u64(&in);
	r->inbox = wire_get_u8(&in) != 0;
	wire_get_str(&in, r->from, sizeof(r->from));
	wire_get_str(&in, r->to, sizeof(r->to));
	if (r->inbox)
		get_box(&in, &r->made);
	return wire_in_done(&in) && r->from[0] != '\0' && r->to[0] != '\0' &&
	    r->modseq <= INT64_MAX && r->box <= INT64_MAX;
}

void
rec_subscribe_put(struct wire_out *out, const struct rec_subscribe *s)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, s->user);
	wire_put_u8(out, s->on);
	wire_put_str(out, s->name);
}

bool
rec_subscribe_decode(struct span body, struct rec_subscribe *s)
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	s->user = wire_get_u64(&in);
	s->on = wire_get_u8(&in) != 0;
	wire_get_str(&in, s->name, sizeof(s->name));
	return wire_in_done(&in) && s->name[0] != '\0';
}

/* ---- merging ---- */

static void
get_key(struct wire_in *in, struct rec_key *k)
{
	wire_get_raw(in, k->box, sizeof(k->box));
	wire_get_raw(in, k->guid, sizeof(k->guid));
}

void
rec_added_begin(struct wire_out *out, const struct rec_key *k)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, k->fork);
	wire_put_raw(out, k->box, sizeof(k->box));
	wire_put_raw(out, k->guid, sizeof(k->guid));
}

bool
rec_added_decode(struct span body, struct rec_key *k, struct rec_mail *m)
{
	struct wire_in in;

	if (!get_version(&in, body))
		return false;
	k->fork = wire_get_u64(&in);
	get_key(&in, k);
	return wire_in_ok(&in) && k->fork <= INT64_MAX &&
	    rec_mail_decode(wire_get_rest(&in), m) && m->nboxes == 0 && m->nentries == 1;
}

void
rec_merge_box_put(struct wire_out *out, const struct rec_merge_box *b)
{
	wire_put_u8(out, REC_VERSION);
	wire_put_u8(out, (uint8_t)b->verb);
	wire_put_u64(out, b->user);
	wire_put_u64(out, b->box);
	wire_put_u64(out, b->modseq);
	wire_put_u64(out, b->since);
	wire_put_u32(out, b->uidvalidity);
	wire_put_u32(out, b->was);
	wire_put_u32(out, b->reserve);
	wire_put_raw(out, b->guid, sizeof(b->guid));
	wire_put_u8(out, b->subscribe);
	wire_put_str(out, b->from);
	wire_put_str(out, b->name);
	wire_put_str(out, b->special);
}

bool
rec_merge_box_decode(struct span body, struct rec_merge_box *b)
{
	struct wire_in in;
	bool named, numbered;

	if (!get_version(&in, body))
		return false;
	b->verb = (enum rec_box_verb)wire_get_u8(&in);
	b->user = wire_get_u64(&in);
	b->box = wire_get_u64(&in);
	b->modseq = wire_get_u64(&in);
	b->since = wire_get_u64(&in);
	b->uidvalidity = wire_get_u32(&in);
	b->was = wire_get_u32(&in);
	b->reserve = wire_get_u32(&in);
	wire_get_raw(&in, b->guid, sizeof(b->guid));
	b->subscribe = wire_get_u8(&in) != 0;
	wire_get_str(&in, b->from, sizeof(b->from));
	wire_get_str(&in, b->name, sizeof(b->name));
	wire_get_str(&in, b->special, sizeof(b->special));
	named = b->verb == REC_MBOX_CREATE || b->verb == REC_MBOX_RENAME;
	numbered = b->verb == REC_MBOX_CREATE || b->verb == REC_MBOX_RENUMBER;
	return wire_in_done(&in) && b->verb >= REC_MBOX_DELETE && b->verb <= REC_MBOX_RESERVE &&
	    b->box != 0 && b->box <= INT64_MAX && b->modseq <= INT64_MAX &&
	    b->since <= INT64_MAX && (!named || b->name[0] != '\0') &&
	    (!numbered || b->uidvalidity != 0);
}

void
rec_sets_begin(struct wire_out *out, uint64_t fork, uint64_t modseq, unsigned n)
{
	assert(n > 0 && n <= REC_SETS_MAX);
	wire_put_u8(out, REC_VERSION);
	wire_put_u64(out, fork);
	wire_put_u64(out, modseq);
	wire_put_u16(out, (uint16_t)n);
}

void
rec_set_put(struct wire_out *out, const struct rec_set *s)
{
	wire_put_u8(out, (uint8_t)s->what);
	wire_put_raw(out, s->key.box, sizeof(s->key.box));
	wire_put_raw(out, s->key.guid, sizeof(s->key.guid));
	wire_put_u64(out, s->box);
	wire_put_u32(out, s->uid);
	wire_put_u64(out, s->seen);
	wire_put_u32(out, s->flags);
	wire_put_str(out, s->keywords);
}

static void
get_set(struct wire_in *in, uint64_t fork, struct rec_set *s)
{
	s->what = (enum rec_set_what)wire_get_u8(in);
	s->key.fork = fork;
	get_key(in, &s->key);
	s->box = wire_get_u64(in);
	s->uid = wire_get_u32(in);
	s->seen = wire_get_u64(in);
	s->flags = wire_get_u32(in);
	wire_get_str(in, s->keywords, sizeof(s->keywords));
	if (s->what < REC_SET_FLAGS || s->what > REC_SET_NOTE || s->box > INT64_MAX ||
	    s->seen > INT64_MAX)
		in->bad = true;
}

bool
rec_sets_decode(struct span body, struct rec_sets *r)
{
	struct wire_in in;
	struct rec_set s;

	if (!get_version(&in, body))
		return false;
	r->fork = wire_get_u64(&in);
	r->modseq = wire_get_u64(&in);
	r->n = wire_get_u16(&in);
	r->items = in;
	if (r->n == 0 || r->n > REC_SETS_MAX || r->fork > INT64_MAX || r->modseq > INT64_MAX)
		return false;
	for (unsigned i = 0; i < r->n && wire_in_ok(&in); i++)
		get_set(&in, r->fork, &s);
	return wire_in_done(&in);
}

void
rec_set_get(struct rec_sets *r, struct rec_set *s)
{
	get_set(&r->items, r->fork, s);
}
