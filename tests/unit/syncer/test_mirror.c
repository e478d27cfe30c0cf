/* test_mirror.c - whole passes between two real workers over socket pairs, with this
 * program in the place of both syncds (it relays, and can cut), and two trees in a
 * temporary directory.  After a pass both trees are listed and compared entry by
 * entry, metadata included, and every file byte by byte. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs.h"
#include "gen.h"
#include "hex.h"
#include "mem.h"
#include "mirror_conf.h"
#include "mirror_pack.h"
#include "mirror_result.h"
#include "mirror_wire.h"
#include "mirror_worker.h"
#include "tree.h"
#include "tree_plan.h"

#define WAIT_MS 20000
#define FRAME (1u << 20)

struct side {
	char *path;			/* of its tree */
	struct mirror_tree tree;
	struct mirror_conf conf;
	int fd;
	pid_t pid;
	bool done, dead;
	struct mirror_result result;
};

struct rig {
	char dir[64];
	struct side side[2];		/* 0: source in a right pass */
	struct gen gen;
	uint32_t pass;
	uint64_t cut_after;		/* messages to the target; 0: never */
	bool cut;			/* it was */
	bool kill;			/* the target's worker dies with the cut */
	uint64_t relayed;
	bool writing;			/* see scribble() */
	void (*between)(struct rig *, uint8_t type);	/* before a message of the target */
	struct mirror_pack *opened[2];	/* what each side says, read along */
	uint64_t data, holes;		/* bytes of file content, or of holes, that came over */
	uint64_t wire;			/* bytes of messages of both */
	char *plan;			/* rows of a dry run, one line each */
};

static void scribble(struct rig *);

/* ---- the rig ----------------------------------------------------------- */

static void
put(int fd, uint16_t type, uint32_t id, const void *p, size_t n)
{
	uint8_t h[12];

	wire_store32(h, (uint32_t)n);
	wire_store16(h + 4, type);
	h[6] = 1;
	h[7] = 0;
	wire_store32(h + 8, id);
	assert_int_equal(fs_write_all(fd, h, sizeof(h)), 0);
	assert_int_equal(fs_write_all(fd, p, n), 0);
}

static void
state(struct rig *r, int i, bool active, bool standby, bool connected)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, active);
	wire_put_u8(&w, standby);
	wire_put_u8(&w, connected);
	gen_put(&w, &r->gen);
	put(r->side[i].fd, MW_STATE, 0, w.p, w.len);
	wire_out_clear(&w);
}

