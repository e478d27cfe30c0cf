/* Two histories of a shard become one: a table of cases, and random pairs against a
 * model that knows nothing of how the merge works.  MERGE_PAIRS and MERGE_SEED choose how
 * many and which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "merge.h"

/* ---- a model of one side ---------------------------------------------------- */

enum { BOXES = 24, MSGS = 96, SEEN = 4096, USERS = 2, NAME = 64 };

struct mbox {
	bool is, base_is;
	uint8_t guid[16];
	uint64_t user;
	uint32_t validity, next;
	char name[STORE_NAME_MAX + 1], base_name[STORE_NAME_MAX + 1];
	const char *special;
};
struct mmsg {
	bool is, base_is, copied;
	unsigned box;
	uint8_t guid[16], sha[32];
	uint32_t uid, flags, base_flags;
	const char *words, *base_words;
};
/* What a client saw: a name, a UIDVALIDITY and a UID stand for one content. */
struct sight {
	uint64_t user;
	char name[NAME];
	uint32_t validity, uid;
	uint8_t sha[32];
};
struct model {
	struct mbox box[BOXES];
	struct mmsg msg[MSGS];
	unsigned nboxes, nmsgs, nsights;
	uint32_t validity;
	struct sight sights[SEEN];
};

static const char *const words[] = { "", "$Forwarded", "$Forwarded work", "later", "later work" };
static const char *const names[] = { "Sent", "Work", "Work/2026", "Old", "Trash", "\xc3\xa4" };
static uint64_t state;

static unsigned
any(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 20) % n);
}

static void
fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)any(256);
}

static int
box_named(const struct model *m, uint64_t user, const char *name)
{
	for (unsigned i = 0; i < m->nboxes; i++)
		if (m->box[i].is && m->box[i].user == user && strcmp(m->box[i].name, name) == 0)
			return (int)i;
	return -1;
}

static unsigned
box_make(struct model *m, uint64_t user, const char *name)
{
	struct mbox *b = &m->box[m->nboxes];

	assert_true(m->nboxes < BOXES);
	memset(b, 0, sizeof(*b));
	b->is = true;
	b->user = user;
	b->validity = ++m->validity;
	b->next = 1;
	b->special = strcmp(name, "Trash") == 0 ? "\\Trash" : "";
	fill(b->guid, 16);
	snprintf(b->name, sizeof(b->name), "%s", name);
	return m->nboxes++;
}

static struct mmsg *
msg_make(struct model *m, unsigned box)
{
	struct mmsg *x = &m->msg[m->nmsgs++];

	assert_true(m->nmsgs <= MSGS);
	memset(x, 0, sizeof(*x));
	x->is = true;
	x->box = box;
	x->uid = m->box[box].next++;
	x->flags = any(32);
	x->words = words[any(5)];
	fill(x->guid, 16);
	fill(x->sha, 32);
	return x;
}

static void
look(struct model *m)
{
	for (unsigned i = 0; i < m->nmsgs; i++) {
		const struct mmsg *x = &m->msg[i];
		const struct mbox *b = &m->box[x->box];
		struct sight *s = &m->sights[m->nsights];

		if (!x->is || m->nsights == SEEN)
			continue;
		s->user = b->user;
		memcpy(s->name, b->name, NAME - 1);
		s->validity = b->validity;
		s->uid = x->uid;
		memcpy(s->sha, x->sha, 32);
		m->nsights++;
	}
}

/* The first copy of a message into a mailbox has the same id on both sides. */
static void
copy_guid(const struct model *m, const struct mmsg *x, struct mmsg *y)
{
	uint8_t guid[16];

	for (unsigned i = 0; i < 16; i++)
		guid[i] = (uint8_t)(x->guid[(i + 1) % 16] * 3 + m->box[y->box].guid[i]);
	for (unsigned i = 0; i < m->nmsgs; i++)
		if (memcmp(m->msg[i].guid, guid, 16) == 0)
			return;
	memcpy(y->guid, guid, 16);
}

