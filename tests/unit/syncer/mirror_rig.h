/* mirror_rig.h - whole passes between two real workers over socket pairs, with the test in
 * the place of both syncds (it relays, can cut, and reads along), and two trees in a
 * temporary directory.  Included by one .c file of a program, with _GNU_SOURCE. */
#ifndef MIRROR_RIG_H
#define MIRROR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
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
	bool writing;			/* `scribble` before each message of the source */
	void (*scribble)(struct rig *);
	bool both;			/* the target's result is waited for too */
	void (*between)(struct rig *, uint8_t type);	/* before a message of the target */
	struct mirror_pack *opened[2];	/* what each side says, read along */
	uint64_t data, holes;		/* bytes of file content, or of holes, that came over */
	uint64_t wire;			/* bytes of messages of both */
	char *plan;			/* rows of a dry run, one line each */
};

/* ---- the rig ----------------------------------------------------------- */

static inline void
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

static inline void
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

static inline void
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

static inline void
stop_worker(struct side *s)
{
	int status = 0;

	close(s->fd);
	s->fd = -1;
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(s->dead ? WIFSIGNALED(status) : status == 0);
	s->dead = false;
}

static inline int
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

static inline int
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

static inline void
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

static inline void
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
static inline void
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

static inline void
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
static inline bool
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
		r->scribble(r);
	messages(r, from, body, n);
	put(to->fd, MW_PEER, 0, body, n);
	return true;
}

static inline void
run_frames(struct rig *r)
{
	while (!r->side[0].done || (r->both && !r->side[1].done)) {
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

static inline void
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

static inline void
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

static inline const struct mirror_result *
pass(struct rig *r, uint8_t flags)
{
	begin(r);
	state(r, 0, true, false, true);
	state(r, 1, false, true, true);
	ask(r, flags);
	return &r->side[0].result;
}

static inline const struct mirror_result *
pass_ok(struct rig *r)
{
	const struct mirror_result *m = pass(r, 0);

	if (m->outcome != MIRROR_OK)
		fail_msg("pass: %s (%s)", m->error, m->why);
	return m;
}

/* ---- trees ------------------------------------------------------------- */

static inline char *
at(const struct rig *r, int side, const char *name)
{
	static char path[8][512];
	static unsigned n;
	char *p = path[n++ % 8];

	(void)snprintf(p, 512, "%s/%s", r->side[side].path, name);
	return p;
}

static inline void
file(const struct rig *r, int side, const char *name, const void *p, size_t n)
{
	int fd = open(at(r, side, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd != -1);
	assert_int_equal(fs_write_all(fd, p, n), 0);
	close(fd);
}

static inline void
text(const struct rig *r, int side, const char *name, const char *s)
{
	file(r, side, name, s, strlen(s));
}

static inline void
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

static inline int
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

static inline struct listing *
list(const struct rig *r, int side)
{
	struct listing *l = mem_alloc(sizeof(*l));
	struct tree_walk w = { .entries_max = 2900, .entry = on_entry, .arg = l };

	w.root_fd = open(r->side[side].path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_walk(&w), 0);
	close(w.root_fd);
	return l;
}

static inline void
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

static inline void
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

static inline bool
exists(const struct rig *r, int side, const char *name)
{
	struct stat st;

	return lstat(at(r, side, name), &st) == 0;
}

/* How many files below the hold folder have this name. */
static inline int
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

static inline void
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

static int nstrays;

static inline int
count_stray(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	nstrays += strncmp(path + at->base, ".mailpair.tmp.", 14) == 0;
	return 0;
}

static inline int
strays(const struct rig *r)
{
	nstrays = 0;
	assert_int_equal(nftw(r->side[1].path, count_stray, 16, FTW_PHYS), 0);
	return nstrays;
}

static inline void
hard(const struct rig *r, const char *from, const char *name)
{
	assert_int_equal(link(at(r, 0, from), at(r, 0, name)), 0);
}

static inline void
set(const struct rig *r, const char *name, const char *attr, const void *p, size_t n)
{
	assert_int_equal(setxattr(at(r, 0, name), attr, p, n, 0), 0);
}

static inline void
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

#endif