static void
start_worker(struct rig *r, int i)
{
	struct side *s = &r->side[i];
	int pair[2];

	s->conf = (struct mirror_conf){ &s->tree, 1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	if ((s->pid = fork()) == 0) {
		close(pair[0]);
		close(r->side[1 - i].fd);
		/* Both trees have one name on the wire: each worker sees its own there. */
		if (chdir(s->path) == -1)
			_exit(9);
		mirror_worker_run(&s->conf, r->dir, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	s->fd = pair[0];
}

static void
stop_worker(struct side *s)
{
	int status = 0;

	close(s->fd);
	s->fd = -1;
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(s->dead ? WIFSIGNALED(status) : status == 0);
	s->dead = false;
}

static int
setup(void **state_)
{
	struct rig *r = mem_alloc(sizeof(*r));

	(void)snprintf(r->dir, sizeof(r->dir), "/var/tmp/mirror-test.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->gen = gen_make(0, 0, GEN_CLEAN, 3, 1);
	for (int i = 0; i < 2; i++) {
		struct side *s = &r->side[i];

		s->path = mem_printf("%s/%s", r->dir, i == 0 ? "source" : "target");
		assert_int_equal(mkdir(s->path, 0755), 0);
		s->fd = -1;
		s->tree = (struct mirror_tree){ .path = mem_dup("."),
			.compress_level = 3, .max_delete_percent = 5, .delete_always = 2, .hold_deleted_s = 1000,
			.file_size_max = 1 << 30, .entries_max = 100000 };
	}
	*state_ = r;
	return 0;
}

static int
teardown(void **state_)
{
	struct rig *r = *state_;

	fs_remove_tree(r->dir);
	for (int i = 0; i < 2; i++) {
		free(r->side[i].path);
		free(r->side[i].tree.path);
		mirror_pack_free(r->opened[i]);
	}
	free(r->plan);
	free(r);
	return 0;
}

static void
take_done(struct side *s, const uint8_t *p, size_t n)
{
	struct wire_in in;
	char path[64];

	wire_in_init(&in, p, n);
	(void)wire_get_u8(&in);
	wire_get_str(&in, path, sizeof(path));
	assert_int_equal(mirror_result_get(&in, &s->result), 0);
	s->done = true;
}

static void
one_message(struct rig *r, int from, uint8_t type, struct wire_in *body)
{
	if (type == MM_DATA)
		r->data += body->left;
	if (type == MM_HOLE)
		r->holes += wire_get_u64(body);
	if (from == 1 && r->between != NULL)
		r->between(r, type);
}

/* Reads along what a worker says, and what is in its packs. */
static void
messages(struct rig *r, int from, const uint8_t *body, size_t n)
{
	struct wire_in in;
	uint8_t type = body[0];

	r->wire += n;
	wire_in_init(&in, body + MIRROR_HEAD, n - MIRROR_HEAD);
	if (type != MM_PACK) {
		one_message(r, from, type, &in);
		return;
	}
	assert_int_equal(mirror_pack_open(r->opened[from], wire_get_rest(&in)), 0);
	while (mirror_pack_next(r->opened[from], &type, &in) == 1)
		one_message(r, from, type, &in);
}

static void
take_plan(struct rig *r, const uint8_t *p, size_t n)
{
	char path[TREE_PATH_MAX];
	struct wire_in in;

	wire_in_init(&in, p, n);
	while (in.left > 0) {
		const char *op = tree_op_name(wire_get_u8(&in));
		const char *type = tree_type_name(wire_get_u8(&in));
		char *old = r->plan;

		wire_get_str(&in, path, sizeof(path));
		assert_true(wire_in_ok(&in));
		r->plan = mem_printf("%s%s %s %s\n", old != NULL ? old : "", op, type, path);
		free(old);
	}
}

/* One frame from a worker: relayed, or its result.  false: it ended. */
static bool
relay(struct rig *r, int from)
{
	static uint8_t body[FRAME];
	struct side *s = &r->side[from], *to = &r->side[1 - from];
	uint8_t h[12];
	uint32_t n;

	if (recv(s->fd, h, sizeof(h), MSG_WAITALL) != (ssize_t)sizeof(h))
		return false;
	n = wire_load32(h);
	assert_true(n <= sizeof(body));
	assert_int_equal(recv(s->fd, body, n, MSG_WAITALL), (ssize_t)n);
	if (wire_load16(h + 4) == MW_DONE)
		take_done(s, body, n);
	if (wire_load16(h + 4) == MW_PLAN)
		take_plan(r, body, n);
	if (wire_load16(h + 4) != MW_PEER)
		return true;
	if (from == 0 && r->cut_after != 0 && ++r->relayed > r->cut_after)
		r->cut = true;
	if (r->cut)
		return true;		/* lost */
	if (from == 0 && r->writing)
		scribble(r);
	messages(r, from, body, n);
	put(to->fd, MW_PEER, 0, body, n);
	return true;
}

static void
run_frames(struct rig *r)
{
	while (!r->side[0].done) {
		struct pollfd p[2] = { { .fd = r->side[0].fd, .events = POLLIN },
			{ .fd = r->side[1].dead ? -1 : r->side[1].fd, .events = POLLIN } };

		assert_true(poll(p, 2, WAIT_MS) > 0);
		for (int i = 0; i < 2; i++)
			if (p[i].revents != 0)
				assert_true(relay(r, i));
		if (r->cut_after != 0 && r->cut) {
			r->cut_after = 0;
			state(r, 0, true, false, false);
			r->side[1].dead = r->kill;
			if (r->kill)
				kill(r->side[1].pid, SIGKILL);
			else
				state(r, 1, false, true, false);
		}
	}
}

static void
begin(struct rig *r)
{
	r->side[0].done = r->side[1].done = false;
	r->cut = false;
	r->relayed = r->data = r->holes = r->wire = 0;
	for (int i = 0; i < 2; i++) {
		mirror_pack_free(r->opened[i]);
		r->opened[i] = mirror_pack_new(0);
	}
	r->pass++;
	start_worker(r, 0);
	start_worker(r, 1);
}

static void
ask(struct rig *r, uint8_t flags)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, ".");
	wire_put_u8(&w, flags);
	put(r->side[0].fd, MW_RUN, r->pass, w.p, w.len);
	wire_out_clear(&w);
	run_frames(r);
	stop_worker(&r->side[0]);
	stop_worker(&r->side[1]);
}

static const struct mirror_result *
pass(struct rig *r, uint8_t flags)
{
	begin(r);
	state(r, 0, true, false, true);
	state(r, 1, false, true, true);
	ask(r, flags);
	return &r->side[0].result;
}

static const struct mirror_result *
pass_ok(struct rig *r)
{
	const struct mirror_result *m = pass(r, 0);

	if (m->outcome != MIRROR_OK)
		fail_msg("pass: %s (%s)", m->error, m->why);
	return m;
}

/* ---- trees ------------------------------------------------------------- */

static char *
at(const struct rig *r, int side, const char *name)
{
	static char path[8][512];
	static unsigned n;
	char *p = path[n++ % 8];

	(void)snprintf(p, 512, "%s/%s", r->side[side].path, name);
	return p;
}

static void
file(const struct rig *r, int side, const char *name, const void *p, size_t n)
{
	int fd = open(at(r, side, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd != -1);
	assert_int_equal(fs_write_all(fd, p, n), 0);
	close(fd);
}

static void
text(const struct rig *r, int side, const char *name, const char *s)
{
	file(r, side, name, s, strlen(s));
}

static void
big(const struct rig *r, int side, const char *name, size_t n, uint32_t seed)
{
	uint8_t *p = mem_alloc(n);

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
	file(r, side, name, p, n);
	free(p);
}

struct listing {
	struct tree_entry e[3000];
	size_t n;
};

static int
on_entry(void *arg, const struct tree_entry *e)
{
	struct listing *l = arg;
	struct tree_entry *to = &l->e[l->n++];

	*to = *e;
	to->path = mem_dup(e->path);
	to->target = mem_dup(e->target);
	to->xattrs = e->xattrs == NULL ? NULL : mem_copy(e->xattrs, e->xattrs_len);
	return 0;
}

static struct listing *
list(const struct rig *r, int side)
{
	struct listing *l = mem_alloc(sizeof(*l));
	struct tree_walk w = { .entries_max = 2900, .entry = on_entry, .arg = l };

	w.root_fd = open(r->side[side].path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_walk(&w), 0);
	close(w.root_fd);
	return l;
}

static void
same_bytes(const struct rig *r, const char *name)
{
	char *a, *b;
	size_t na, nb;

	assert_int_equal(fs_read(at(r, 0, name), 1 << 30, &a, &na), 0);
	assert_int_equal(fs_read(at(r, 1, name), 1 << 30, &b, &nb), 0);
	assert_int_equal(na, nb);
	assert_memory_equal(a, b, na);
	free(a);
	free(b);
}

static void
equal(const struct rig *r)
{
	struct listing *a = list(r, 0), *b = list(r, 1);

	for (size_t i = 0; i < a->n && i < b->n; i++) {
		uint8_t x[32], y[32];

		tree_entry_digest(&a->e[i], x);
		tree_entry_digest(&b->e[i], y);
		if (memcmp(x, y, 32) != 0)
			fail_msg("%s differs from %s", a->e[i].path, b->e[i].path);
		if (a->e[i].type == TREE_FILE)
			same_bytes(r, a->e[i].path);
	}
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++)
		tree_entry_clear(&a->e[i]);
	for (size_t i = 0; i < b->n; i++)
		tree_entry_clear(&b->e[i]);
	free(a);
	free(b);
}

static bool
exists(const struct rig *r, int side, const char *name)
{
	struct stat st;

	return lstat(at(r, side, name), &st) == 0;
}

/* How many files below the hold folder have this name. */
static int
held(const struct rig *r, const char *name)
{
	char *cmd = mem_printf("%s/.mailpair-held", r->side[1].path);
	struct listing *l = mem_alloc(sizeof(*l));
	struct tree_walk w = { .entries_max = 2900, .entry = on_entry, .arg = l };
	int n = 0;

	w.root_fd = open(cmd, O_RDONLY | O_DIRECTORY);
	free(cmd);
	if (w.root_fd != -1) {
		assert_int_equal(tree_walk(&w), 0);
		close(w.root_fd);
	}
	for (size_t i = 0; i < l->n; i++) {
		const char *slash = strchr(l->e[i].path, '/');

		n += slash != NULL && strcmp(slash + 1, name) == 0;
		tree_entry_clear(&l->e[i]);
	}
	free(l);
	return n;
}

static void
plant(const struct rig *r)
{
	static const struct timespec old[2] = { { 1000000000, 5 }, { 1234567890, 987654321 } };

	mkdir(at(r, 0, "d"), 0750);
	mkdir(at(r, 0, "d/e"), 01777);
	mkdir(at(r, 0, "d-e"), 0755);
	text(r, 0, "d/a", "hello\n");
	text(r, 0, "d/e/empty", "");
	text(r, 0, "d-e/\xe6\x97\xa5 \n'", "name\n");
	big(r, 0, "big", 700000, 1);
	chmod(at(r, 0, "d/a"), 0600);
	utimensat(AT_FDCWD, at(r, 0, "d/a"), old, 0);
	assert_int_equal(symlink("/nowhere/\xff", at(r, 0, "d/link")), 0);
	utimensat(AT_FDCWD, at(r, 0, "d/link"), old, AT_SYMLINK_NOFOLLOW);
	assert_int_equal(link(at(r, 0, "d/a"), at(r, 0, "d/e/hard")), 0);
	assert_int_equal(link(at(r, 0, "d/a"), at(r, 0, "hard")), 0);
	assert_int_equal(mkfifo(at(r, 0, "fifo"), 0620), 0);
	(void)setxattr(at(r, 0, "big"), "user.note", "x\0y", 3, 0);
	(void)setxattr(at(r, 0, "d"), "user.dir", "1", 1, 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(at(r, 0, "big"), 12345, 54321), 0);
		assert_int_equal(lchown(at(r, 0, "d/link"), 7, 8), 0);
		assert_int_equal(chown(at(r, 0, "d/e"), 99, 98), 0);
		assert_int_equal(chmod(at(r, 0, "big"), 04755), 0);
		(void)mknod(at(r, 0, "null"), S_IFCHR | 0666, makedev(1, 3));
	}
	utimensat(AT_FDCWD, at(r, 0, "d/e"), old, 0);
}

/* ---- cases ------------------------------------------------------------- */

static void
all_kinds(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;
	struct stat a, b;

	plant(r);
	m = pass_ok(r);
	equal(r);
	assert_true(m->created >= 11);
	assert_int_equal(m->deleted, 0);
	assert_int_equal(lstat(at(r, 1, "d/a"), &a), 0);
	assert_int_equal(lstat(at(r, 1, "hard"), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	m = pass_ok(r);			/* nothing for unchanged ones */
	assert_int_equal(m->created + m->changed + m->meta + m->deleted, 0);
	assert_int_equal(m->literal + m->matched, 0);
}

static void
changes(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;
	int fd;

	plant(r);
	pass_ok(r);
	fd = open(at(r, 0, "big"), O_WRONLY);
	assert_int_equal(pwrite(fd, "changed", 7, 300000), 7);
	close(fd);
	chmod(at(r, 0, "d-e"), 0700);
	unlink(at(r, 0, "d/link"));
	assert_int_equal(symlink("other", at(r, 0, "d/link")), 0);
	removexattr(at(r, 0, "d"), "user.dir");
	text(r, 0, "new", "new\n");
	unlink(at(r, 0, "hard"));		/* becomes a file of its own */
	text(r, 0, "hard", "alone\n");
	m = pass_ok(r);
	equal(r);
	assert_true(m->matched > 650000);
	assert_true(m->literal < 20000);
	assert_true(m->bytes_sent < 40000);
}

static void
kinds_swap(void **state_)
{
	struct rig *r = *state_;

	for (int i = 0; i < 100; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%02d", i);
		text(r, 0, name, name);
	}
	mkdir(at(r, 0, "x"), 0755);
	text(r, 0, "x/in", "in");
	text(r, 0, "y", "file");
	pass_ok(r);
	unlink(at(r, 0, "x/in"));
	rmdir(at(r, 0, "x"));
	text(r, 0, "x", "now a file");
	unlink(at(r, 0, "y"));
	mkdir(at(r, 0, "y"), 0755);
	text(r, 0, "y/in", "in");
	pass_ok(r);
	equal(r);
	assert_int_equal(held(r, "x/in"), 1);
	assert_int_equal(held(r, "y"), 1);
}

static void
deletions(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;

	for (int i = 0; i < 10; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		text(r, 0, name, name);
	}
	pass_ok(r);
	unlink(at(r, 0, "f1"));
	m = pass_ok(r);
	assert_int_equal(m->deleted, 1);
	assert_false(exists(r, 1, "f1"));
	assert_int_equal(held(r, "f1"), 1);
	for (int i = 2; i < 8; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%d", i);
		unlink(at(r, 0, name));
	}
	m = pass(r, 0);
	assert_int_equal(m->outcome, MIRROR_REFUSED);
	assert_non_null(strstr(m->error, "6 of 9"));
	assert_non_null(strstr(m->hint, "--accept-deletes"));
	assert_true(exists(r, 1, "f2"));
	m = pass(r, MIRROR_ACCEPT_DELETES);
	assert_int_equal(m->outcome, MIRROR_OK);
	equal(r);
	assert_int_equal(held(r, "f2"), 1);
	r->side[1].tree.hold_deleted_s = 0;	/* everything held is old now */
	pass_ok(r);
	assert_int_equal(held(r, "f2"), 0);
}

static void
empty_source(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;

	text(r, 1, "precious", "x");
	m = pass(r, 0);
	assert_int_equal(m->outcome, MIRROR_REFUSED);
	assert_non_null(strstr(m->error, "is empty"));
	assert_true(exists(r, 1, "precious"));
	r->side[0].tree.require_mount = true;
	m = pass(r, MIRROR_ACCEPT_DELETES);
	assert_int_equal(m->outcome, MIRROR_REFUSED);
	assert_non_null(strstr(m->error, "nothing is mounted"));
	r->side[0].tree.require_mount = false;
	r->side[1].tree.require_mount = true;
	m = pass(r, MIRROR_ACCEPT_DELETES);
	assert_int_equal(m->outcome, MIRROR_REFUSED);
	assert_true(exists(r, 1, "precious"));
}

static void
excluded(void **state_)
{
	struct rig *r = *state_;
	char *patterns[] = { (char *)(uintptr_t)"*.tmp", (char *)(uintptr_t)"/cache" };

	for (int i = 0; i < 2; i++) {
		r->side[i].tree.exclude = patterns;
		r->side[i].tree.nexclude = 2;
	}
	mkdir(at(r, 0, "cache"), 0755);
	text(r, 0, "cache/x", "x");
	text(r, 0, "a.tmp", "x");
	text(r, 0, "a", "x");
	text(r, 1, "mine.tmp", "stays");
	pass_ok(r);
	assert_true(exists(r, 1, "a"));
	assert_false(exists(r, 1, "cache"));
	assert_false(exists(r, 1, "a.tmp"));
	assert_true(exists(r, 1, "mine.tmp"));
}

/* The directions.  Each row: what the two nodes believe; none may move a byte. */
static void
directions(void **state_)
{
	static const struct {
		bool src_active, src_standby, dst_active, dst_standby;
		int dst_gen;			/* -1 older, +1 newer than the source's */
	} t[] = {
		{ false, true, true, false, 0 },	/* standby to active */
		{ false, true, false, true, 0 },
		{ true, false, true, false, 0 },	/* two actives */
		{ true, false, false, false, 0 },	/* not whole */
		{ true, false, false, true, 1 },	/* the source is of an older one */
		{ true, false, false, true, -1 },
	};
	struct rig *r = *state_;
	struct gen right = gen_make(10, 0, GEN_CLEAN, 3, 1);

	text(r, 0, "f", "old data of the wrong side");
	text(r, 1, "f", "good data");
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char *p;
		size_t n;

		begin(r);
		r->gen = right;
		state(r, 0, t[i].src_active, t[i].src_standby, true);
		r->gen.no = (uint64_t)((int64_t)right.no + 2 * t[i].dst_gen);
		state(r, 1, t[i].dst_active, t[i].dst_standby, true);
		ask(r, MIRROR_ACCEPT_DELETES);
		if (r->side[0].result.outcome == MIRROR_OK)
			fail_msg("case %zu: the pass ran in the wrong direction", i);
		assert_int_equal(fs_read(at(r, 1, "f"), 1000, &p, &n), 0);
		assert_string_equal(p, "good data");
		free(p);
	}
}

static void
on_ready_promote(struct rig *r, uint8_t type)
{
	if (type != MM_WANT_END)
		return;
	r->between = NULL;
	r->gen = gen_make(r->gen.no, 1, GEN_TAKEOVER, 2, 1);
	state(r, 1, true, false, true);		/* the target took over meanwhile */
}

static void
takeover_in_the_middle(void **state_)
{
	struct rig *r = *state_;

	text(r, 0, "f", "old");
	text(r, 1, "f", "good data");
	r->between = on_ready_promote;
	assert_int_equal(pass(r, 0)->outcome, MIRROR_FAILED);
	assert_int_equal(r->side[1].result.outcome, MIRROR_FAILED);
	assert_true(r->side[1].result.error[0] != 0);
	{
		char *p;
		size_t n;

		assert_int_equal(fs_read(at(r, 1, "f"), 1000, &p, &n), 0);
		assert_string_equal(p, "good data");
		free(p);
	}
}

/* Cut after each of many messages: every file is whole at any time, nothing of ours
 * stays, and the next pass does the rest. */
static void
interrupted(void **state_)
{
	static const uint64_t cuts[] = { 1, 2, 3, 4, 5, 6, 8, 9, 15, 40, 100 };
	struct rig *r = *state_;

	plant(r);
	for (int i = 0; i < 300; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%03d", i);
		big(r, 0, name, 100 + (size_t)i * 10, (uint32_t)i);
	}
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct listing *l;

		r->cut_after = cuts[i];
		(void)pass(r, 0);
		l = list(r, 1);
		for (size_t k = 0; k < l->n; k++) {
			if (l->e[k].type == TREE_FILE)
				same_bytes(r, l->e[k].path);
			tree_entry_clear(&l->e[k]);
		}
		free(l);
	}
	r->cut_after = 0;
	pass_ok(r);
	equal(r);
}

/* Passes, each cut after so many messages more, until one is not cut any more: the bytes
 * of content that came over in all of them. */
static uint64_t
until_done(struct rig *r, uint64_t cut, unsigned *passes)
{
	uint64_t all = 0;

	for (*passes = 1;; ++*passes) {
		r->cut_after = cut;
		(void)pass(r, 0);
		all += r->data;
		if (r->cut_after != 0)
			break;
		assert_true(*passes < 100);
	}
	r->cut_after = 0;
	return all;
}

/* What arrived is not sent again: not a byte, neither of a large file in its middle nor
 * of small ones whose batch was not complete. */
static void
resumed(void **state_)
{
	struct rig *r = *state_;
	uint64_t size = 1500000;
	unsigned passes;

	big(r, 0, "large", 1500000, 7);
	for (int i = 0; i < 50; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "s%03d", i);
		big(r, 0, name, 9000, (uint32_t)i);
		size += 9000;
	}
	assert_int_equal(until_done(r, 4, &passes), size);
	assert_true(passes >= 5);
	equal(r);
}

