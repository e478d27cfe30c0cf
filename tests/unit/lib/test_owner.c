/* test_owner.c - the owner client against a fake syncd in the same event loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "ipc.h"
#include "log.h"
#include "owner.h"

#define SHARD 20
#define SEEN_MAX 64

struct seen_record { uint64_t lsn, token; uint8_t type; uint16_t shard; char text[32]; };
struct fake {
	struct event_base *base;
	struct event *accept;
	struct ipc *ipc;
	char dir[64], path[96];
	int listen_fd;
	unsigned hellos, attaches;
	uint64_t attach_from;
	struct { uint64_t origin; uint8_t type; char text[32]; } append[SEEN_MAX];
	size_t nappend;
	uint64_t applied, checkpoint;
	unsigned offer_ok, offer_no, object_answers, snapshots, changes_no, merged, merged_no, mends, verified, verified_no,
	    verifying;
	char report[64];
	/* what the owner heard */
	struct owner *owner;
	struct seen_record rec[SEEN_MAX];
	size_t nrec;
	struct { uint64_t token; enum owner_refusal why; } ref[SEEN_MAX];
	size_t nref;
	uint64_t undecided[SEEN_MAX];
	size_t nundecided;
	unsigned ends, roles;
	struct owner_role role;
	bool inside;			/* owner_append() runs */
};

static void
got(struct ipc *ipc, const struct ipc_msg *m, void *arg)
{
	struct fake *f = arg;
	struct wire_in in;

	(void)ipc;
	wire_in_init(&in, m->body.p, m->body.len);
	if (m->fd != -1)
		close(m->fd);
	switch (m->type) {
	case OWN_HELLO:
		f->hellos++;
		break;
	case OWN_ATTACH:
		assert_int_equal(wire_get_u16(&in), SHARD);
		f->attach_from = wire_get_u64(&in);
		f->attaches++;
		break;
	case OWN_APPEND: {
		struct span rest;

		assert_true(f->nappend < SEEN_MAX);
		f->append[f->nappend].origin = wire_get_u64(&in);
		assert_int_equal(wire_get_u16(&in), SHARD);
		f->append[f->nappend].type = wire_get_u8(&in);
		rest = wire_get_rest(&in);
		memset(f->append[f->nappend].text, 0, 32);
		memcpy(f->append[f->nappend].text, rest.p, rest.len < 31 ? rest.len : 31);
		f->nappend++;
		break;
	}
	case OWN_APPLIED:
		wire_get_u16(&in);
		f->applied = wire_get_u64(&in);
		break;
	case OWN_CHECKPOINT:
		wire_get_u16(&in);
		f->checkpoint = wire_get_u64(&in);
		break;
	case OWN_OFFER_ANSWER:
		wire_get_u16(&in);
		if (wire_get_u8(&in) != 0)
			f->offer_ok++;
		else
			f->offer_no++;
		break;
	case OWN_OBJECT_ANSWER:
		f->object_answers++;
		break;
	case OWN_CHANGES:
		(void)wire_get_u16(&in);
		if (wire_get_u8(&in) != 0)
			f->object_answers++;
		else
			f->changes_no++;
		break;
	case OWN_MERGED: {
		struct span rest;

		(void)wire_get_u16(&in);
		if (wire_get_u8(&in) != 0)
			f->merged++;
		else
			f->merged_no++;
		rest = wire_get_rest(&in);
		(void)snprintf(f->report, sizeof(f->report), "%.*s", (int)rest.len, (const char *)rest.p);
		break;
	}
	case OWN_VERIFYING:
		f->verifying++;
		break;
	case OWN_VERIFIED: {
		struct span rest;

		(void)wire_get_u16(&in);
		assert_int_equal(wire_get_u32(&in), 77);
		*(wire_get_u8(&in) != 0 ? &f->verified : &f->verified_no) += 1;
		rest = wire_get_rest(&in);
		(void)snprintf(f->report, sizeof(f->report), "%.*s", (int)rest.len, rest.p);
		break;
	}
	case OWN_MEND:
		assert_int_equal(wire_get_u16(&in), SHARD);
		f->mends++;
		break;
	case OWN_SNAPSHOT_DONE:
	case OWN_SNAPSHOT_LIST:
		f->snapshots++;
		break;
	default:
		fail_msg("unexpected message %u", m->type);
	}
}

