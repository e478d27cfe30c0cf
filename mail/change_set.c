/* change_set.c - see change_set.h.  The items of a shard in a change_file; the bytes of
 * a message stand behind its item, and are compared with their name. */
#include "change_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change_file.h"
#include "fs.h"
#include "keywords.h"
#include "log.h"
#include "mem.h"
#include "shard_priv.h"
#include "wire.h"

#define BUF (256u << 10)

enum item { ITEM_BOX = 1, ITEM_MSG, ITEM_SUB, ITEM_OBJECT, ITEM_COUNTS };
enum { BOX_BASE = 1, BOX_ALIVE = 2, BOX_SUBSCRIBED = 4 };
enum { MSG_COPIED = 1, MSG_UNKNOWN = 2 };

/* ---- in memory ---- */

void
changes_clear(struct changes *c)
{
	for (size_t i = 0; i < c->ntexts; i++)
		free(c->texts[i]);
	free(c->texts);
	free(c->boxes);
	free(c->box_more);
	free(c->msgs);
	free(c->msg_more);
	free(c->objects);
	free(c->subs);
	memset(c, 0, sizeof(*c));
}

/* v with room for one more than n; grows at each power of two. */
static void *
room(void *v, size_t n, size_t size)
{
	if ((n & (n - 1)) == 0)
		v = mem_grow(v, n == 0 ? 1 : n * 2, size);
	memset((char *)v + n * size, 0, size);
	return v;
}

struct merge_box *
changes_add_box(struct changes *c, struct changes_box **more)
{
	c->boxes = room(c->boxes, c->nboxes, sizeof(*c->boxes));
	c->box_more = room(c->box_more, c->nboxes, sizeof(*c->box_more));
	*more = &c->box_more[c->nboxes];
	return &c->boxes[c->nboxes++];
}

struct merge_msg *
changes_add_msg(struct changes *c, struct changes_msg **more)
{
	c->msgs = room(c->msgs, c->nmsgs, sizeof(*c->msgs));
	c->msg_more = room(c->msg_more, c->nmsgs, sizeof(*c->msg_more));
	*more = &c->msg_more[c->nmsgs];
	return &c->msgs[c->nmsgs++];
}

struct changes_sub *
changes_add_sub(struct changes *c)
{
	c->subs = room(c->subs, c->nsubs, sizeof(*c->subs));
	return &c->subs[c->nsubs++];
}

const char *
changes_text(struct changes *c, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return text == NULL ? NULL : "";
	c->texts = room(c->texts, c->ntexts, sizeof(*c->texts));
	return c->texts[c->ntexts++] = mem_dup(text);
}

/* ---- writing ---- */

static void
put_box(struct change_out *o, const struct merge_box *b, const struct changes_box *x)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_raw(&w, b->guid, 16);
	wire_put_u64(&w, b->user);
	wire_put_u32(&w, b->uidvalidity);
	wire_put_u32(&w, x->uidnext);
	wire_put_u8(&w, (uint8_t)((b->base_name != NULL ? BOX_BASE : 0) |
	    (b->name != NULL ? BOX_ALIVE : 0) | (x->subscribed ? BOX_SUBSCRIBED : 0)));
	wire_put_str(&w, b->base_name);
	wire_put_str(&w, b->name);
	wire_put_str(&w, b->special);
	change_out_item(o, ITEM_BOX, &w);
}

static void
put_msg(struct change_out *o, const struct merge_msg *m, const struct changes_msg *x)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_raw(&w, m->box, 16);
	wire_put_raw(&w, m->guid, 16);
	wire_put_u8(&w, (uint8_t)m->what);
	wire_put_u8(&w, (uint8_t)((m->copied ? MSG_COPIED : 0) | (x->unknown ? MSG_UNKNOWN : 0)));
	wire_put_u32(&w, m->uid);
	wire_put_u32(&w, m->flags);
	wire_put_u32(&w, m->base_flags);
	wire_put_u64(&w, m->size);
	wire_put_u64(&w, (uint64_t)m->internal_s);
	wire_put_raw(&w, m->sha, 32);
	wire_put_str(&w, m->keywords);
	wire_put_str(&w, m->base_keywords);
	change_out_item(o, ITEM_MSG, &w);
}

static void
put_sub(struct change_out *o, const struct changes_sub *s)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, s->user);
	wire_put_u8(&w, s->on);
	wire_put_str(&w, s->name);
	change_out_item(o, ITEM_SUB, &w);
}

static void
put_object(struct change_out *o, const struct changes_object *x, int fd, char *buf)
{
	struct wire_out w;
	uint64_t at = 0;
	ssize_t n = 1;

	wire_out_init(&w);
	wire_put_raw(&w, x->sha, 32);
	wire_put_u64(&w, x->size);
	change_out_item(o, ITEM_OBJECT, &w);
	while (at < x->size && o->error == 0) {
		size_t want = x->size - at < BUF ? (size_t)(x->size - at) : BUF;

		if ((n = fs_pread_all(fd, buf, want, (off_t)at)) <= 0) {
			o->error = n == 0 ? EIO : errno;	/* it shrank while it was read */
			return;
		}
		change_out_raw(o, buf, (size_t)n);
		at += (uint64_t)n;
	}
}