static int
strays(const struct rig *r)
{
	char *cmd = mem_printf("find '%s' -name '.mailpair.tmp.*' | grep -c .", r->side[1].path);
	FILE *p = popen(cmd, "r");
	int n = -1;

	assert_int_equal(fscanf(p, "%d", &n), 1);
	(void)pclose(p);
	free(cmd);
	return n;
}

static void
resumed_delta(void **state_)
{
	struct rig *r = *state_;
	uint64_t once, all;
	unsigned passes;
	char *p;
	size_t n;

	big(r, 0, "large", 4000000, 7);
	pass_ok(r);
	assert_int_equal(fs_read(at(r, 0, "large"), 1 << 30, &p, &n), 0);
	for (size_t i = 500000; i < 2500000; i++)	/* half of it is new */
		p[i] = (char)(p[i] * 7 + 3);
	file(r, 0, "large", p, n);
	free(p);
	once = 2000000;
	all = until_done(r, 4, &passes);
	assert_true(passes >= 4);
	assert_true(all < once + once / 10);
	equal(r);
	assert_int_equal(strays(r), 0);
}

/* The worker dies: what it had written is there, and is used. */
static void
resumed_after_kill(void **state_)
{
	struct rig *r = *state_;
	uint64_t first;

	big(r, 0, "large", 8000000, 7);
	r->cut_after = 50;
	r->kill = true;
	(void)pass(r, 0);
	r->kill = false;
	first = r->data;
	assert_int_equal(strays(r), 1);
	pass_ok(r);
	assert_true(first > 4000000);
	assert_true(r->data + first < 9000000);
	equal(r);
	assert_int_equal(strays(r), 0);
}