static void
gone(struct ipc *ipc, const char *why, void *arg)
{
	struct fake *f = arg;

	(void)why;
	ipc_free(ipc);
	f->ipc = NULL;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct fake *f = arg;
	int c = accept(fd, NULL, NULL);

	(void)what;
	assert_true(c >= 0);
	f->ipc = ipc_new(f->base, c, IPC_BODY_MAX, got, gone, f);
}

static void
h_record(void *arg, const struct owner_record *r, uint64_t token)
{
	struct fake *f = arg;
	struct seen_record *s = &f->rec[f->nrec++];

	assert_false(f->inside);
	assert_true(f->nrec <= SEEN_MAX);
	memset(s, 0, sizeof(*s));
	s->lsn = r->lsn;
	s->token = token;
	s->type = r->type;
	s->shard = r->shard;
	memcpy(s->text, r->payload.p, r->payload.len < 31 ? r->payload.len : 31);
}

static void
h_end(void *arg)
{
	((struct fake *)arg)->ends++;
}

static void
h_refused(void *arg, uint64_t token, enum owner_refusal why)
{
	struct fake *f = arg;

	assert_false(f->inside);
	f->ref[f->nref].token = token;
	f->ref[f->nref++].why = why;
}

static void
h_undecided(void *arg, uint64_t token)
{
	struct fake *f = arg;

	assert_false(f->inside);
	f->undecided[f->nundecided++] = token;
}

static void
h_role(void *arg, const struct owner_role *role)
{
	struct fake *f = arg;

	f->roles++;
	f->role = *role;
}

static struct { unsigned changes, merges; bool dry, whole; uint64_t fork; char stamp[40]; } asked;

static void
h_changes(void *arg, uint16_t shard, uint64_t fork, bool whole, int tail_fd)
{
	struct fake *f = arg;

	asked.changes++;
	asked.fork = fork;
	asked.whole = whole;
	owner_changes_done(f->owner, shard, tail_fd);
}

static void
h_merge(void *arg, const struct owner_merge *m)
{
	struct fake *f = arg;
	char text[8] = "";

	asked.merges++;
	asked.dry = m->dry;
	asked.whole = m->whole;
	asked.fork = m->fork;
	(void)snprintf(asked.stamp, sizeof(asked.stamp), "%s", m->stamp);
	assert_int_equal(pread(m->theirs_fd, text, 6, 0), 6);
	assert_string_equal(text, "theirs");
	assert_int_equal(pread(m->tail_fd, text, 4, 0), 4);
	close(m->tail_fd);
	close(m->theirs_fd);
	owner_merge_done(f->owner, m->shard, true, "{\"added\": 3}");
}

static const struct owner_ops merging = { .record = h_record, .batch_end = h_end,
	.refused = h_refused, .role = h_role, .changes = h_changes, .merge = h_merge };
static const struct owner_ops ops = { .record = h_record, .batch_end = h_end,
	.refused = h_refused, .undecided = h_undecided, .role = h_role };

/* Runs the loop until *n reaches want, at most three seconds. */
#define UNTIL(cond) do { \
	int64_t end_ = clock_ms() + 3000; \
	while (!(cond)) { \
		if (clock_ms() > end_) \
			fail_msg("waited in vain: %s", #cond); \
		loop_for(f, 5); \
	} \
} while (0)

static void
loop_for(struct fake *f, int ms)
{
	const struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	event_base_loopexit(f->base, &tv);
	event_base_dispatch(f->base);
}

static void
serve(struct fake *f)
{
	f->listen_fd = ipc_listen(f->path, 0600, getgid());
	assert_true(f->listen_fd >= 0);
	f->accept = event_new(f->base, f->listen_fd, EV_READ | EV_PERSIST, on_accept, f);
	event_add(f->accept, NULL);
}

static void
unserve(struct fake *f)
{
	ipc_free(f->ipc);
	f->ipc = NULL;
	event_free(f->accept);
	close(f->listen_fd);
	unlink(f->path);
}