/* The first delivery to a user makes the INBOX. */
static unsigned
inbox_of(struct model *m, uint64_t user)
{
	int box = box_named(m, user, "INBOX");

	return box >= 0 ? (unsigned)box : box_make(m, user, "INBOX");
}

/* One change by a client of this side, or none when it does not fit. */
static void
change(struct model *m)
{
	unsigned box = any(m->nboxes), i = any(m->nmsgs), to = any(m->nboxes);
	struct mmsg *x = &m->msg[i], *y;
	struct mbox *b = &m->box[box];
	const char *name = names[any(6)];

	switch (any(9)) {
	case 0:
		(void)msg_make(m, inbox_of(m, 1 + any(USERS)));
		break;
	case 1:
		if (b->is)
			(void)msg_make(m, box);
		break;
	case 2:
		x->flags = x->is ? any(32) : x->flags;
		break;
	case 3:
		x->words = x->is ? words[any(5)] : x->words;
		break;
	case 4:
		x->is = false;
		break;
	case 5: case 6:		/* copy, move */
		if (!x->is || !m->box[to].is || m->box[to].user != m->box[x->box].user)
			break;
		y = msg_make(m, to);
		copy_guid(m, x, y);
		memcpy(y->sha, x->sha, 32);
		y->flags = x->flags;
		y->words = x->words;
		x->copied = true;
		x->is = any(2) == 0;
		break;
	case 7:
		if (box_named(m, b->user, name) >= 0)
			break;
		if (any(2) == 0)
			(void)box_make(m, b->user, name);
		else if (b->is && strcmp(b->name, "INBOX") != 0)
			snprintf(b->name, sizeof(b->name), "%s", name);
		break;
	default:
		if (!b->is || strcmp(b->name, "INBOX") == 0 || any(2) == 0)
			break;
		b->is = false;
		for (unsigned j = 0; j < m->nmsgs; j++)
			m->msg[j].is = m->msg[j].is && m->msg[j].box != box;
	}
	look(m);
}

static void
make_base(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->validity = 100;
	for (uint64_t u = 1; u <= USERS; u++) {
		if (u == 1 || any(2) == 0)
			(void)box_make(m, u, "INBOX");
		for (unsigned i = any(4); i > 0; i--)
			if (box_named(m, u, names[i]) < 0)
				(void)box_make(m, u, names[i]);
	}
	for (unsigned i = 2 + any(12); i > 0; i--)
		(void)msg_make(m, any(m->nboxes));
	for (unsigned i = 0; i < m->nboxes; i++) {
		m->box[i].base_is = true;
		memcpy(m->box[i].base_name, m->box[i].name, sizeof(m->box[i].name));
	}
	for (unsigned i = 0; i < m->nmsgs; i++) {
		m->msg[i].base_is = true;
		m->msg[i].base_flags = m->msg[i].flags;
		m->msg[i].base_words = m->msg[i].words;
	}
	look(m);
}

/* ---- what a side changed ------------------------------------------------------ */

struct changes {
	struct merge_side side;
	struct merge_box box[BOXES];
	struct merge_msg msg[MSGS];
};

static bool
model_touched(const struct mmsg *x)
{
	return !x->base_is || x->copied || x->flags != x->base_flags ||
	    strcmp(x->words, x->base_words) != 0;
}