/* What is there is used only if it is the source's beginning, and only if it is ours. */
static void
resumed_wrong(void **state_)
{
	struct rig *r = *state_;
	char left[] = ".mailpair.tmp.r0123456789abcdef0123456789abcdef";
	uint8_t sha[32];

	big(r, 0, "f", 100000, 1);
	sha256("f", 1, sha);
	hex_encode(sha, 16, left + sizeof(left) - 33);
	big(r, 1, left, 50000, 2);		/* another file's bytes */
	chmod(at(r, 1, left), 0600);
	pass_ok(r);
	equal(r);
	assert_int_equal(r->data, 100000);
	unlink(at(r, 1, "f"));
	text(r, 1, "precious", "x");		/* a name for somebody else's file */
	assert_int_equal(link(at(r, 1, "precious"), at(r, 1, left)), 0);
	text(r, 0, "precious", "another");
	pass_ok(r);
	equal(r);
	unlink(at(r, 1, "f"));
	assert_int_equal(symlink("precious", at(r, 1, left)), 0);
	pass_ok(r);
	equal(r);
	/* Too old to be of use, or not a file that anything could go on with. */
	text(r, 1, ".mailpair.tmp.0123456789abcdef", "x");
	pass_ok(r);
	assert_int_equal(strays(r), 0);
}