static int
setup(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));

	log_init("test_owner", true, LOG_LEVEL_ERR);
	f->base = event_base_new();
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_owner.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	serve(f);
	f->owner = owner_new(f->base, f->path, &ops, f);
	owner_attach(f->owner, SHARD, 100);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fake *f = *state;

	owner_free(f->owner);
	unserve(f);
	rmdir(f->dir);
	event_base_free(f->base);
	free(f);
	return 0;
}

static void
say(struct fake *f, uint16_t type, const struct wire_out *w)
{
	assert_int_equal(ipc_send(f->ipc, type, 0, w->p, w->len, -1), 0);
}

static void
say_role(struct fake *f, bool active, uint64_t gen_no)
{
	struct wire_out w;
	struct gen g = { .no = gen_no, .kind = GEN_CLEAN };

	wire_out_init(&w);
	wire_put_u8(&w, active);
	wire_put_u8(&w, 1);
	wire_put_u8(&w, 2);
	gen_put(&w, &g);
	wire_put_u64(&w, 0);
	say(f, OWN_ROLE, &w);
	wire_out_clear(&w);
}

static void
say_live(struct fake *f)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, SHARD);
	say(f, OWN_LIVE, &w);
	wire_out_clear(&w);
}

static void
say_record(struct fake *f, uint64_t lsn, uint64_t origin, const char *text)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, lsn);
	wire_put_u64(&w, 4);
	wire_put_u64(&w, origin);
	wire_put_u16(&w, SHARD);
	wire_put_u8(&w, 7);
	wire_put_u8(&w, 2);
	wire_put_u64(&w, 1);
	wire_put_raw(&w, text, strlen(text));
	say(f, OWN_RECORD, &w);
	wire_out_clear(&w);
}

static void
say_committed(struct fake *f, uint64_t origin, uint64_t lsn)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, origin);
	wire_put_u64(&w, lsn);
	wire_put_u64(&w, 4);
	wire_put_u8(&w, 2);
	wire_put_u64(&w, 1);
	say(f, OWN_COMMITTED, &w);
	wire_out_clear(&w);
}

static void
say_refused(struct fake *f, uint64_t origin, uint8_t why)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, origin);
	wire_put_u8(&w, why);
	say(f, OWN_REFUSED, &w);
	wire_out_clear(&w);
}

static void
say_undecided(struct fake *f, uint64_t origin)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, origin);
	say(f, OWN_UNDECIDED, &w);
	wire_out_clear(&w);
}

static uint64_t
propose(struct fake *f, const char *text)
{
	struct span parts[2] = { { text, 1 }, { text + 1, strlen(text) - 1 } };
	uint64_t token;

	f->inside = true;
	token = owner_append(f->owner, SHARD, 7, parts, 2);
	f->inside = false;
	assert_true(token != 0);
	return token;
}

static void
go_live(struct fake *f)
{
	UNTIL(f->ipc != NULL && f->attaches > 0);
	say_role(f, true, 4);
	say_live(f);
	UNTIL(f->role.active);
}

static void
test_commit_and_refuse(void **state)
{
	struct fake *f = *state;
	uint64_t t1, t2;

	UNTIL(f->attaches == 1);
	assert_int_equal(f->attach_from, 100);
	t1 = propose(f, "one");		/* before live: held */
	loop_for(f, 30);
	assert_int_equal(f->nappend, 0);
	say_role(f, true, 4);
	loop_for(f, 30);
	assert_false(f->role.active);	/* not before the replay is through */
	say_record(f, 101, 0, "old");
	say_live(f);
	UNTIL(f->nappend == 1);
	assert_true(f->role.active);
	t2 = propose(f, "two");
	UNTIL(f->nappend == 2);
	assert_string_equal(f->append[0].text, "one");
	assert_string_equal(f->append[1].text, "two");
	assert_int_equal(f->append[0].origin, t1);
	say_committed(f, t1, 102);
	say_refused(f, t2, OWNER_NOT_TWICE);
	UNTIL(f->nref == 1);
	assert_int_equal(f->nrec, 2);
	assert_int_equal(f->rec[0].token, 0);
	assert_int_equal(f->rec[1].token, t1);
	assert_int_equal(f->rec[1].lsn, 102);
	assert_string_equal(f->rec[1].text, "one");
	assert_int_equal(f->ref[0].token, t2);
	assert_int_equal(f->ref[0].why, OWNER_NOT_TWICE);
	assert_int_equal(owner_pending(f->owner, NULL), 0);
}

