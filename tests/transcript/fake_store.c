/* fake_store.c - see fake_store.h.  Objects are memfds made when they are opened; ids
 * and UIDs count from 1, UIDVALIDITY is 1000 + id.  Not for speed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>
#include <event2/event.h>

#include "fake_store.h"
#include "fs.h"
#include "hex.h"
#include "mem.h"

struct message {
	struct store_msg m;
	char *text;
};
struct box {
	struct store_box b;
	struct message *msg;
	size_t n;
	bool used;
};
enum kind { APPEND, FLAGS, EXPUNGE, COPY, CREATE, DELETE, RENAME, SUBSCRIBE, MEND };
struct change {
	TAILQ_ENTRY(change) link;
	enum kind kind;
	enum mail_rc rc;
	store_done_cb *done;
	void *arg;
	uint64_t box, to;
	struct range { uint32_t lo, hi; } *r;
	size_t n;
	enum store_flag_op op;
	uint32_t flags;
	char *keywords, *name, *name2, *text;
	size_t len;
	int64_t date;
	bool yes;
};
struct store_watch {
	TAILQ_ENTRY(store_watch) link;
	struct store *s;
	uint64_t box;
	void (*cb)(void *, const struct store_event *);
	void *arg;
};
#define BOXES 64
struct store {
	struct box box[BOXES];		/* box[i] has id i + 1 */
	size_t n_boxes;
	TAILQ_HEAD(, change) changes;
	TAILQ_HEAD(, store_watch) watches;
	struct event *turn;
	enum mail_rc fail;
	bool hidden, mendable;
	uint64_t lsn;
	char gone_subs[STORE_NAME_MAX + 1];
};

static struct box *
find(struct store *s, const char *name)
{
	for (size_t i = 0; i < s->n_boxes; i++)
		if (s->box[i].used && strcmp(s->box[i].b.name, name) == 0)
			return &s->box[i];
	return NULL;
}

static struct box *
by_id(struct store *s, uint64_t id)
{
	return id >= 1 && id <= s->n_boxes && s->box[id - 1].used ? &s->box[id - 1] : NULL;
}

static struct box *
make(struct store *s, const char *name)
{
	struct box *b = &s->box[s->n_boxes++];

	memset(b, 0, sizeof(*b));
	b->used = true;
	b->b.id = s->n_boxes;
	snprintf(b->b.name, sizeof(b->b.name), "%s", name);
	b->b.uidvalidity = 1000 + (uint32_t)b->b.id;
	b->b.uidnext = 1;
	return b;
}

static void
tell(struct store *s, uint64_t box, int what, const struct store_msg *m, uint32_t uid,
    const void *origin)
{
	struct store_watch *w;
	struct store_event e = { .uid = uid, .msg = m, .origin = origin };

	e.what = (unsigned)what;
	TAILQ_FOREACH(w, &s->watches, link)
		if (w->box == box)
			w->cb(w->arg, &e);
}

static struct message *
add(struct store *s, struct box *b, const char *text, size_t len, uint32_t flags,
    const char *keywords, int64_t date, const void *origin)
{
	struct message *m;

	b->msg = mem_grow(b->msg, b->n + 1, sizeof(*b->msg));
	m = &b->msg[b->n++];
	memset(m, 0, sizeof(*m));
	m->text = mem_copy(text, len);
	m->m.uid = b->b.uidnext++;
	m->m.flags = flags;
	m->m.size = len;
	m->m.internal_s = date;
	m->m.keywords = keywords != NULL && *keywords != '\0' ? mem_dup(keywords) : NULL;
	sha256(text, len, m->m.sha);
	m->m.guid[0] = (uint8_t)b->b.id;
	m->m.guid[15] = (uint8_t)m->m.uid;
	tell(s, b->b.id, STORE_NEW, &m->m, m->m.uid, origin);
	return m;
}

static void
drop(struct store *s, struct box *b, size_t i, const void *origin)
{
	uint32_t uid = b->msg[i].m.uid;

	free(b->msg[i].text);
	free(b->msg[i].m.keywords);
	memmove(b->msg + i, b->msg + i + 1, (b->n - i - 1) * sizeof(*b->msg));
	b->n--;
	tell(s, b->b.id, STORE_GONE, NULL, uid, origin);
}