static uint64_t
room(const struct rig *r, int side, const char *name)
{
	struct stat st;

	assert_int_equal(stat(at(r, side, name), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* A file with holes: the first copy, a change inside and a resumed copy keep them. */
static void
sparse(void **state_)
{
	struct rig *r = *state_;
	unsigned passes;
	int fd = open(at(r, 0, "holes"), O_WRONLY | O_CREAT, 0644);

	for (int i = 0; i < 8; i++) {
		uint8_t block[70000];

		memset(block, 'a' + i, sizeof(block));
		assert_int_equal(pwrite(fd, block, sizeof(block), (off_t)i * 8000001), 70000);
	}
	assert_int_equal(ftruncate(fd, 100000001), 0);
	assert_int_equal(fsync(fd), 0);
	pass_ok(r);
	equal(r);
	assert_true(r->holes > 90000000);
	if (r->data >= 1000000)
		fail_msg("%llu bytes sent", (unsigned long long)r->data);
	assert_true(room(r, 1, "holes") <= room(r, 0, "holes") + 65536);
	assert_int_equal(pwrite(fd, "change", 6, 50000000), 6);
	pass_ok(r);
	same_bytes(r, "holes");
	assert_true(r->data < 1000000);
	assert_true(room(r, 1, "holes") <= room(r, 0, "holes") + 65536);
	unlink(at(r, 1, "holes"));
	(void)until_done(r, 3, &passes);
	same_bytes(r, "holes");
	assert_true(room(r, 1, "holes") <= room(r, 0, "holes") + 65536);
	/* A file without holes stays without, though it is full of zeros. */
	fd = (close(fd), open(at(r, 0, "zeros"), O_WRONLY | O_CREAT, 0644));
	for (int i = 0; i < 100; i++) {
		static const uint8_t none[10000];

		assert_int_equal(fs_write_all(fd, none, sizeof(none)), 0);
	}
	assert_int_equal(fsync(fd), 0);
	close(fd);
	pass_ok(r);
	assert_true(room(r, 1, "zeros") >= 1000000);
}

/* Written in place at each attempt: never a mixture, the old state stays, and says so. */
static void
write_inside(struct rig *r, uint8_t type)
{
	static uint32_t n = 100;

	if (type != MM_WANT_END)
		return;
	big(r, 0, "db", 3 << 19, n++);
	r->writing = true;
}

/* While the source sends: its last bytes change after the first ones were read. */
static void
scribble(struct rig *r)
{
	int fd = open(at(r, 0, "db"), O_WRONLY);

	assert_int_equal(pwrite(fd, &r->wire, sizeof(r->wire), 10), 8);
	assert_int_equal(pwrite(fd, &r->wire, sizeof(r->wire), (3 << 19) - 10), 8);
	close(fd);
}

static void
never_torn(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;
	uint8_t *p = mem_alloc(3 << 19);
	char *have;
	size_t n;

	file(r, 0, "db", p, 3 << 19);
	text(r, 0, "other", "x");
	pass_ok(r);
	text(r, 0, "db", "is written all the time");
	r->between = write_inside;
	m = pass_ok(r);
	assert_int_equal(m->busy, 1);
	assert_int_equal(fs_read(at(r, 1, "db"), 1 << 30, &have, &n), 0);
	assert_int_equal(n, 3 << 19);
	assert_memory_equal(have, p, n);	/* as before the pass */
	free(have);
	free(p);
	r->between = NULL;
	r->writing = false;
	m = pass_ok(r);
	assert_int_equal(m->busy, 0);
	equal(r);
	assert_int_equal(strays(r), 0);
}

static void
vanish(struct rig *r, uint8_t type)
{
	if (type != MM_WANT_END)
		return;
	r->between = NULL;
	unlink(at(r, 0, "gone"));
	unlink(at(r, 0, "d/gone"));
	rmdir(at(r, 0, "d"));
	unlink(at(r, 0, "linked"));
	unlink(at(r, 0, "is-dir"));
	mkdir(at(r, 0, "is-dir"), 0755);
	unlink(at(r, 0, "is-link"));
	assert_int_equal(symlink("stays", at(r, 0, "is-link")), 0);
}

/* Between the list and the copy: gone, with its directory, with its second name, or
 * something else. */
static void
vanishing(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;

	mkdir(at(r, 0, "d"), 0755);
	text(r, 0, "gone", "x");
	text(r, 0, "d/gone", "x");
	text(r, 0, "linked", "x");
	text(r, 0, "is-dir", "x");
	text(r, 0, "is-link", "x");
	text(r, 0, "stays", "x");
	assert_int_equal(link(at(r, 0, "linked"), at(r, 0, "linked2")), 0);
	r->between = vanish;
	m = pass_ok(r);
	assert_int_equal(m->vanished, 6);
	assert_true(exists(r, 1, "stays"));
	pass_ok(r);
	equal(r);
}

static ino_t
inode(const struct rig *r, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(at(r, 1, name), &st), 0);
	return st.st_ino;
}

static void
hard(const struct rig *r, const char *from, const char *name)
{
	assert_int_equal(link(at(r, 0, from), at(r, 0, name)), 0);
}

/* Links appear, break, change their first name, and are of other kinds than files. */
static void
hard_links(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;

	r->side[1].tree.delete_always = 100;
	big(r, 0, "m", 50000, 1);
	text(r, 0, "other", "other");
	hard(r, "m", "n");
	assert_int_equal(symlink("m", at(r, 0, "sym")), 0);
	hard(r, "sym", "sym2");
	assert_int_equal(mkfifo(at(r, 0, "fifo"), 0600), 0);
	hard(r, "fifo", "fifo2");
	pass_ok(r);
	equal(r);
	assert_true(inode(r, "m") == inode(r, "n") && inode(r, "sym") == inode(r, "sym2") &&
	    inode(r, "fifo") == inode(r, "fifo2"));
	hard(r, "m", "o");			/* one more */
	unlink(at(r, 0, "n"));			/* broken, the same bytes */
	big(r, 0, "n", 50000, 1);
	unlink(at(r, 0, "other"));		/* was a file */
	hard(r, "m", "other");
	pass_ok(r);
	equal(r);
	assert_true(inode(r, "m") == inode(r, "o") && inode(r, "m") == inode(r, "other") &&
	    inode(r, "m") != inode(r, "n"));
	hard(r, "m", "a");			/* a new first name */
	pass_ok(r);
	equal(r);
	unlink(at(r, 0, "a"));			/* and it goes */
	unlink(at(r, 0, "m"));
	unlink(at(r, 0, "sym"));
	pass_ok(r);
	equal(r);
	assert_true(inode(r, "o") == inode(r, "other"));
	chmod(at(r, 0, "o"), 0640);		/* metadata, and then content, of all names */
	pass_ok(r);
	equal(r);
	big(r, 0, "other", 60000, 9);
	pass_ok(r);
	equal(r);
	assert_true(inode(r, "o") == inode(r, "other"));
	m = pass_ok(r);
	assert_int_equal(m->created + m->changed + m->meta + m->deleted, 0);
}

/* An ACL as the kernel keeps it: version 2, then tag, rights, id; one for user 77. */
static size_t
acl(uint8_t p[44], uint8_t named, uint8_t mask)
{
	const uint8_t rows[5][2] = { { 1, 6 }, { 2, named }, { 4, 4 }, { 0x10, mask },
		{ 0x20, 0 } };

	memset(p, 0, 44);
	p[0] = 2;
	for (size_t i = 0; i < 5; i++) {
		uint8_t *e = p + 4 + 8 * i;

		e[0] = rows[i][0];
		e[2] = rows[i][1];
		memset(e + 4, rows[i][0] == 2 ? 0 : 0xff, 4);
		e[4] = rows[i][0] == 2 ? 77 : e[4];
	}
	return 44;
}

static void
set(const struct rig *r, const char *name, const char *attr, const void *p, size_t n)
{
	assert_int_equal(setxattr(at(r, 0, name), attr, p, n, 0), 0);
}

/* ACLs come, change and go; what a default ACL gives to new ones on the standby is not
 * kept when the source has none. */
static void
attributes(void **state_)
{
	static const char access[] = "system.posix_acl_access", def[] = "system.posix_acl_default";
	static const char *const made[] = { "d/later", "d/fifo", "d/new" };
	struct rig *r = *state_;
	uint8_t a[44];

	mkdir(at(r, 0, "d"), 0750);
	text(r, 0, "d/plain", "no list of its own");
	if (setxattr(at(r, 0, "d"), def, a, acl(a, 6, 6), 0) == -1 && errno == ENOTSUP)
		skip();
	pass_ok(r);
	equal(r);
	text(r, 0, "d/later", "later");
	assert_int_equal(mkfifo(at(r, 0, "d/fifo"), 0600), 0);
	mkdir(at(r, 0, "d/new"), 0700);
	for (size_t i = 0; i < 3; i++) {
		(void)removexattr(at(r, 0, made[i]), access);
		(void)removexattr(at(r, 0, made[i]), def);
		chmod(at(r, 0, made[i]), 0644);
	}
	set(r, "d/plain", access, a, acl(a, 4, 4));
	set(r, "d/plain", "user.a", "1", 1);
	set(r, "d/plain", "user.b", "\0\tuser.gone", 11);
	set(r, "d/plain", "user.gone", "x", 1);
	pass_ok(r);
	equal(r);
	assert_int_equal(removexattr(at(r, 0, "d/plain"), access), 0);
	chmod(at(r, 0, "d/plain"), 0604);
	assert_int_equal(removexattr(at(r, 0, "d/plain"), "user.gone"), 0);	/* b names it */
	set(r, "d/later", access, a, acl(a, 6, 2));
	pass_ok(r);
	equal(r);
}

/* 60 directories of 50 bytes each, and a file. */
static void
deep(const struct rig *r)
{
	char name[51];
	int fd = open(r->side[0].path, O_RDONLY | O_DIRECTORY), next;

	memset(name, 'n', 50);
	name[50] = '\0';
	for (int i = 0; i < 60; i++) {
		assert_int_equal(mkdirat(fd, name, 0711), 0);
		assert_true((next = openat(fd, name, O_RDONLY | O_DIRECTORY)) != -1);
		close(fd);
		fd = next;
	}
	close(openat(fd, "leaf", O_WRONLY | O_CREAT, 0600));
	close(fd);
}

static void
same_lists(const struct rig *r)
{
	struct listing *a = list(r, 0), *b = list(r, 1);

	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		assert_string_equal(a->e[i].path, b->e[i].path);
		assert_true(tree_meta_same(&a->e[i], &b->e[i]));
		tree_entry_clear(&a->e[i]);
		tree_entry_clear(&b->e[i]);
	}
	free(a);
	free(b);
}

/* Names that mean something elsewhere, and the longest ones. */
static void
names(void **state_)
{
	static const char *const odd[] = { "-rf", "--delete", " ", "a\nb", "\xff\xfe", "\x01\x7f",
		"$(touch x)", "*", "'", "\\", "...", ".mailpair", ".mailpair-held2", "\xc3\xa9",
		"e\xcc\x81", "con:", "-" };
	size_t n = sizeof(odd) / sizeof(odd[0]);
	struct rig *r = *state_;
	char name[256];

	for (size_t i = 0; i < n; i++)
		text(r, 0, odd[i], odd[i]);
	memset(name, 'n', 255);
	name[255] = '\0';
	text(r, 0, name, "255 bytes");
	deep(r);
	pass_ok(r);
	same_lists(r);
	same_bytes(r, name);
	r->side[1].tree.delete_always = 100;
	for (size_t i = 0; i < n; i++) {
		same_bytes(r, odd[i]);
		unlink(at(r, 0, odd[i]));
	}
	assert_int_equal(pass_ok(r)->deleted, n);
	assert_int_equal(held(r, "a\nb"), 1);
	same_lists(r);
}

/* Directories that nobody may write, and what changes in them; set-id bits; times. */
static void
read_only(void **state_)
{
	struct timespec t[2] = { { 0, UTIME_OMIT }, { 1000000001, 123456789 } };
	struct rig *r = *state_;

	if (geteuid() != 0)
		skip();			/* the worker of a daemon has the capability */
	mkdir(at(r, 0, "ro"), 0755);
	mkdir(at(r, 0, "ro/in"), 0755);
	text(r, 0, "ro/a", "a");
	text(r, 0, "ro/in/b", "b");
	chmod(at(r, 0, "ro/a"), 06555);
	chmod(at(r, 0, "ro/in"), 0555);
	chmod(at(r, 0, "ro"), 02555);
	utimensat(AT_FDCWD, at(r, 0, "ro"), t, 0);
	pass_ok(r);
	equal(r);
	unlink(at(r, 0, "ro/a"));
	text(r, 0, "ro/in/b", "changed");
	text(r, 0, "ro/in/c", "new");
	t[1].tv_nsec = 1;
	utimensat(AT_FDCWD, at(r, 0, "ro"), t, 0);
	pass_ok(r);
	equal(r);
}

/* special-files = false: left alone on both sides. */
static void
no_special_files(void **state_)
{
	struct rig *r = *state_;

	r->side[0].tree.skip_special = r->side[1].tree.skip_special = true;
	assert_int_equal(mkfifo(at(r, 0, "pipe"), 0600), 0);
	assert_int_equal(mkfifo(at(r, 1, "mine"), 0600), 0);
	text(r, 0, "f", "f");
	assert_int_equal(symlink("f", at(r, 0, "l")), 0);
	pass_ok(r);
	assert_false(exists(r, 1, "pipe"));
	assert_true(exists(r, 1, "mine") && exists(r, 1, "f") && exists(r, 1, "l"));
}

static void
refused(struct rig *r, const char *what)
{
	const struct mirror_result *m = pass(r, 0);

	if (m->outcome != MIRROR_REFUSED)
		fail_msg("%s: the pass ran", what);
	if (!exists(r, 1, "00") || !exists(r, 1, "d/01") || !exists(r, 1, "d/59"))
		fail_msg("%s: the standby was emptied", what);
}

static void
numbered(struct rig *r, bool make)
{
	for (int i = 0; i < 60; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "%s%02d", i % 2 ? "d/" : "", i);
		if (make)
			text(r, 0, name, name);
		else if (i % 2 == 0)
			unlink(at(r, 0, name));
	}
}