/* Undecided is said once, and the token still ends by a record or a refusal; the end
 * of the active role says it of everything that is open. */
static void
test_undecided(void **state)
{
	struct fake *f = *state;
	uint64_t t[3];

	go_live(f);
	t[0] = propose(f, "one");
	t[1] = propose(f, "two");
	t[2] = propose(f, "three");
	UNTIL(f->nappend == 3);
	say_undecided(f, t[1]);
	say_undecided(f, t[1]);
	say_undecided(f, 12345);		/* of nobody here */
	UNTIL(f->nundecided == 1);
	loop_for(f, 20);
	assert_int_equal(f->nundecided, 1);
	assert_int_equal(f->undecided[0], t[1]);
	assert_int_equal(owner_pending(f->owner, NULL), 3);
	say_role(f, false, 4);
	UNTIL(f->nundecided == 3);
	assert_int_equal(f->undecided[1], t[0]);
	assert_int_equal(f->undecided[2], t[2]);
	assert_int_equal(f->nref, 0);
	say_committed(f, t[0], 101);
	say_committed(f, t[1], 102);
	say_refused(f, t[2], OWNER_NOT_ACTIVE);
	UNTIL(f->nref == 1);
	assert_int_equal(f->nrec, 2);
	assert_int_equal(f->rec[1].token, t[1]);
	assert_int_equal(owner_pending(f->owner, NULL), 0);
}

/* The connection breaks with three proposals under way: the first was committed and
 * comes as a record, the others are proposed again, in order, once each. */
static void
test_reconnect(void **state)
{
	struct fake *f = *state;
	uint64_t t1, t2, t3;
	size_t bytes;

	go_live(f);
	t1 = propose(f, "one");
	t2 = propose(f, "two");
	UNTIL(f->nappend == 2);
	unserve(f);
	loop_for(f, 50);
	t3 = propose(f, "three");
	f->nappend = 0;
	f->attaches = 0;
	serve(f);
	UNTIL(f->attaches == 1);
	say_role(f, true, 4);
	say_record(f, 105, t1, "one");
	loop_for(f, 30);
	assert_int_equal(f->nappend, 0);	/* outcome of the others not known yet */
	assert_true(f->role.active);		/* no flap */
	say_live(f);
	UNTIL(f->nappend == 2);
	assert_int_equal(f->append[0].origin, t2);
	assert_int_equal(f->append[1].origin, t3);
	assert_int_equal(f->nrec, 1);
	assert_int_equal(f->rec[0].token, t1);
	assert_int_equal(owner_pending(f->owner, &bytes), 2);
	assert_true(bytes > 0);
	say_committed(f, t2, 106);
	say_committed(f, t3, 107);
	UNTIL(f->nrec == 3);
	assert_int_equal(f->rec[1].token, t2);
	assert_int_equal(f->rec[2].token, t3);
	assert_string_equal(f->rec[2].text, "three");
	assert_int_equal(f->nref, 0);
}

/* The other node took over meanwhile: what came through settles, the rest is refused. */
static void
test_reconnect_standby(void **state)
{
	struct fake *f = *state;
	uint64_t t1;

	go_live(f);
	t1 = propose(f, "one");
	UNTIL(f->nappend == 1);
	unserve(f);
	loop_for(f, 20);
	f->attaches = 0;
	f->nappend = 0;
	serve(f);
	UNTIL(f->attaches == 1);
	say_role(f, false, 5);
	UNTIL(!f->role.active);
	say_live(f);
	UNTIL(f->nappend == 1);
	say_refused(f, t1, OWNER_NOT_ACTIVE);
	UNTIL(f->nref == 1);
	assert_int_equal(f->ref[0].token, t1);
}

static void
test_duplicates_skipped(void **state)
{
	struct fake *f = *state;

	go_live(f);
	say_record(f, 100, 0, "seen");
	say_record(f, 101, 0, "a");
	say_record(f, 101, 0, "a");
	say_record(f, 103, 0, "b");
	say_record(f, 102, 0, "late");
	UNTIL(f->nrec == 2);
	loop_for(f, 20);
	assert_int_equal(f->nrec, 2);
	assert_int_equal(f->rec[1].lsn, 103);
}