static bool
chosen(const struct change *c, uint32_t uid)
{
	for (size_t i = 0; i < c->n; i++)
		if (uid >= c->r[i].lo && uid <= c->r[i].hi)
			return true;
	return false;
}

/* ADD and REMOVE on sorted, space-separated lists of words. */
static char *
merge(const char *have, const char *words, enum store_flag_op op)
{
	struct span rest = span_of(have), one;
	char out[2 * STORE_KEYWORDS_MAX + 2] = "", padded[STORE_KEYWORDS_MAX + 3];
	char probe[STORE_KEYWORDS_MAX + 3];

	if (op == STORE_FLAGS_SET)
		return *words != '\0' ? mem_dup(words) : NULL;
	snprintf(padded, sizeof(padded), " %s ", words);
	while (span_cut(&rest, ' ', &one)) {
		snprintf(probe, sizeof(probe), " %.*s ", (int)one.len, one.p);
		if (strstr(padded, probe) == NULL)
			strcat(strncat(out, one.p, one.len), " ");
	}
	if (op == STORE_FLAGS_ADD)
		strcat(out, words);
	if (out[0] != '\0' && out[strlen(out) - 1] == ' ')
		out[strlen(out) - 1] = '\0';
	return out[0] != '\0' ? mem_dup(out) : NULL;
}

static void
set_flags(struct store *s, struct change *c, struct box *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct store_msg *m = &b->msg[i].m;
		char *old = m->keywords;

		if (!chosen(c, m->uid))
			continue;
		m->flags = c->op == STORE_FLAGS_SET ? c->flags : c->op == STORE_FLAGS_ADD
		    ? m->flags | c->flags : m->flags & ~c->flags;
		m->keywords = merge(old, c->keywords, c->op);
		free(old);
		tell(s, b->b.id, STORE_FLAGS, m, m->uid, c->arg);
	}
}

static void
copy(struct store *s, struct change *c, struct box *b, struct store_result *r)
{
	struct box *to = by_id(s, c->to);
	uint32_t *src = mem_array(b->n + 1, sizeof(*src)), *dst;

	dst = mem_array(b->n + 1, sizeof(*dst));
	r->src_uids = src;
	r->dst_uids = dst;
	r->uidvalidity = to->b.uidvalidity;
	for (size_t i = 0, end = b->n; i < end; i++) {
		struct message *m = &b->msg[i];

		if (!chosen(c, m->m.uid))
			continue;
		src[r->n] = m->m.uid;
		dst[r->n++] = add(s, to, m->text, m->m.size, m->m.flags, m->m.keywords,
		    m->m.internal_s, c->arg)->m.uid;
		m = &b->msg[i];
	}
	for (size_t i = b->n; c->yes && i-- > 0;)
		if (chosen(c, b->msg[i].m.uid) && b->msg[i].m.uid <= src[r->n - 1])
			drop(s, b, i, c->arg);
}

static enum mail_rc
change_boxes(struct store *s, struct change *c)
{
	struct box *b = find(s, c->name);
	size_t len = strlen(c->name);

	switch (c->kind) {
	case CREATE:
		if (b != NULL)
			return MAIL_EXISTS;
		b = make(s, c->name);
		snprintf(b->b.special, sizeof(b->b.special), "%s", c->name2);
		return MAIL_OK;
	case DELETE:
		if (b == NULL)
			return MAIL_UNKNOWN;
		b->used = false;
		tell(s, b->b.id, STORE_BOX_DELETED, NULL, 0, c->arg);
		return MAIL_OK;
	case RENAME:
		if (b == NULL)
			return MAIL_UNKNOWN;
		if (find(s, c->name2) != NULL)
			return MAIL_EXISTS;
		for (size_t i = 0; i < s->n_boxes; i++) {
			char *name = s->box[i].b.name, moved[2 * STORE_NAME_MAX + 2];

			if (!s->box[i].used || strncmp(name, c->name, len) != 0 ||
			    (name[len] != '\0' && name[len] != '/'))
				continue;
			snprintf(moved, sizeof(moved), "%s%s", c->name2, name + len);
			snprintf(name, STORE_NAME_MAX + 1, "%.*s", STORE_NAME_MAX, moved);
		}
		return MAIL_OK;
	default:
		if (b == NULL)
			return MAIL_UNKNOWN;
		b->b.subscribed = c->yes;
		return MAIL_OK;
	}
}