/* What is absent in the source is more often a mistake than a wish. */
static void
absence(void **state_)
{
	struct rig *r = *state_;

	mkdir(at(r, 0, "d"), 0755);
	numbered(r, true);
	pass_ok(r);
	assert_int_equal(rename(at(r, 0, "d"), at(r, 0, "../d")), 0);
	refused(r, "half of the source is gone");
	text(r, 0, "d", "a file in its place");
	refused(r, "a file in the place of half the source");
	unlink(at(r, 0, "d"));
	numbered(r, false);
	refused(r, "the source is empty");
	assert_int_equal(rename(at(r, 0, ""), at(r, 0, "../away")), 0);
	mkdir(at(r, 0, ""), 0755);
	refused(r, "another, empty directory in its place");
}

/* Something that cannot be listed (its path is too long): nothing at all is deleted in
 * that pass. */
static void
unreadable(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;
	char part[251];
	int fd, next;

	numbered((mkdir(at(r, 0, "d"), 0755), r), true);
	pass_ok(r);
	unlink(at(r, 0, "00"));
	memset(part, 'p', 250);
	part[250] = '\0';
	fd = open(r->side[0].path, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 17; i++) {			/* 17 * 251 > TREE_PATH_MAX */
		assert_int_equal(mkdirat(fd, part, 0755), 0);
		assert_true((next = openat(fd, part, O_RDONLY | O_DIRECTORY)) != -1);
		close(fd);
		fd = next;
	}
	close(fd);
	m = pass(r, 0);
	assert_int_equal(m->outcome, MIRROR_FAILED);
	assert_true(m->unreadable > 0);
	assert_true(exists(r, 1, "00"));
	(void)pass(r, MIRROR_ACCEPT_DELETES);		/* that is no leave for this */
	assert_true(exists(r, 1, "00"));
	fs_remove_tree(at(r, 0, part));
	pass(r, MIRROR_ACCEPT_DELETES);
	assert_false(exists(r, 1, "00"));
}