static void
tell(const struct model *m, struct changes *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nboxes; i++) {
		const struct mbox *b = &m->box[i];

		c->box[i] = (struct merge_box){ .user = b->user, .uidvalidity = b->validity,
			.base_name = b->base_is ? b->base_name : NULL,
			.name = b->is ? b->name : NULL, .special = b->special };
		memcpy(c->box[i].guid, b->guid, 16);
	}
	for (unsigned i = 0; i < m->nmsgs; i++) {
		const struct mmsg *x = &m->msg[i];
		struct merge_msg *o = &c->msg[n];

		if (x->is ? !model_touched(x) : !x->base_is)
			continue;
		*o = (struct merge_msg){ .what = !x->is ? MERGE_REMOVED : x->base_is ? MERGE_CHANGED
			: MERGE_ADDED, .copied = x->copied, .uid = x->uid, .flags = x->flags,
			.keywords = x->words, .base_flags = x->base_flags,
			.base_keywords = x->base_words };
		memcpy(o->box, m->box[x->box].guid, 16);
		memcpy(o->guid, x->guid, 16);
		memcpy(o->sha, x->sha, 32);
		n++;
	}
	c->side = (struct merge_side){ c->box, m->nboxes, c->msg, n };
}

static void
shuffle(struct changes *c)
{
	for (size_t i = c->side.nmsgs; i > 1; i--) {
		size_t j = any((unsigned)i);
		struct merge_msg t = c->msg[i - 1];

		c->msg[i - 1] = c->msg[j];
		c->msg[j] = t;
	}
	for (size_t i = c->side.nboxes; i > 1; i--) {
		size_t j = any((unsigned)i);
		struct merge_box t = c->box[i - 1];

		c->box[i - 1] = c->box[j];
		c->box[j] = t;
	}
}

/* ---- carrying it out ------------------------------------------------------------ */

static int
box_of(const struct model *m, const uint8_t guid[16])
{
	for (unsigned i = 0; i < m->nboxes; i++)
		if (memcmp(m->box[i].guid, guid, 16) == 0)
			return (int)i;
	return -1;
}

static struct mmsg *
msg_of(struct model *m, int box, const uint8_t guid[16])
{
	for (unsigned i = 0; i < m->nmsgs; i++)
		if (m->msg[i].is && (int)m->msg[i].box == box &&
		    memcmp(m->msg[i].guid, guid, 16) == 0)
			return &m->msg[i];
	return NULL;
}

static void
do_add(struct model *m, const struct merge_op *op, unsigned box)
{
	struct mmsg *x;

	/* The row of one that was removed here comes back: it is known from before. */
	for (unsigned i = 0; i < m->nmsgs; i++)
		if (m->msg[i].box == box && memcmp(m->msg[i].guid, op->guid, 16) == 0) {
			assert_false(m->msg[i].is);
			m->msg[i].is = true;
			m->msg[i].uid = m->box[box].next++;
			m->msg[i].flags = op->flags;
			m->msg[i].words = op->keywords;
			return;
		}
	if (op->keep && op->msg->uid > m->box[box].next)
		m->box[box].next = op->msg->uid;
	x = msg_make(m, box);
	assert_true(!op->keep || x->uid == op->msg->uid);
	memcpy(x->guid, op->guid, 16);
	memcpy(x->sha, op->msg->sha, 32);
	x->flags = op->flags;
	x->words = op->keywords;
}

static void
do_box(struct model *m, const struct merge_op *op, int box)
{
	unsigned made;

	if (op->verb == MERGE_BOX_DELETE) {
		for (unsigned j = 0; j < m->nmsgs; j++)
			m->msg[j].is = m->msg[j].is && (int)m->msg[j].box != box;
		m->box[box].is = false;
	} else if (op->verb == MERGE_BOX_RENUMBER) {
		m->box[box].validity = ++m->validity;
	} else if (op->verb == MERGE_BOX_RESERVE) {
		fail_msg("no side of the model says which UIDs it gave");
	} else {
		assert_true(box_named(m, op->user, op->name) < 0);
		assert_true(strlen(op->name) > 0 && strlen(op->name) <= STORE_NAME_MAX);
		if (op->verb == MERGE_BOX_RENAME) {
			snprintf(m->box[box].name, sizeof(m->box[box].name), "%s", op->name);
			return;
		}
		made = box_make(m, op->user, op->name);
		memcpy(m->box[made].guid, op->box, 16);
		if (op->keep)
			m->box[made].validity = op->from->uidvalidity;
	}
}