/* The index went back to 101 while records of the first attach are on their way. */
static void
test_rewind(void **state)
{
	struct fake *f = *state;
	uint64_t t;

	go_live(f);
	say_record(f, 101, 0, "a");
	say_record(f, 102, 0, "b");
	UNTIL(f->nrec == 2);
	t = propose(f, "mine");
	UNTIL(f->nappend == 1);
	owner_attach(f->owner, SHARD, 101);
	say_record(f, 103, 0, "in flight");
	say_committed(f, t, 104);
	say_live(f);
	loop_for(f, 30);
	assert_int_equal(f->nrec, 2);
	say_record(f, 102, 0, "b");
	say_record(f, 103, 0, "in flight");
	say_record(f, 104, t, "mine");
	say_live(f);
	UNTIL(f->nrec == 5);
	assert_int_equal(f->rec[2].lsn, 102);
	assert_int_equal(f->rec[4].token, t);
	assert_int_equal(f->nappend, 1);
	assert_true(f->role.active);
	propose(f, "next");
	UNTIL(f->nappend == 2);
}

/* The index is lost: what is on its way is not taken, live is not believed, and what was
 * proposed is settled when one from the peer is there. */
static void
test_lost(void **state)
{
	struct fake *f = *state;
	unsigned attaches;
	uint64_t t;

	go_live(f);
	say_record(f, 101, 0, "a");
	UNTIL(f->nrec == 1);
	t = propose(f, "mine");
	UNTIL(f->nappend == 1);
	attaches = f->attaches;
	owner_attach(f->owner, SHARD, OWNER_FROM_LOST);
	UNTIL(f->attaches == attaches + 1);
	assert_true(f->attach_from == OWNER_FROM_LOST);
	say_record(f, 102, 0, "in flight");
	say_committed(f, t, 103);
	say_live(f);
	loop_for(f, 30);
	assert_int_equal(f->nrec, 1);
	propose(f, "held");
	loop_for(f, 30);
	assert_int_equal(f->nappend, 1);
	owner_attach(f->owner, SHARD, 102);	/* not a way back: nothing of before is awaited */
	say_record(f, 103, t, "mine");
	say_live(f);
	UNTIL(f->nrec == 2 && f->nappend == 2);
	assert_int_equal(f->rec[1].token, t);
	assert_true(f->role.active);
}

/* Nonsense ends the connection, not the process; the next one goes on. */
static void
test_nonsense(void **state)
{
	static const struct { uint16_t type; const char *body; size_t len; } bad[] = {
		{ OWN_RECORD, "short", 5 },
		{ OWN_COMMITTED, "", 0 },
		{ OWN_COMMITTED, "123456781234567812345678x12345678", 33 },	/* not ours */
		{ OWN_ROLE, "abc", 3 },
		{ OWN_REFUSED, "12345678\377", 9 },
		{ OWN_LIVE, "1", 1 },
		{ OWN_INDEX_OFFERED, "1234567890", 10 },			/* no fd */
		{ OWN_OBJECT_OFFERED, "12", 2 },
	};
	struct fake *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		f->attaches = 0;
		UNTIL(f->ipc != NULL || f->attaches);
		UNTIL(f->attaches == 1);
		assert_int_equal(ipc_send(f->ipc, bad[i].type, 0, bad[i].body, bad[i].len, -1), 0);
		UNTIL(f->ipc == NULL);
		UNTIL(f->ipc != NULL);
		f->attaches = 0;
		ipc_free(f->ipc);	/* so that each round begins with a new connection */
		f->ipc = NULL;
	}
	assert_int_equal(f->nrec, 0);
}