static void
apply(struct store *s, struct change *c, struct store_result *r)
{
	struct box *b = by_id(s, c->box);
	static uint32_t uid;

	if (c->kind == MEND) {
		s->hidden = s->hidden && !s->mendable;
		r->rc = s->hidden ? MAIL_TEMP : MAIL_OK;
		return;
	}
	if (c->kind >= CREATE) {
		r->rc = change_boxes(s, c);
		return;
	}
	if (b == NULL) {
		r->rc = MAIL_UNKNOWN;
		return;
	}
	switch (c->kind) {
	case APPEND:
		uid = add(s, b, c->text, c->len, c->flags, c->keywords, c->date, c->arg)->m.uid;
		r->dst_uids = &uid;
		r->n = 1;
		r->uidvalidity = b->b.uidvalidity;
		break;
	case FLAGS:
		set_flags(s, c, b);
		break;
	case EXPUNGE:
		for (size_t i = b->n; i-- > 0;)
			if (chosen(c, b->msg[i].m.uid) &&
			    (!c->yes || (b->msg[i].m.flags & FLAG_DELETED)))
				drop(s, b, i, c->arg);
		break;
	default:
		copy(s, c, b, r);
	}
}

static void
end_change(struct change *c)
{
	free(c->r);
	free(c->keywords);
	free(c->name);
	free(c->name2);
	free(c->text);
	free(c);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct store *s = arg;
	struct change *c = TAILQ_FIRST(&s->changes);
	struct store_result r = { 0 };
	static const struct timeval now = { 0, 0 };

	(void)fd;
	(void)what;
	if (c == NULL)
		return;
	TAILQ_REMOVE(&s->changes, c, link);
	r.rc = c->rc;
	r.gen = 2;
	r.lsn = ++s->lsn;
	r.copies = 2;
	if (r.rc == MAIL_OK)
		apply(s, c, &r);
	if (c->done != NULL)
		c->done(c->arg, &r);
	if (c->kind == COPY) {
		free((void *)(uintptr_t)r.src_uids);
		free((void *)(uintptr_t)r.dst_uids);
	}
	end_change(c);
	if (!TAILQ_EMPTY(&s->changes))
		evtimer_add(s->turn, &now);
}

static struct change *
propose(struct store *s, enum kind kind, store_done_cb *done, void *arg)
{
	static const struct timeval now = { 0, 0 };
	struct change *c = mem_alloc(sizeof(*c));

	c->kind = kind;
	c->done = done;
	c->arg = arg;
	c->rc = s->fail;
	s->fail = MAIL_OK;
	TAILQ_INSERT_TAIL(&s->changes, c, link);
	evtimer_add(s->turn, &now);
	return c;
}

static void
keep_uids(struct change *c, const struct store_uids *u)
{
	c->n = u->n;
	c->r = mem_array(u->n + 1, sizeof(*c->r));
	for (size_t i = 0; i < u->n; i++)
		c->r[i] = (struct range) { u->r[i].lo, u->r[i].hi };
}

struct store *
fake_store_new(struct event_base *base)
{
	struct store *s = mem_alloc(sizeof(*s));

	TAILQ_INIT(&s->changes);
	TAILQ_INIT(&s->watches);
	s->turn = evtimer_new(base, on_turn, s);
	make(s, "INBOX");
	return s;
}

void
fake_store_free(struct store *s)
{
	struct change *c;

	while ((c = TAILQ_FIRST(&s->changes)) != NULL) {
		TAILQ_REMOVE(&s->changes, c, link);
		end_change(c);
	}
	for (size_t i = 0; i < s->n_boxes; i++) {
		for (size_t k = 0; k < s->box[i].n; k++) {
			free(s->box[i].msg[k].text);
			free(s->box[i].msg[k].m.keywords);
		}
		free(s->box[i].msg);
	}
	event_free(s->turn);
	free(s);
}