static int
by_sha(const void *a, const void *b)
{
	return memcmp(((const struct changes_object *)a)->sha,
	    ((const struct changes_object *)b)->sha, 32);
}

/* Each object once; what was changed goes along as well, because the other side may
 * have removed it. */
static uint64_t
put_objects(struct change_out *o, struct changes *c, int objects_fd)
{
	struct changes_object *v = mem_array(c->nmsgs + 1, sizeof(*v));
	char *buf = mem_alloc(BUF), name[72];
	uint64_t written = 0;
	size_t n = 0;
	int fd;

	for (size_t i = 0; i < c->nmsgs; i++)
		if (c->msgs[i].what != MERGE_REMOVED) {
			memcpy(v[n].sha, c->msgs[i].sha, 32);
			v[n++].size = c->msgs[i].size;
		}
	qsort(v, n, sizeof(*v), by_sha);
	for (size_t i = 0; i < n && o->error == 0; i++) {
		if (i > 0 && by_sha(&v[i - 1], &v[i]) == 0)
			continue;
		object_name(v[i].sha, name);
		fd = object_good(objects_fd, v[i].sha, v[i].size) ?
		    openat(objects_fd, name, O_RDONLY | O_CLOEXEC) : -1;
		if (fd == -1) {
			c->missing++;
			continue;
		}
		put_object(o, &v[i], fd, buf);
		close(fd);
		written++;
	}
	free(buf);
	free(v);
	return written;
}

int
changes_write(struct changes *c, const char *dir, int objects_fd)
{
	struct change_out o;
	struct wire_out w;
	uint64_t objects;

	change_out_open(&o, dir, c->shard, c->fork, c->whole);
	for (size_t i = 0; i < c->nboxes; i++)
		put_box(&o, &c->boxes[i], &c->box_more[i]);
	for (size_t i = 0; i < c->nmsgs; i++)
		put_msg(&o, &c->msgs[i], &c->msg_more[i]);
	for (size_t i = 0; i < c->nsubs; i++)
		put_sub(&o, &c->subs[i]);
	objects = put_objects(&o, c, objects_fd);
	wire_out_init(&w);
	wire_put_u64(&w, c->nboxes);
	wire_put_u64(&w, c->nmsgs);
	wire_put_u64(&w, c->nsubs);
	wire_put_u64(&w, objects);
	wire_put_u64(&w, c->missing);
	change_out_item(&o, ITEM_COUNTS, &w);
	return change_out_end(&o);
}

/* ---- reading ---- */

static bool
name_ok(const char *name)
{
	char clean[STORE_NAME_MAX + 1];

	return shard_name_clean(name, clean) && strcmp(name, clean) == 0;
}

static bool
get_box(struct changes *c, struct wire_in *in)
{
	char base[STORE_NAME_MAX + 1], name[STORE_NAME_MAX + 1], special[REC_SPECIAL_MAX];
	struct changes_box *x;
	struct merge_box *b;
	uint8_t bits;

	if (c->nboxes == CHANGES_BOXES_MAX)
		return false;
	b = changes_add_box(c, &x);
	wire_get_raw(in, b->guid, 16);
	b->user = wire_get_u64(in);
	b->uidvalidity = wire_get_u32(in);
	x->uidnext = wire_get_u32(in);
	bits = wire_get_u8(in);
	wire_get_str(in, base, sizeof(base));
	wire_get_str(in, name, sizeof(name));
	wire_get_str(in, special, sizeof(special));
	if (!wire_in_done(in) || b->uidvalidity == 0 || x->uidnext == 0 ||
	    ((bits & BOX_BASE) != 0 && !name_ok(base)) ||
	    ((bits & BOX_ALIVE) != 0 && !name_ok(name)))
		return false;
	b->base_name = (bits & BOX_BASE) != 0 ? changes_text(c, base) : NULL;
	b->name = (bits & BOX_ALIVE) != 0 ? changes_text(c, name) : NULL;
	b->special = changes_text(c, special);
	x->subscribed = (bits & BOX_SUBSCRIBED) != 0;
	return true;
}

/* Keywords as the store would hold them, whatever came. */
static const char *
get_keywords(struct changes *c, struct wire_in *in)
{
	char got[STORE_KEYWORDS_MAX + 1], clean[STORE_KEYWORDS_MAX + 1];

	wire_get_str(in, got, sizeof(got));
	if (got[0] == '\0')
		return "";
	keywords_apply(STORE_FLAGS_SET, NULL, got, clean);
	return changes_text(c, clean);
}