static void
carry_out(struct model *m, const struct merge *out)
{
	enum merge_verb last = MERGE_BOX_DELETE;

	for (size_t i = 0; i < out->nops; i++) {
		const struct merge_op *op = &out->ops[i];
		int box = box_of(m, op->box);
		struct mmsg *x;

		assert_true(op->verb >= last);
		last = op->verb;
		assert_true(op->verb == MERGE_BOX_CREATE ? box < 0 : box >= 0 && m->box[box].is);
		if (op->verb < MERGE_ADD) {
			do_box(m, op, box);
			continue;
		}
		if (op->verb == MERGE_ADD) {
			do_add(m, op, (unsigned)box);
			continue;
		}
		x = msg_of(m, box, op->guid);
		assert_non_null(x);
		if (op->verb == MERGE_REMOVE) {
			x->is = false;
		} else {
			x->flags = op->flags;
			x->words = op->keywords;
		}
	}
}

/* ---- the promises ----------------------------------------------------------------- */

/* As it is on one side; NULL when it is not there. */
static const struct mmsg *
on(const struct model *m, const struct mmsg *x, const uint8_t box[16])
{
	for (unsigned i = 0; i < m->nmsgs; i++)
		if (memcmp(m->msg[i].guid, x->guid, 16) == 0 &&
		    memcmp(m->box[m->msg[i].box].guid, box, 16) == 0)
			return &m->msg[i];
	return NULL;
}

static unsigned
copies(const struct model *m, const struct mmsg *x)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nmsgs; i++)
		n += m->msg[i].is && memcmp(m->msg[i].guid, x->guid, 16) == 0 &&
		    memcmp(m->msg[i].sha, x->sha, 32) == 0;
	return n;
}

static bool
has_word(const char *set, const char *word)
{
	const char *at = strstr(set, word);

	return at != NULL && (at == set || at[-1] == ' ') &&
	    (at[strlen(word)] == '\0' || at[strlen(word)] == ' ');
}

static const char *const each[] = { "$Forwarded", "work", "later" };

/* Both sides made it: nobody knows who changed what. */
static void
check_safe(const struct mmsg *a, const struct mmsg *b, const struct mmsg *r)
{
	uint32_t safe = FLAG_SEEN | FLAG_DELETED;

	assert_int_equal(r->flags & ~safe, (a->flags | b->flags) & ~safe);
	assert_int_equal(r->flags & safe, a->flags & b->flags & safe);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(has_word(r->words, each[i]), has_word(a->words, each[i]) ||
		    has_word(b->words, each[i]));
}

/* A flag that one side changed is changed, whichever. */
static void
check_flags(const struct mmsg *a, const struct mmsg *b, const struct mmsg *r)
{
	for (unsigned bit = 1; bit < 32; bit <<= 1) {
		bool was = (a->base_flags & bit) != 0, in_a = (a->flags & bit) != 0;
		bool in_b = (b->flags & bit) != 0, want = in_a != was ? in_a : in_b;

		assert_int_equal((r->flags & bit) != 0, want);
	}
	for (unsigned i = 0; i < 3; i++) {
		bool was = has_word(a->base_words, each[i]), in_a = has_word(a->words, each[i]);
		bool in_b = has_word(b->words, each[i]);

		assert_int_equal(has_word(r->words, each[i]), in_a != was ? in_a : in_b);
	}
}