void
fake_store_fail(struct store *s, enum mail_rc rc)
{
	s->fail = rc;
}

void
fake_store_hide_objects(struct store *s, bool hidden, bool mendable)
{
	s->hidden = hidden;
	s->mendable = mendable;
}

void
fake_store_make(struct store *s, const char *name, const char *special)
{
	struct box *b = make(s, name);

	snprintf(b->b.special, sizeof(b->b.special), "%s", special);
}

void
fake_store_add(struct store *s, const char *name, const char *text, size_t len,
    uint32_t flags, const char *keywords, int64_t date)
{
	struct box *b = find(s, name);

	add(s, b != NULL ? b : make(s, name), text, len, flags, keywords, date, NULL);
}

/* ---- store.h ---- */

static void
facts(struct box *b, struct store_box *out)
{
	b->b.exists = (uint32_t)b->n;
	b->b.unseen = 0;
	for (size_t i = 0; i < b->n; i++)
		b->b.unseen += !(b->msg[i].m.flags & FLAG_SEEN);
	*out = b->b;
}

enum mail_rc
store_box_by_name(struct store *s, uint16_t shard, uint64_t user, const char *name,
    struct store_box *out)
{
	struct box *b = find(s, strcasecmp(name, "INBOX") == 0 ? "INBOX" : name);

	(void)shard;
	(void)user;
	if (b == NULL)
		return MAIL_UNKNOWN;
	facts(b, out);
	return MAIL_OK;
}

enum mail_rc
store_box_by_id(struct store *s, uint16_t shard, uint64_t id, struct store_box *out)
{
	struct box *b = by_id(s, id);

	(void)shard;
	if (b == NULL)
		return MAIL_UNKNOWN;
	facts(b, out);
	return MAIL_OK;
}

enum mail_rc
store_box_list(struct store *s, uint16_t shard, uint64_t user, bool subscribed,
    void (*each)(const struct store_box *, void *), void *arg)
{
	struct store_box box;

	(void)shard;
	(void)user;
	for (size_t i = 0; i < s->n_boxes; i++) {
		if (!s->box[i].used || (subscribed && !s->box[i].b.subscribed))
			continue;
		facts(&s->box[i], &box);
		each(&box, arg);
	}
	return MAIL_OK;
}

enum mail_rc
store_messages(struct store *s, uint16_t shard, uint64_t id, uint32_t from, uint64_t since,
    void (*each)(const struct store_msg *, void *), void *arg)
{
	struct box *b = by_id(s, id);

	(void)shard;
	(void)since;
	if (b == NULL)
		return MAIL_UNKNOWN;
	for (size_t i = 0; i < b->n; i++)
		if (b->msg[i].m.uid >= from)
			each(&b->msg[i].m, arg);
	return MAIL_OK;
}

enum mail_rc
store_message(struct store *s, uint16_t shard, uint64_t id, uint32_t uid,
    struct store_msg *out)
{
	struct box *b = by_id(s, id);

	(void)shard;
	for (size_t i = 0; b != NULL && i < b->n; i++)
		if (b->msg[i].m.uid == uid) {
			*out = b->msg[i].m;
			out->keywords = mem_dup(out->keywords);
			return MAIL_OK;
		}
	return MAIL_UNKNOWN;
}

int
store_object_open(struct store *s, uint16_t shard, const uint8_t sha[32])
{
	int fd;

	(void)shard;
	for (size_t i = 0; i < s->n_boxes && !s->hidden; i++)
		for (size_t k = 0; k < s->box[i].n; k++) {
			struct message *m = &s->box[i].msg[k];

			if (memcmp(m->m.sha, sha, 32) != 0)
				continue;
			fd = memfd_create("object", MFD_CLOEXEC);
			if (fs_write_all(fd, m->text, m->m.size) == 0)
				return fd;
			close(fd);
		}
	errno = ENOENT;
	return -1;
}

struct store_watch *
store_watch_new(struct store *s, uint16_t shard, uint64_t box,
    void (*cb)(void *, const struct store_event *), void *arg)
{
	struct store_watch *w = mem_alloc(sizeof(*w));

	(void)shard;
	w->s = s;
	w->box = box;
	w->cb = cb;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&s->watches, w, link);
	return w;
}