static void
reads(const struct rig *r, const char *name, const char *want)
{
	char *p;
	size_t n;

	assert_int_equal(fs_read(at(r, 1, name), 1000, &p, &n), 0);
	assert_string_equal(p, want);
	free(p);
}

/* The rows of a dry run; with real daemons in tests/cases/mirror_pair.py. */
static void
dry_run(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;

	text(r, 0, "a", "a");
	text(r, 0, "b", "b");
	hard(r, "a", "c");
	pass_ok(r);
	unlink(at(r, 0, "b"));
	mkdir(at(r, 0, "b"), 0755);
	text(r, 0, "a", "longer than before");
	m = pass(r, MIRROR_DRY_RUN);
	assert_int_equal(m->outcome, MIRROR_OK);
	assert_int_equal(m->dry_run, 1);
	assert_string_equal(r->plan, "meta directory \ndata file a\ndelete file b\n"
	    "create directory b\n");
	assert_int_equal(r->data, 0);
	assert_int_equal(held(r, "b"), 0);
	reads(r, "a", "a");
	reads(r, "b", "b");
	pass_ok(r);
	equal(r);
}

/* Files that only got another name, most of a tree of them: neither sent nor held, and no
 * matter for the guard. */
static void
renamed(void **state_)
{
	struct rig *r = *state_;
	const struct mirror_result *m;

	mkdir(at(r, 0, "d"), 0755);
	numbered(r, true);
	for (int i = 0; i < 60; i++) {			/* as different deliveries have */
		struct timespec t[2] = { { 0, UTIME_OMIT }, { 1000000000, i } };
		char name[32];

		(void)snprintf(name, sizeof(name), "%s%02d", i % 2 ? "d/" : "", i);
		assert_int_equal(utimensat(AT_FDCWD, at(r, 0, name), t, 0), 0);
	}
	big(r, 0, "large", 3000000, 5);
	set(r, "d/01", "user.note", "x", 1);
	pass_ok(r);
	for (int i = 0; i < 60; i++) {
		char from[32], to[32];

		(void)snprintf(from, sizeof(from), "%s%02d", i % 2 ? "d/" : "", i);
		(void)snprintf(to, sizeof(to), "%s%02d:2,S", i % 2 ? "" : "d/", i);
		assert_int_equal(rename(at(r, 0, from), at(r, 0, to)), 0);
	}
	assert_int_equal(rename(at(r, 0, "large"), at(r, 0, "d/x")), 0);
	chmod(at(r, 0, "d/x"), 0600);
	assert_int_equal(removexattr(at(r, 0, "01:2,S"), "user.note"), 0);
	m = pass_ok(r);
	equal(r);
	assert_int_equal(m->moved, 61);
	assert_int_equal(r->data, 0);
	assert_int_equal(held(r, "00") + held(r, "d/01") + held(r, "large"), 0);
	assert_int_equal(strays(r), 0);
	r->side[1].tree.hold_deleted_s = 0;
	assert_int_equal(rename(at(r, 0, "d/x"), at(r, 0, "y")), 0);
	unlink(at(r, 0, "01:2,S"));
	m = pass_ok(r);
	equal(r);
	assert_int_equal(r->data, 0);
	assert_int_equal(held(r, "d/x") + held(r, "01:2,S"), 0);
}