/* Every message of both sides, and none that both gave up. */
static void
check_messages(struct model *a, struct model *b, struct model *r)
{
	for (unsigned i = 0; i < a->nmsgs; i++) {
		const struct mmsg *x = &a->msg[i], *y = on(b, x, a->box[x->box].guid);
		const struct mmsg *z = msg_of(r, box_of(r, a->box[x->box].guid), x->guid);

		if (x->is && (y == NULL || y->is || model_touched(x))) {
			assert_non_null(z);
			assert_int_equal(z->uid, x->uid);
			assert_memory_equal(z->sha, x->sha, 32);
			if (y == NULL || !y->is)
				assert_int_equal(z->flags, x->flags);
			else if (x->base_is)
				check_flags(x, y, z);
			else
				check_safe(x, y, z);
		} else if (x->is || y == NULL || !y->is || !model_touched(y)) {
			assert_int_equal(copies(r, x), 0);
		}
	}
	for (unsigned i = 0; i < b->nmsgs; i++) {
		const struct mmsg *y = &b->msg[i], *x = on(a, y, b->box[y->box].guid);

		if (y->is && (x == NULL || x->is || model_touched(y)))
			assert_int_equal(copies(r, y), 1);
		else if (y->is)
			assert_int_equal(copies(r, y), 0);
	}
	for (unsigned i = 0; i < r->nmsgs; i++)
		assert_true(!r->msg[i].is || copies(a, &r->msg[i]) + copies(b, &r->msg[i]) > 0);
}

/* Is a mailbox with news of b, or all of b's own new ones, still reachable? */
static void
check_boxes(const struct model *a, const struct model *b, const struct model *r)
{
	for (unsigned i = 0; i < r->nboxes; i++)
		for (unsigned j = 0; j < i; j++)
			assert_false(r->box[i].is && r->box[j].is &&
			    r->box[i].user == r->box[j].user &&
			    strcmp(r->box[i].name, r->box[j].name) == 0);
	for (unsigned i = 0; i < a->nboxes; i++) {
		int at = box_of(b, a->box[i].guid);

		if (a->box[i].is && (at < 0 || b->box[at].is))
			assert_true(r->box[box_of(r, a->box[i].guid)].is);
		if (a->box[i].is && at < 0)	/* the winner's own keep their names */
			assert_string_equal(r->box[box_of(r, a->box[i].guid)].name, a->box[i].name);
	}
	for (unsigned i = 0; i < b->nboxes; i++)
		if (b->box[i].is && box_of(a, b->box[i].guid) < 0)
			assert_true(box_of(r, b->box[i].guid) >= 0 ||
			    box_named(r, b->box[i].user, b->box[i].name) >= 0);
}

/* No client of either side finds another message where it saw one. */
static void
check_sights(const struct model *saw, const struct model *r)
{
	for (unsigned i = 0; i < r->nmsgs; i++) {
		const struct mmsg *x = &r->msg[i];
		const struct mbox *b = &r->box[x->box];

		for (unsigned j = 0; x->is && j < saw->nsights; j++) {
			const struct sight *s = &saw->sights[j];

			if (s->uid == x->uid && s->validity == b->validity &&
			    s->user == b->user && strcmp(s->name, b->name) == 0)
				assert_memory_equal(s->sha, x->sha, 32);
		}
	}
}

static void
same_ops(const struct merge *a, const struct merge *b)
{
	assert_int_equal(a->nops, b->nops);
	for (size_t i = 0; i < a->nops; i++) {
		const struct merge_op *x = &a->ops[i], *y = &b->ops[i];

		assert_int_equal(x->verb, y->verb);
		assert_memory_equal(x->box, y->box, 16);
		assert_memory_equal(x->guid, y->guid, 16);
		assert_int_equal(x->flags, y->flags);
		assert_string_equal(x->name == NULL ? "" : x->name, y->name == NULL ? "" : y->name);
	}
}

/* The winner jumps over the UIDs that the loser may have given (STORE.md). */
static void
gap(struct model *m)
{
	for (unsigned i = 0; i < m->nboxes; i++)
		m->box[i].next += 65536;
}