void
store_watch_free(struct store_watch *w)
{
	TAILQ_REMOVE(&w->s->watches, w, link);
	free(w);
}

void
store_append(struct store *s, uint16_t shard, uint64_t user, uint64_t box, uint32_t flags,
    const char *keywords, int64_t date, int fd, store_done_cb *done, void *arg)
{
	struct change *c = propose(s, APPEND, done, arg);
	struct stat st;

	(void)shard;
	(void)user;
	fstat(fd, &st);
	c->box = box;
	c->flags = flags;
	c->keywords = mem_dup(keywords);
	c->date = date;
	c->len = (size_t)st.st_size;
	c->text = mem_alloc(c->len + 1);
	fs_pread_all(fd, c->text, c->len, 0);
}

void
store_flags(struct store *s, uint16_t shard, uint64_t box, const struct store_uids *u,
    enum store_flag_op op, uint32_t flags, const char *keywords, store_done_cb *done, void *arg)
{
	struct change *c = propose(s, FLAGS, done, arg);

	(void)shard;
	keep_uids(c, u);
	c->box = box;
	c->op = op;
	c->flags = flags;
	c->keywords = mem_dup(keywords != NULL ? keywords : "");
}

void
store_expunge(struct store *s, uint16_t shard, uint64_t box, const struct store_uids *u,
    bool only_deleted, store_done_cb *done, void *arg)
{
	struct change *c = propose(s, EXPUNGE, done, arg);

	(void)shard;
	keep_uids(c, u);
	c->box = box;
	c->yes = only_deleted;
}

void
store_copy(struct store *s, uint16_t shard, uint64_t box, const struct store_uids *u,
    uint64_t to, bool move, store_done_cb *done, void *arg)
{
	struct change *c = propose(s, COPY, done, arg);

	(void)shard;
	keep_uids(c, u);
	c->box = box;
	c->to = to;
	c->yes = move;
}

static void
box_change(struct store *s, enum kind kind, const char *name, const char *name2, bool yes,
    store_done_cb *done, void *arg)
{
	struct change *c = propose(s, kind, done, arg);

	c->name = mem_dup(name);
	c->name2 = mem_dup(name2);
	c->yes = yes;
}

void
store_box_create(struct store *s, uint16_t shard, uint64_t user, const char *name,
    const char *special, store_done_cb *done, void *arg)
{
	(void)shard;
	(void)user;
	box_change(s, CREATE, name, special, false, done, arg);
}

void
store_box_delete(struct store *s, uint16_t shard, uint64_t user, const char *name,
    store_done_cb *done, void *arg)
{
	(void)shard;
	(void)user;
	box_change(s, DELETE, name, "", false, done, arg);
}

void
store_box_rename(struct store *s, uint16_t shard, uint64_t user, const char *from,
    const char *to, store_done_cb *done, void *arg)
{
	(void)shard;
	(void)user;
	box_change(s, RENAME, from, to, false, done, arg);
}

void
store_box_subscribe(struct store *s, uint16_t shard, uint64_t user, const char *name, bool on,
    store_done_cb *done, void *arg)
{
	(void)shard;
	(void)user;
	box_change(s, SUBSCRIBE, name, "", on, done, arg);
}

void
store_forget(struct store *s, const void *arg)
{
	struct change *c;

	TAILQ_FOREACH(c, &s->changes, link)
		if (c->arg == arg)
			c->done = NULL;
}

void
store_mend(struct store *s, uint16_t shard, const uint8_t sha[32], store_done_cb *done,
    void *arg)
{
	(void)shard;
	(void)sha;
	propose(s, MEND, done, arg);
}

/* The names of these messages are no hashes. */
bool
store_object_known(const struct store *s, const uint8_t sha[32], uint64_t stamp)
{
	(void)s;
	(void)stamp;
	(void)sha;
	return true;
}

void
store_object_good(struct store *s, const uint8_t sha[32], uint64_t stamp)
{
	(void)s;
	(void)stamp;
	(void)sha;
}