/* The same size and time, and another content: seen, and sent.  What the name belonged
 * to is held, and not changed. */
static void
renamed_not(void **state_)
{
	static const struct timespec t[2] = { { 5, 5 }, { 1000000000, 7 } };
	struct rig *r = *state_;

	for (int i = 0; i < 2; i++) {
		text(r, 0, "old", "the old content");
		utimensat(AT_FDCWD, at(r, 0, "old"), t, 0);
		text(r, 0, "other", "x");
		hard(r, "other", "name");
		pass_ok(r);
		unlink(at(r, 0, "old"));
		text(r, 0, "new", "the new content");
		utimensat(AT_FDCWD, at(r, 0, "new"), t, 0);
		(void)pass_ok(r);
		equal(r);
		assert_int_equal(held(r, "old"), 1);
		unlink(at(r, 0, "new"));
		unlink(at(r, 0, "name"));
		(void)pass_ok(r);
		fs_remove_tree(at(r, 1, ".mailpair-held"));
	}
}

static void
grow_while_read(struct rig *r, uint8_t type)
{
	int fd;

	if (type != MM_WANT_END)
		return;
	fd = open(at(r, 0, "log"), O_WRONLY | O_APPEND);
	assert_int_equal(fs_write_all(fd, "more\n", 5), 0);
	close(fd);
}

static void
changing(void **state_)
{
	struct rig *r = *state_;

	big(r, 0, "log", 100000, 3);
	r->between = grow_while_read;
	pass_ok(r);
	r->between = NULL;
	pass_ok(r);
	equal(r);
}

/* Long enough for signs of life between the data, in both directions. */
static void
large(void **state_)
{
	struct rig *r = *state_;
	int fd = open(at(r, 0, "large"), O_WRONLY | O_CREAT, 0644);

	assert_int_equal(ftruncate(fd, 300 << 20), 0);
	close(fd);
	assert_int_equal(pass_ok(r)->created, 1);
	text(r, 0, "small", "x");
	fd = open(at(r, 0, "large"), O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 200 << 20), 1);
	close(fd);
	assert_true(pass_ok(r)->literal < 100000);
	same_bytes(r, "large");
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(changes, setup, teardown),
		cmocka_unit_test_setup_teardown(kinds_swap, setup, teardown),
		cmocka_unit_test_setup_teardown(deletions, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_source, setup, teardown),
		cmocka_unit_test_setup_teardown(excluded, setup, teardown),
		cmocka_unit_test_setup_teardown(directions, setup, teardown),
		cmocka_unit_test_setup_teardown(takeover_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(hard_links, setup, teardown),
		cmocka_unit_test_setup_teardown(attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(no_special_files, setup, teardown),
		cmocka_unit_test_setup_teardown(absence, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(dry_run, setup, teardown),
		cmocka_unit_test_setup_teardown(renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(renamed_not, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_delta, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_after_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(sparse, setup, teardown),
		cmocka_unit_test_setup_teardown(never_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(vanishing, setup, teardown),
		cmocka_unit_test_setup_teardown(changing, setup, teardown),
		cmocka_unit_test_setup_teardown(large, setup, teardown),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