static void
random_pair(uint64_t seed)
{
	static struct model base, a, b, r;
	static struct changes ca, cb;
	struct merge out, again;

	state = seed * 0x9e3779b97f4a7c15u + 1;
	make_base(&base);
	a = b = base;
	gap(&a);
	for (unsigned i = any(14); i > 0; i--)
		change(&a);
	if (any(2) == 0)
		b.validity += any(3);	/* not the same numbers at the same places */
	for (unsigned i = any(14); i > 0; i--)
		change(&b);
	tell(&a, &ca);
	tell(&b, &cb);
	assert_int_equal(merge_shard(&out, &ca.side, &cb.side, "2026"), 0);
	r = a;
	if (b.validity > r.validity)
		r.validity = b.validity;
	carry_out(&r, &out);
	check_messages(&a, &b, &r);
	check_boxes(&a, &b, &r);
	check_sights(&a, &r);
	check_sights(&b, &r);
	shuffle(&ca);
	shuffle(&cb);
	assert_int_equal(merge_shard(&again, &ca.side, &cb.side, "2026"), 0);
	same_ops(&out, &again);
	merge_clear(&again);
	tell(&r, &ca);
	assert_int_equal(merge_shard(&again, &ca.side, &cb.side, "2027"), 0);
	assert_int_equal(again.nops, 0);
	merge_clear(&again);
	merge_clear(&out);
}

static unsigned long
number(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s == NULL ? otherwise : strtoul(s, NULL, 10);
}

static void
random_pairs(void **unused)
{
	unsigned long n = number("MERGE_PAIRS", 20000), seed = number("MERGE_SEED", 1);

	(void)unused;
	for (unsigned long i = 0; i < n; i++) {
		if (getenv("MERGE_VERBOSE") != NULL)
			fprintf(stderr, "seed %lu\n", seed + i);
		random_pair(seed + i);
	}
	print_message("merge pairs=%lu seed=%lu\n", n, seed);
}

/* ---- single cases ------------------------------------------------------------------ */

static const struct merge_box inbox_a = { .guid = "inbox of a", .user = 1, .uidvalidity = 7,
	.name = "INBOX", .special = "" };
static const struct merge_box inbox_b = { .guid = "inbox of b", .user = 1, .uidvalidity = 8,
	.name = "INBOX", .special = "" };
static const struct merge_box both = { .guid = "both have it", .user = 1, .uidvalidity = 5,
	.base_name = "Work", .name = "Work", .special = "" };

static struct merge_side
side(const struct merge_box *b, const struct merge_msg *m, size_t n)
{
	return (struct merge_side){ b, 1, m, n };
}

static void
one_inbox(void **unused)
{
	struct merge_msg b[2] = { { .box = "inbox of b", .guid = "2", .uid = 2 },
		{ .box = "inbox of b", .guid = "1", .uid = 1 } };
	struct merge_side win = side(&inbox_a, NULL, 0), lose = side(&inbox_b, b, 2);
	struct merge m;

	(void)unused;
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), 0);
	assert_int_equal(m.nops, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(m.ops[i].verb, MERGE_ADD);
		assert_memory_equal(m.ops[i].box, inbox_a.guid, 16);
		assert_int_equal(m.ops[i].msg->uid, i + 1);	/* in the order of their UIDs */
		assert_false(m.ops[i].keep);
	}
	assert_int_equal(m.report.added, 2);
	merge_clear(&m);
}

static void
one_mailbox_for_a_special_use(void **unused)
{
	struct merge_box a = inbox_a, b = inbox_b;
	struct merge_msg msg = { .box = "inbox of b", .guid = "1", .uid = 1 };
	struct merge_side win, lose;
	struct merge m;

	(void)unused;
	a.name = b.name = "Sent";
	a.special = b.special = "\\Sent";
	win = side(&a, NULL, 0);
	lose = side(&b, &msg, 1);
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), 0);
	assert_int_equal(m.nops, 1);
	assert_memory_equal(m.ops[0].box, a.guid, 16);
	merge_clear(&m);
	b.special = "";			/* the same name by chance: both are kept */
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), 0);
	assert_int_equal(m.nops, 2);
	assert_string_equal(m.ops[0].name, "Sent (recovered x)");
	assert_true(m.ops[0].keep);
	assert_int_equal(m.report.names, 1);
	merge_clear(&m);
}