static void
test_tell(void **state)
{
	struct fake *f = *state;
	struct wire_out w;
	uint8_t sha[32] = { 1 };

	go_live(f);
	owner_applied(f->owner, SHARD, 7);
	owner_checkpoint(f->owner, SHARD, 6);
	owner_object_answer(f->owner, SHARD, sha, dup(f->listen_fd));
	owner_snapshot_done(f->owner, SHARD, 5, -1, -1);
	UNTIL(f->snapshots == 2);
	assert_int_equal(f->applied, 7);
	assert_int_equal(f->checkpoint, 6);
	assert_int_equal(f->object_answers, 1);
	/* an owner without these hooks declines */
	wire_out_init(&w);
	wire_put_u16(&w, SHARD);
	say(f, OWN_SNAPSHOT, &w);
	wire_put_raw(&w, sha, 32);
	say(f, OWN_OBJECT_WANTED, &w);
	wire_put_u8(&w, 0);
	say(f, OWN_OBJECT_OFFERED, &w);
	wire_out_clear(&w);
	UNTIL(f->offer_no == 1);
	assert_int_equal(f->object_answers, 2);
	assert_int_equal(f->snapshots, 4);
	say(f, OWN_BATCH_END, &w);
	say(f, 999, &w);
	UNTIL(f->ends == 1);
	assert_non_null(f->ipc);
}

static int
file_with(const char *text)
{
	FILE *f = tmpfile();
	int fd;

	assert_non_null(f);
	fputs(text, f);
	fflush(f);
	fd = dup(fileno(f));
	fclose(f);
	return fd;
}

static void
say_merge(struct fake *f, uint16_t shard)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, SHARD);
	wire_put_u64(&w, 99);
	wire_put_u8(&w, 1);
	wire_put_u8(&w, 1);
	wire_put_str(&w, "2026-11-28");
	assert_int_equal(ipc_send(f->ipc, OWN_MERGE, 0, w.p, w.len, file_with("tail")), 0);
	wire_out_clear(&w);
	wire_out_init(&w);
	wire_put_u16(&w, shard);
	assert_int_equal(ipc_send(f->ipc, OWN_MERGE_THEIRS, 0, w.p, w.len, file_with("theirs")), 0);
	wire_out_clear(&w);
}

static void
say_changes(struct fake *f)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, SHARD);
	wire_put_u64(&w, 98);
	wire_put_u8(&w, 0);
	assert_int_equal(ipc_send(f->ipc, OWN_CHANGES_WANTED, 0, w.p, w.len, file_with("t")), 0);
	wire_out_clear(&w);
}

static void
test_merge(void **state)
{
	struct fake *f = *state;

	go_live(f);
	/* an owner without these hooks declines */
	say_changes(f);
	say_merge(f, SHARD);
	UNTIL(f->changes_no == 1 && f->merged_no == 1);
	assert_non_null(strstr(f->report, "cannot be merged"));
	ipc_free(f->ipc);
	f->ipc = NULL;
	owner_free(f->owner);
	f->owner = owner_new(f->base, f->path, &merging, f);
	owner_attach(f->owner, SHARD, 100);
	go_live(f);
	memset(&asked, 0, sizeof(asked));
	say_changes(f);
	UNTIL(asked.changes == 1);
	assert_true(asked.fork == 98 && !asked.whole);
	UNTIL(f->object_answers == 1);		/* counted there */
	say_merge(f, SHARD);
	UNTIL(f->merged == 1);
	assert_true(asked.merges == 1 && asked.dry && asked.whole && asked.fork == 99);
	assert_string_equal(asked.stamp, "2026-11-28");
	assert_string_equal(f->report, "{\"added\": 3}");
	/* halves that do not belong together */
	say_merge(f, SHARD + 1);
	UNTIL(f->ipc == NULL);
	assert_int_equal(asked.merges, 1);
}

static struct {
	unsigned told;
	enum owner_mend rc;
	bool fd;
} mend;

static void
on_mended(void *arg, uint16_t shard, const uint8_t sha[32], enum owner_mend rc, int fd)
{
	(void)arg;
	assert_int_equal(shard, SHARD);
	assert_int_equal(sha[31], 9);
	mend.told++;
	mend.rc = rc;
	mend.fd = fd != -1;
	if (fd != -1)
		close(fd);
}

static void
say_mended(struct fake *f, uint8_t rc, int fd)
{
	uint8_t sha[32] = { [31] = 9 };
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, SHARD);
	wire_put_raw(&w, sha, 32);
	wire_put_u8(&w, rc);
	assert_int_equal(ipc_send(f->ipc, OWN_MENDED, 0, w.p, w.len, fd), 0);
	wire_out_clear(&w);
}