static bool
get_msg(struct changes *c, struct wire_in *in)
{
	struct changes_msg *x;
	struct merge_msg *m;
	uint8_t what, bits;

	if (c->nmsgs == CHANGES_MSGS_MAX)
		return false;
	m = changes_add_msg(c, &x);
	wire_get_raw(in, m->box, 16);
	wire_get_raw(in, m->guid, 16);
	what = wire_get_u8(in);
	bits = wire_get_u8(in);
	m->uid = wire_get_u32(in);
	m->flags = wire_get_u32(in);
	m->base_flags = wire_get_u32(in);
	m->size = wire_get_u64(in);
	m->internal_s = (int64_t)wire_get_u64(in);
	wire_get_raw(in, m->sha, 32);
	m->keywords = get_keywords(c, in);
	m->base_keywords = get_keywords(c, in);
	m->what = (enum merge_change)what;
	m->copied = (bits & MSG_COPIED) != 0;
	x->unknown = (bits & MSG_UNKNOWN) != 0;
	return wire_in_done(in) && what <= MERGE_REMOVED && m->uid != 0 &&
	    m->size <= REC_OBJECT_MAX;
}

static bool
get_sub(struct changes *c, struct wire_in *in)
{
	char name[STORE_NAME_MAX + 1];
	struct changes_sub *s;

	if (c->nsubs == CHANGES_SUBS_MAX)
		return false;
	s = changes_add_sub(c);
	s->user = wire_get_u64(in);
	s->on = wire_get_u8(in) != 0;
	wire_get_str(in, name, sizeof(name));
	if (!wire_in_done(in) || !name_ok(name))
		return false;
	s->name = changes_text(c, name);
	return true;
}

/* Are the bytes at this place what their name says? */
static bool
bytes_good(int fd, const struct changes_object *o)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	char *buf = mem_alloc(BUF);
	uint8_t sha[32];
	uint64_t at = 0;
	ssize_t n = 1;

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	while (at < o->size && n > 0) {
		size_t want = o->size - at < BUF ? (size_t)(o->size - at) : BUF;

		if ((n = fs_pread_all(fd, buf, want, o->at + (off_t)at)) > 0) {
			EVP_DigestUpdate(md, buf, (size_t)n);
			at += (uint64_t)n;
		}
	}
	EVP_DigestFinal_ex(md, sha, NULL);
	EVP_MD_CTX_free(md);
	free(buf);
	return at == o->size && memcmp(sha, o->sha, 32) == 0;
}

static bool
get_object(struct changes *c, struct change_in *file, struct wire_in *in)
{
	struct changes_object *o;

	if (c->nobjects == CHANGES_MSGS_MAX)
		return false;
	c->objects = room(c->objects, c->nobjects, sizeof(*c->objects));
	o = &c->objects[c->nobjects++];
	wire_get_raw(in, o->sha, 32);
	o->size = wire_get_u64(in);
	if (!wire_in_done(in) || o->size > REC_OBJECT_MAX ||
	    (c->nobjects > 1 && by_sha(o - 1, o) >= 0))
		return false;
	o->at = (off_t)change_in_skip(file, o->size);
	return bytes_good(file->fd, o);
}

static bool
get_counts(struct changes *c, struct wire_in *in)
{
	bool same = wire_get_u64(in) == c->nboxes;

	same &= wire_get_u64(in) == c->nmsgs;
	same &= wire_get_u64(in) == c->nsubs;
	same &= wire_get_u64(in) == c->nobjects;
	c->missing = wire_get_u64(in);
	return same && wire_in_done(in);
}

/* Mailboxes, messages, subscriptions, objects, then the counts. */
static bool
get_items(struct changes *c, struct change_in *file)
{
	uint8_t type, last = ITEM_BOX;
	struct wire_in in;
	struct span body;
	bool ok = true;
	int rc;

	while (ok && (rc = change_in_next(file, &type, &body)) == 1) {
		ok = type >= last && last != ITEM_COUNTS;
		last = type;
		wire_in_init(&in, body.p, body.len);
		if (type == ITEM_BOX)
			ok = ok && get_box(c, &in);
		else if (type == ITEM_MSG)
			ok = ok && get_msg(c, &in);
		else if (type == ITEM_SUB)
			ok = ok && get_sub(c, &in);
		else if (type == ITEM_OBJECT)
			ok = ok && get_object(c, file, &in);
		else
			ok = ok && type == ITEM_COUNTS && get_counts(c, &in);
	}
	return ok && rc == 0 && last == ITEM_COUNTS;
}

int
changes_read(struct changes *c, int fd, uint16_t shard, uint64_t fork)
{
	struct change_in file;
	struct stat st;
	bool ok;

	memset(c, 0, sizeof(*c));
	if (fstat(fd, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EBADMSG;
		return -1;
	}
	if (change_in_open(&file, fd, shard, fork) == -1)
		return -1;
	c->shard = shard;
	c->fork = fork;
	c->whole = file.whole;
	ok = get_items(c, &file) && file.at == st.st_size;
	change_in_close(&file);
	if (ok)
		return 0;
	changes_clear(c);
	errno = EBADMSG;
	return -1;
}

const struct changes_object *
changes_object(const struct changes *c, const uint8_t sha[32])
{
	struct changes_object key;

	memcpy(key.sha, sha, 32);
	return c->nobjects == 0 ? NULL :
	    bsearch(&key, c->objects, c->nobjects, sizeof(key), by_sha);
}