static void
one_id_two_contents(void **unused)
{
	struct merge_msg a[2] = { { .box = "both have it", .guid = "g", .uid = 1, .sha = "a" } };
	struct merge_msg b = { .box = "both have it", .guid = "g", .uid = 1, .sha = "b" };
	struct merge_side win = side(&both, a, 1), lose = side(&both, &b, 1);
	struct merge m;

	(void)unused;
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), 0);
	assert_int_equal(m.nops, 1);
	assert_int_equal(m.ops[0].verb, MERGE_ADD);
	assert_true(memcmp(m.ops[0].guid, b.guid, 16) != 0);
	assert_int_equal(m.report.damaged, 1);
	a[1] = b;			/* and once more, when that is done */
	memcpy(a[1].guid, m.ops[0].guid, 16);
	win.nmsgs = 2;
	merge_clear(&m);
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), 0);
	assert_int_equal(m.nops, 0);
	merge_clear(&m);
}

/* Listed as changed, but it is as it was: that does not stand against a removal. */
static void
unchanged_is_not_touched(void **unused)
{
	struct merge_msg a = { .box = "both have it", .guid = "g", .uid = 1, .flags = FLAG_SEEN,
		.base_flags = FLAG_SEEN, .what = MERGE_CHANGED }, b = a;
	struct merge_side win = side(&both, &a, 1), lose = side(&both, &b, 1);
	struct merge m;

	(void)unused;
	a.what = MERGE_REMOVED;
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), 0);
	assert_int_equal(m.nops, 0);
	merge_clear(&m);
	a.what = MERGE_CHANGED;
	b.what = MERGE_REMOVED;
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), 0);
	assert_int_equal(m.nops, 1);
	assert_int_equal(m.ops[0].verb, MERGE_REMOVE);
	merge_clear(&m);
}

static void
refused(void **unused)
{
	struct merge_msg b[2] = { { .box = "both have it", .guid = "g" },
		{ .box = "both have it", .guid = "g" } };
	struct merge_box two[2] = { both, both };
	struct merge_side win = side(&both, NULL, 0), lose = side(&both, b, 2);
	struct merge m;

	(void)unused;
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), -1);	/* twice */
	merge_clear(&m);
	lose.nmsgs = 1;
	memset(b[0].box, 'x', 16);
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), -1);	/* of no mailbox */
	merge_clear(&m);
	lose = side(two, NULL, 0);
	lose.nboxes = 2;
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), -1);
	merge_clear(&m);
	memcpy(b[0].box, inbox_a.guid, 16);	/* of a mailbox of the other side only */
	win = side(&inbox_a, NULL, 0);
	lose = side(&both, b, 1);
	assert_int_equal(merge_shard(&m, &win, &lose, "x"), -1);
	merge_clear(&m);
}