static void
test_mend(void **state)
{
	struct owner_ops mending = ops;
	uint8_t sha[32] = { [31] = 9 };
	struct fake *f = *state;

	go_live(f);
	say_mended(f, OWNER_MEND_OK, file_with("t"));	/* without the hook: closed */
	ipc_free(f->ipc);
	f->ipc = NULL;
	owner_free(f->owner);
	mending.mended = on_mended;
	f->owner = owner_new(f->base, f->path, &mending, f);
	assert_int_equal(owner_mend(f->owner, SHARD, sha), -1);	/* not connected yet */
	owner_attach(f->owner, SHARD, 100);
	go_live(f);
	assert_int_equal(owner_mend(f->owner, SHARD, sha), 0);
	UNTIL(f->mends == 1);
	say_mended(f, OWNER_MEND_OK, file_with("t"));
	UNTIL(mend.told == 1);
	assert_true(mend.rc == OWNER_MEND_OK && mend.fd);
	say_mended(f, OWNER_MEND_ABSENT, -1);
	UNTIL(mend.told == 2);
	assert_true(mend.rc == OWNER_MEND_ABSENT && !mend.fd);
	assert_string_equal(owner_mend_name(OWNER_MEND_BAD), "bad");
	/* an object that is none */
	say_mended(f, OWNER_MEND_OK, -1);
	UNTIL(f->ipc == NULL);
	assert_int_equal(mend.told, 2);
}

static struct {
	unsigned asked, stopped;
	struct owner_verify what;
} verify;

static void
on_verify(void *arg, uint16_t shard, const struct owner_verify *v)
{
	struct fake *f = arg;

	assert_int_equal(shard, SHARD);
	verify.asked++;
	verify.what = *v;
	owner_verifying(f->owner, shard, v->run, 5, 6);
	owner_verified(f->owner, shard, v->run, true, "{\"bad_count\": 3}");
}

static void
on_verify_stop(void *arg, uint16_t shard)
{
	(void)arg;
	assert_int_equal(shard, SHARD);
	verify.stopped++;
}

static void
say_verify(struct fake *f, uint16_t type, size_t len)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, SHARD);
	if (type == OWN_VERIFY) {
		wire_put_u32(&w, 77);
		wire_put_u64(&w, 1000);
		wire_put_u8(&w, 1);
	}
	assert_int_equal(ipc_send(f->ipc, type, 0, w.p, w.len - len, -1), 0);
	wire_out_clear(&w);
}

static void
test_verify(void **state)
{
	struct owner_ops verifying = ops;
	struct fake *f = *state;

	go_live(f);
	say_verify(f, OWN_VERIFY, 0);		/* without the hook: declined */
	UNTIL(f->verified_no == 1);
	say_verify(f, OWN_VERIFY_STOP, 0);
	ipc_free(f->ipc);
	f->ipc = NULL;
	owner_free(f->owner);
	verifying.verify = on_verify;
	verifying.verify_stop = on_verify_stop;
	f->owner = owner_new(f->base, f->path, &verifying, f);
	owner_attach(f->owner, SHARD, 100);
	go_live(f);
	say_verify(f, OWN_VERIFY, 0);
	UNTIL(f->verified == 1);
	assert_true(verify.asked == 1 && verify.what.run == 77 && verify.what.rate == 1000 &&
	    verify.what.repair);
	assert_int_equal(f->verifying, 1);
	assert_string_equal(f->report, "{\"bad_count\": 3}");
	say_verify(f, OWN_VERIFY_STOP, 0);
	UNTIL(verify.stopped == 1);
	say_verify(f, OWN_VERIFY, 1);		/* cut short */
	UNTIL(f->ipc == NULL);
	assert_int_equal(verify.asked, 1);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_commit_and_refuse), T(test_undecided), T(test_reconnect),
		T(test_reconnect_standby),
		T(test_duplicates_skipped), T(test_rewind), T(test_lost), T(test_nonsense), T(test_tell), T(test_merge),
		T(test_mend), T(test_verify),
	};

	return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