static void
flags_of_three(void **unused)
{
	static const struct {
		int base;		/* -1 not known */
		uint32_t at, to, want;
	} t[] = {
		{ 0, FLAG_SEEN, 0, FLAG_SEEN },
		{ 0, 0, FLAG_SEEN, FLAG_SEEN },
		{ FLAG_SEEN, FLAG_SEEN, 0, 0 },
		{ FLAG_SEEN, 0, FLAG_SEEN, 0 },
		{ FLAG_DELETED, 0, FLAG_DELETED | FLAG_FLAGGED, FLAG_FLAGGED },
		{ -1, FLAG_SEEN | FLAG_DELETED | FLAG_DRAFT, FLAG_FLAGGED, FLAG_FLAGGED | FLAG_DRAFT },
		{ -1, FLAG_SEEN, FLAG_SEEN, FLAG_SEEN },
	};
	char out[STORE_KEYWORDS_MAX + 1];

	(void)unused;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint32_t base = t[i].base < 0 ? 0 : (uint32_t)t[i].base;

		assert_int_equal(merge_bits(t[i].base < 0 ? ~base : base, base, t[i].at, t[i].to),
		    t[i].want);
	}
	/* One side cleared it, the other set it: known from what they did. */
	assert_int_equal(merge_bits(FLAG_SEEN, 0, 0, FLAG_SEEN), 0);
	assert_int_equal(merge_bits(0, FLAG_SEEN, FLAG_SEEN, 0), 0);
	assert_int_equal(merge_bits(FLAG_FLAGGED, 0, 0, FLAG_FLAGGED), FLAG_FLAGGED);
	assert_int_equal(merge_bits(0, FLAG_FLAGGED, FLAG_FLAGGED, 0), FLAG_FLAGGED);
	merge_words("", "", "a", "b", out);
	assert_string_equal(out, "a b");
	merge_words("old work", "old work", "old work x", "work", out);
	assert_string_equal(out, "work x");
	merge_words(NULL, NULL, "a", "b", out);
	assert_string_equal(out, "a b");
	merge_words("", "x", "x", "", out);	/* added here, removed there */
	assert_string_equal(out, "x");
	merge_words("x", "", "", "x", out);	/* and the other way round */
	assert_string_equal(out, "x");
}

/* Cut at a whole character, and never longer than a name may be. */
static void
long_names(void **unused)
{
	char name[STORE_NAME_MAX + 1];
	struct merge_box a = both, b = both;
	struct merge_side win, lose;
	struct merge m;

	(void)unused;
	for (size_t i = 0; i + 2 <= STORE_NAME_MAX; i += 2)
		memcpy(name + i, "\xc3\xa4", 2);
	name[STORE_NAME_MAX] = '\0';
	a.base_name = b.base_name = NULL;
	a.name = b.name = name;
	b.guid[0] = 'x';
	win = side(&a, NULL, 0);
	lose = side(&b, NULL, 0);
	assert_int_equal(merge_shard(&m, &win, &lose, "xyz"), 0);
	assert_int_equal(m.nops, 2);	/* and both had one UIDVALIDITY */
	assert_int_equal(m.ops[0].verb, MERGE_BOX_RENUMBER);
	assert_true(strlen(m.ops[1].name) <= STORE_NAME_MAX);
	assert_non_null(strstr(m.ops[1].name, "\xc3\xa4 (recovered xyz)"));
	assert_false(m.ops[1].keep);
	merge_clear(&m);
}

/* UIDs that the other side gave in a mailbox of both are not given again. */
static void
uids_are_reserved(void **unused)
{
	struct merge_box a = both, b = both;
	struct merge_side win, lose;
	struct merge m;

	(void)unused;
	for (int i = 0; i < 4; i++) {
		a.uidnext = i == 1 ? 900 : 5;
		b.uidnext = 900;
		b.name = i == 2 ? NULL : both.name;		/* it was deleted there */
		b.uidvalidity = i == 3 ? a.uidvalidity + 1 : a.uidvalidity;
		win = side(&a, NULL, 0);
		lose = side(&b, NULL, 0);
		assert_int_equal(merge_shard(&m, &win, &lose, "xyz"), 0);
		if (i == 0) {
			assert_int_equal(m.nops, 1);
			assert_int_equal(m.ops[0].verb, MERGE_BOX_RESERVE);
			assert_int_equal(m.ops[0].from->uidnext, 900);
		} else if (i == 2) {
			assert_int_equal(m.ops[0].verb, MERGE_BOX_DELETE);
		} else {
			assert_int_equal(m.nops, 0);
		}
		merge_clear(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uids_are_reserved),
		cmocka_unit_test(one_inbox),
		cmocka_unit_test(one_mailbox_for_a_special_use),
		cmocka_unit_test(one_id_two_contents),
		cmocka_unit_test(unchanged_is_not_touched),
		cmocka_unit_test(refused),
		cmocka_unit_test(flags_of_three),
		cmocka_unit_test(long_names),
		cmocka_unit_test(random_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
