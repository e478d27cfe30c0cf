/* test_mirror_rows.c - passes that look only at what changed: two real workers that live
 * through many passes, real inotify, two trees in a temporary directory.  After each
 * pass both trees are listed in full and compared, and the result says whether the pass
 * was a full walk: where one is needed it must be one, elsewhere it must not. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs.h"
#include "gen.h"
#include "mem.h"
#include "mirror_conf.h"
#include "mirror_result.h"
#include "mirror_wire.h"
#include "mirror_worker.h"
#include "tree.h"

#define WAIT_MS 20000
#define FRAME (1u << 20)
#define HOUR_MS 3600000

struct rig {
	char dir[64];
	char *path[2];			/* 0: the source's tree */
	int fd[2];
	pid_t pid[2];
	struct mirror_tree tree;
	struct mirror_conf conf;
	struct gen gen;
	uint32_t pass;
	uint8_t flags;			/* of the next pass */
	const char *watches_max;	/* for the source; NULL: the machine's */
	bool done;
	struct mirror_result result;
	char source[24];		/* what the source's worker says of itself */
};

/* ---- the rig ----------------------------------------------------------- */

static void
put(int fd, uint16_t type, uint32_t id, const void *p, size_t n)
{
	uint8_t h[12] = { 0 };

	wire_store32(h, (uint32_t)n);
	wire_store16(h + 4, type);
	h[6] = 1;
	wire_store32(h + 8, id);
	assert_int_equal(fs_write_all(fd, h, sizeof(h)), 0);
	assert_int_equal(fs_write_all(fd, p, n), 0);
}

static void
say_state(struct rig *r, int i)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, i == 0);
	wire_put_u8(&w, i == 1);
	wire_put_u8(&w, 1);
	gen_put(&w, &r->gen);
	put(r->fd[i], MW_STATE, 0, w.p, w.len);
	wire_out_clear(&w);
}

static int
tell_kernel(const char *file, const char *what)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC), rc;

	if (fd == -1)
		return -1;
	rc = fs_write_all(fd, what, strlen(what));
	close(fd);
	return rc;
}

/* A user namespace of its own, with the same user in it, has limits of its own. */
static int
limit_watches(const char *max)
{
	char uid[40], gid[40];

	(void)snprintf(uid, sizeof(uid), "%u %u 1", getuid(), getuid());
	(void)snprintf(gid, sizeof(gid), "%u %u 1", getgid(), getgid());
	return unshare(CLONE_NEWUSER) == 0 && tell_kernel("/proc/self/uid_map", uid) == 0 &&
	    tell_kernel("/proc/self/setgroups", "deny") == 0 &&
	    tell_kernel("/proc/self/gid_map", gid) == 0 &&
	    tell_kernel("/proc/sys/user/max_inotify_watches", max) == 0 ? 0 : -1;
}

static void
start_worker(struct rig *r, int i)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	if ((r->pid[i] = fork()) == 0) {
		close(pair[0]);
		close(r->fd[1 - i]);
		/* Both trees have one name on the wire: each worker sees its own there. */
		if (chdir(r->path[i]) == -1 ||
		    (i == 0 && r->watches_max != NULL && limit_watches(r->watches_max) == -1))
			_exit(9);
		mirror_worker_run(&r->conf, r->dir, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	r->fd[i] = pair[0];
	say_state(r, i);
}

static void
stop_worker(struct rig *r, int i)
{
	int status = 0;

	close(r->fd[i]);
	r->fd[i] = -1;
	assert_int_equal(waitpid(r->pid[i], &status, 0), r->pid[i]);
	assert_int_equal(status, 0);
}

static void
start(struct rig *r)
{
	start_worker(r, 0);
	start_worker(r, 1);
}

static int
setup(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	(void)snprintf(r->dir, sizeof(r->dir), "/var/tmp/mirror-rows.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->gen = gen_make(0, 0, GEN_CLEAN, 3, 1);
	for (int i = 0; i < 2; i++) {
		r->path[i] = mem_printf("%s/%s", r->dir, i == 0 ? "source" : "target");
		assert_int_equal(mkdir(r->path[i], 0755), 0);
		r->fd[i] = -1;
	}
	r->tree = (struct mirror_tree){ .path = mem_dup("."), .max_delete_percent = 100,
		.delete_always = 2, .file_size_max = 1 << 30, .entries_max = 100000,
		.watch = true, .full_walk_interval_ms = HOUR_MS };
	r->conf = (struct mirror_conf){ &r->tree, 1 };
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	for (int i = 0; i < 2; i++) {
		if (r->fd[i] != -1)
			stop_worker(r, i);
		free(r->path[i]);
	}
	fs_remove_tree(r->dir);
	free(r->tree.path);
	free(r);
	return 0;
}

static void
take(struct rig *r, int from, uint16_t type, const uint8_t *p, size_t n)
{
	struct wire_in in;
	char path[64];

	wire_in_init(&in, p, n);
	if (type == MW_DONE && from == 0) {
		(void)wire_get_u8(&in);
		wire_get_str(&in, path, sizeof(path));
		assert_int_equal(mirror_result_get(&in, &r->result), 0);
		r->done = true;
	} else if (type == MW_SOURCE) {
		wire_get_str(&in, path, sizeof(path));
		wire_get_str(&in, r->source, sizeof(r->source));
		assert_true(wire_in_ok(&in));
	}
}

static void
relay(struct rig *r, int from)
{
	static uint8_t body[FRAME];
	uint8_t h[12];
	uint32_t n;

	assert_int_equal(recv(r->fd[from], h, sizeof(h), MSG_WAITALL), sizeof(h));
	n = wire_load32(h);
	assert_true(n <= sizeof(body));
	assert_int_equal(recv(r->fd[from], body, n, MSG_WAITALL), n);
	if (wire_load16(h + 4) == MW_PEER)
		put(r->fd[1 - from], MW_PEER, 0, body, n);
	else
		take(r, from, wire_load16(h + 4), body, n);
}

static const struct mirror_result *
pass(struct rig *r)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, ".");
	wire_put_u8(&w, r->flags);
	put(r->fd[0], MW_RUN, ++r->pass, w.p, w.len);
	wire_out_clear(&w);
	r->done = false;
	r->flags = 0;
	while (!r->done) {
		struct pollfd p[2] = { { .fd = r->fd[0], .events = POLLIN },
			{ .fd = r->fd[1], .events = POLLIN } };

		assert_true(poll(p, 2, WAIT_MS) > 0);
		for (int i = 0; i < 2; i++)
			if (p[i].revents != 0)
				relay(r, i);
	}
	return &r->result;
}

/* ---- trees ------------------------------------------------------------- */

static char *
at(const struct rig *r, int side, const char *name)
{
	static char path[8][512];
	static unsigned n;
	char *p = path[n++ % 8];

	(void)snprintf(p, 512, "%s/%s", r->path[side], name);
	return p;
}

/* Two files of one size that are written within one tick of the clock look alike to a
 * pass; here no two times are the same. */
static void
write_file(const char *path, int flags, const char *s, size_t n)
{
	static time_t tick = 1000000000;
	struct timespec times[2] = { { 0, UTIME_OMIT }, { ++tick, 0 } };
	int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | flags, 0644);

	if (fd == -1)
		return;
	assert_int_equal(fs_write_all(fd, s, n), 0);
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
}

static void
text(const struct rig *r, const char *name, const char *s)
{
	write_file(at(r, 0, name), O_TRUNC, s, strlen(s));
	assert_int_equal(access(at(r, 0, name), F_OK), 0);
}

struct listing {
	struct tree_entry e[2000];
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
	struct tree_walk w = { .entries_max = 1900, .entry = on_entry, .arg = l };

	w.root_fd = open(r->path[side], O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_walk(&w), 0);
	close(w.root_fd);
	return l;
}

static bool
same_bytes(const struct rig *r, const char *name)
{
	char *a, *b;
	size_t na, nb;
	bool same;

	assert_int_equal(fs_read(at(r, 0, name), 1 << 30, &a, &na), 0);
	assert_int_equal(fs_read(at(r, 1, name), 1 << 30, &b, &nb), 0);
	same = na == nb && memcmp(a, b, na) == 0;
	free(a);
	free(b);
	return same;
}

/* The first path that differs, or NULL. */
static const char *
difference(const struct rig *r)
{
	static char path[512];
	struct listing *l[2] = { list(r, 0), list(r, 1) };
	bool found = false;

	for (size_t i = 0; i < l[0]->n && i < l[1]->n && !found; i++) {
		uint8_t x[32], y[32];

		tree_entry_digest(&l[0]->e[i], x);
		tree_entry_digest(&l[1]->e[i], y);
		found = memcmp(x, y, 32) != 0 || (l[0]->e[i].type == TREE_FILE &&
		    !same_bytes(r, l[0]->e[i].path));
		if (found)
			(void)snprintf(path, sizeof(path), "%s", l[0]->e[i].path);
	}
	if (!found && l[0]->n != l[1]->n)
		(void)snprintf(path, sizeof(path), "number of entries");
	found |= l[0]->n != l[1]->n;
	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < l[k]->n; i++)
			tree_entry_clear(&l[k]->e[i]);
		free(l[k]);
	}
	return found ? path : NULL;
}

enum kind { FULL, BY_ROWS };

static void
pass_equal(struct rig *r, const char *what, enum kind kind)
{
	const struct mirror_result *m = pass(r);
	const char *at_path;

	if (m->outcome != MIRROR_OK)
		fail_msg("%s: %s (%s)", what, m->error, m->why);
	if (m->full != (kind == FULL))
		fail_msg("%s: %s", what, m->full ? "a full walk" : "no full walk");
	if ((at_path = difference(r)) != NULL)
		fail_msg("%s: %s differs", what, at_path);
}

/* 3 directories of 20 files. */
static void
plant(const struct rig *r)
{
	char name[32];

	for (int d = 0; d < 3; d++) {
		(void)snprintf(name, sizeof(name), "d%d", d);
		assert_int_equal(mkdir(at(r, 0, name), 0755), 0);
		for (int i = 0; i < 20; i++) {
			(void)snprintf(name, sizeof(name), "d%d/f%d", d, i);
			text(r, name, name);
		}
	}
}

static void
begin(struct rig *r)
{
	plant(r);
	start(r);
	pass_equal(r, "first", FULL);
	assert_string_equal(r->source, "inotify");
	assert_int_equal(r->result.entries, 63);
	pass_equal(r, "nothing changed", BY_ROWS);
	assert_int_equal(r->result.looked, 0);
	assert_int_equal(r->result.entries, 63);
}

/* ---- tests ------------------------------------------------------------- */

static void
changes(void **state)
{
	struct rig *r = *state;

	begin(r);
	text(r, "d0/f1", "another text\n");
	pass_equal(r, "content", BY_ROWS);
	assert_int_equal(r->result.changed, 1);
	assert_true(r->result.looked <= 2);
	assert_int_equal(chmod(at(r, 0, "d1/f2"), 0600), 0);
	pass_equal(r, "mode", BY_ROWS);
	assert_int_equal(chmod(at(r, 0, "d1"), 0700), 0);
	pass_equal(r, "mode of a directory", BY_ROWS);
	assert_int_equal(chmod(at(r, 0, ""), 0711), 0);
	pass_equal(r, "mode of the root", BY_ROWS);
	text(r, "d2/new", "new\n");
	text(r, "top", "new\n");
	assert_int_equal(unlink(at(r, 0, "d2/f0")), 0);
	pass_equal(r, "come and gone", BY_ROWS);
	assert_int_equal(r->result.entries, 64);
	assert_int_equal(rename(at(r, 0, "d2/f1"), at(r, 0, "d0/moved")), 0);
	assert_int_equal(rename(at(r, 0, "d2/f2"), at(r, 0, "d2/f3")), 0);
	pass_equal(r, "renamed", BY_ROWS);
	assert_int_equal(symlink("nowhere", at(r, 0, "d0/link")), 0);
	assert_int_equal(mkfifo(at(r, 0, "d0/fifo"), 0600), 0);
	pass_equal(r, "other kinds", BY_ROWS);
	assert_int_equal(unlink(at(r, 0, "d0/link")), 0);
	text(r, "d0/link", "a file now\n");
	pass_equal(r, "kinds swap", BY_ROWS);
	pass_equal(r, "nothing changed", BY_ROWS);
	assert_int_equal(r->result.looked, 0);
}

static void
directories(void **state)
{
	struct rig *r = *state;

	begin(r);
	assert_int_equal(mkdir(at(r, 0, "n"), 0755), 0);
	assert_int_equal(mkdir(at(r, 0, "n/m"), 0755), 0);
	text(r, "n/m/deep", "deep\n");
	pass_equal(r, "new ones", BY_ROWS);
	text(r, "n/m/deep", "is watched since\n");
	pass_equal(r, "inside the new ones", BY_ROWS);
	assert_true(r->result.looked <= 2);
	assert_int_equal(rename(at(r, 0, "n"), at(r, 0, "d1/o")), 0);
	pass_equal(r, "renamed", BY_ROWS);
	text(r, "d1/o/m/deep", "at its new place\n");
	text(r, "d1/o/more", "more\n");
	pass_equal(r, "inside the renamed one", BY_ROWS);
	assert_int_equal(rename(at(r, 0, "d1"), at(r, 0, "../out")), 0);
	pass_equal(r, "moved out", BY_ROWS);
	assert_int_equal(rename(at(r, 0, "../out"), at(r, 0, "d2/in")), 0);
	text(r, "d2/in/o/m/deep", "while nobody looked\n");
	pass_equal(r, "moved in", BY_ROWS);
	text(r, "d2/in/o/m/deep", "inside what was moved in\n");
	pass_equal(r, "inside what was moved in", BY_ROWS);
	assert_int_equal(fs_remove_tree(at(r, 0, "d2")), 0);
	pass_equal(r, "removed", BY_ROWS);
	text(r, "d2", "a file now\n");
	assert_int_equal(fs_remove_tree(at(r, 0, "d0")), 0);
	assert_int_equal(symlink("d2", at(r, 0, "d0")), 0);
	pass_equal(r, "replaced", BY_ROWS);
	assert_int_equal(unlink(at(r, 0, "d2")), 0);
	assert_int_equal(mkdir(at(r, 0, "d2"), 0755), 0);
	text(r, "d2/back", "back\n");
	pass_equal(r, "a directory again", BY_ROWS);
	assert_int_equal(r->result.entries, 3);
}

/* Two directories change places, and one goes to where another was. */
static void
places(void **state)
{
	struct rig *r = *state;

	begin(r);
	assert_int_equal(renameat2(AT_FDCWD, at(r, 0, "d0"), AT_FDCWD, at(r, 0, "d1"),
	    RENAME_EXCHANGE), 0);
	text(r, "d0/x", "was d1\n");
	pass_equal(r, "exchanged", BY_ROWS);
	text(r, "d1/y", "was d0\n");
	pass_equal(r, "inside", BY_ROWS);
	assert_true(r->result.looked <= 2);
	assert_int_equal(rename(at(r, 0, "d2"), at(r, 0, "d0/sub")), 0);
	assert_int_equal(rename(at(r, 0, "d1"), at(r, 0, "d2")), 0);
	assert_int_equal(rename(at(r, 0, "d0"), at(r, 0, "d1")), 0);
	text(r, "d1/sub/z", "twice moved\n");
	pass_equal(r, "around", BY_ROWS);
	text(r, "d1/sub/z", "once more\n");
	text(r, "d2/y", "and here\n");
	pass_equal(r, "inside all", BY_ROWS);
	assert_true(r->result.looked <= 4);
}

/* Where the other names of a file are, rows do not say: these are full walks. */
static void
links(void **state)
{
	struct rig *r = *state;

	begin(r);
	assert_int_equal(link(at(r, 0, "d0/f0"), at(r, 0, "d1/other")), 0);
	pass_equal(r, "linked", FULL);
	pass_equal(r, "nothing changed", BY_ROWS);
	text(r, "d1/other", "by the other name\n");
	pass_equal(r, "by the other name", FULL);
	text(r, "d2/f0", "elsewhere\n");
	pass_equal(r, "elsewhere", BY_ROWS);
	/* One name on the source now, still two on the target. */
	assert_int_equal(unlink(at(r, 0, "d1/other")), 0);
	pass_equal(r, "unlinked", FULL);
	text(r, "d0/f0", "alone again\n");
	pass_equal(r, "alone again", BY_ROWS);
}

/* What no event tells; the next full walk does. */
static void
mapped(void **state)
{
	struct rig *r = *state;
	char *p;
	int fd;

	begin(r);
	fd = open(at(r, 0, "d0/f0"), O_RDWR);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	close(fd);
	pass_equal(r, "opened and closed", BY_ROWS);
	memcpy(p, "new", 3);
	assert_int_equal(msync(p, 4096, MS_SYNC), 0);
	assert_int_equal(pass(r)->outcome, MIRROR_OK);
	assert_int_equal(r->result.full, 0);
	assert_string_equal(difference(r), "d0/f0");
	munmap(p, 4096);
	r->flags = MIRROR_FULL_WALK;
	pass_equal(r, "full walk", FULL);
}

/* More events than the kernel keeps, while the worker cannot read them. */
static void
overflow(void **state)
{
	struct rig *r = *state;
	char *text_max;
	size_t n;
	long max;

	begin(r);
	assert_int_equal(fs_read("/proc/sys/fs/inotify/max_queued_events", 100, &text_max, &n), 0);
	max = strtol(text_max, NULL, 10);
	free(text_max);
	if (max > 1000000)
		skip();
	assert_int_equal(kill(r->pid[0], SIGSTOP), 0);
	for (long i = 0; i <= max; i++)		/* equal events in a row are one */
		assert_int_equal(chmod(at(r, 0, i & 1 ? "d0/f0" : "d0/f1"), 0600), 0);
	text(r, "d2/f7", "the event of this is lost\n");
	assert_int_equal(kill(r->pid[0], SIGCONT), 0);
	pass_equal(r, "events were lost", FULL);
	pass_equal(r, "nothing changed", BY_ROWS);
}

static void
restarts(void **state)
{
	struct rig *r = *state;
	char aside[100];

	begin(r);
	stop_worker(r, 0);
	text(r, "d0/f0", "unseen\n");
	start_worker(r, 0);
	pass_equal(r, "the source's worker is a new one", FULL);
	pass_equal(r, "nothing changed", BY_ROWS);
	stop_worker(r, 1);
	text(r, "d0/f0", "seen\n");
	start_worker(r, 1);
	pass_equal(r, "the target's worker is a new one", FULL);
	pass_equal(r, "nothing changed", BY_ROWS);
	r->gen = gen_make(r->gen.no, 0, GEN_CLEAN, 3, 1);
	say_state(r, 1);
	say_state(r, 0);
	pass_equal(r, "a new generation", FULL);
	pass_equal(r, "nothing changed", BY_ROWS);
	(void)snprintf(aside, sizeof(aside), "%s/aside", r->dir);
	assert_int_equal(rename(r->path[1], aside), 0);
	assert_int_equal(rename(aside, r->path[1]), 0);
	pass_equal(r, "the target's root is the same", BY_ROWS);
	assert_int_equal(rename(r->path[0], aside), 0);
	assert_int_equal(rename(aside, r->path[0]), 0);
	pass_equal(r, "the source's root was moved", FULL);
}

/* A pass that failed says nothing about what is equal. */
static void
failed(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->tree.file_size_max = 10;	/* of workers started from here on */
	stop_worker(r, 0);
	start_worker(r, 0);
	text(r, "d0/f0", "this is too long for both\n");
	assert_int_equal(pass(r)->outcome, MIRROR_FAILED);
	assert_int_equal(pass(r)->outcome, MIRROR_FAILED);
	assert_int_equal(r->result.full, 1);
	text(r, "d0/f0", "shorter\n");
	pass_equal(r, "mended", FULL);
	pass_equal(r, "nothing changed", BY_ROWS);
}

/* The guard's share is of the whole tree, not of what was looked at. */
static void
guard(void **state)
{
	struct rig *r = *state;

	r->tree.max_delete_percent = 5;		/* of 63: 3 */
	r->tree.delete_always = 0;
	begin(r);
	for (int i = 0; i < 3; i++)
		assert_int_equal(unlink(at(r, 0, i == 0 ? "d0/f0" : i == 1 ? "d0/f1" : "d0/f2")), 0);
	pass_equal(r, "three of sixty-three", BY_ROWS);
	assert_int_equal(r->result.deleted, 3);
	assert_int_equal(fs_remove_tree(at(r, 0, "d1")), 0);
	assert_int_equal(pass(r)->outcome, MIRROR_REFUSED);
	assert_int_equal(access(at(r, 1, "d1/f3"), F_OK), 0);
}

/* A dry run looks at everything, and what is known of changes stays. */
static void
dry_run(void **state)
{
	struct rig *r = *state;

	begin(r);
	text(r, "d1/f1", "not yet\n");
	r->flags = MIRROR_DRY_RUN;
	assert_int_equal(pass(r)->outcome, MIRROR_OK);
	assert_int_equal(r->result.looked, 63);
	assert_string_equal(difference(r), "d1/f1");
	pass_equal(r, "now", BY_ROWS);
}

static void
few(void **state)
{
	struct rig *r = *state;

	r->watches_max = "2";
	plant(r);
	start_worker(r, 1);
	start_worker(r, 0);
	pass_equal(r, "first", FULL);
	assert_string_equal(r->source, "none");
	text(r, "d2/f0", "changed\n");
	pass_equal(r, "without a source", FULL);
}

static void
without(void **state)
{
	struct rig *r = *state;

	r->tree.watch = false;
	plant(r);
	start(r);
	pass_equal(r, "first", FULL);
	assert_string_equal(r->source, "none");
	text(r, "d2/f0", "changed\n");
	pass_equal(r, "each pass", FULL);
}

static void
interval(void **state)
{
	struct rig *r = *state;

	r->tree.full_walk_interval_ms = 1;
	plant(r);
	start(r);
	pass_equal(r, "first", FULL);
	assert_int_equal(poll(NULL, 0, 2), 0);	/* what is tested is the clock */
	pass_equal(r, "the interval is over", FULL);
}

/* ---- by chance --------------------------------------------------------- */

static unsigned
pick(uint32_t *seed, unsigned n)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 16) % n;
}

/* A path of one to three parts out of few, so that they meet. */
static const char *
some_path(const struct rig *r, uint32_t *seed)
{
	char name[32];
	size_t n = 0;

	for (unsigned parts = 1 + pick(seed, 3); parts > 0; parts--)
		n += (size_t)snprintf(name + n, sizeof(name) - n, "%s%c", n > 0 ? "/" : "",
		    'a' + (char)pick(seed, 4));
	return at(r, 0, name);
}

/* One change; most of those that cannot be made say so and are none. */
static void
change(const struct rig *r, uint32_t *seed)
{
	const char *a = some_path(r, seed), *b = some_path(r, seed);

	switch (pick(seed, 9)) {
	case 0: case 1: (void)mkdir(a, 0700 + pick(seed, 2)); break;
	case 2: (void)unlink(a); break;
	case 3: (void)rename(a, b); break;
	case 4: (void)chmod(a, 0700 | pick(seed, 8)); break;
	case 5:
		if (symlink(b, a) == -1)
			return;
		break;
	case 6: (void)rmdir(a); break;
	case 7:
		if (pick(seed, 4) == 0)
			(void)renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
		break;
	default: write_file(a, O_APPEND, "abc", 1 + pick(seed, 3)); break;
	}
}

static void
by_chance(void **state)
{
	struct rig *r = *state;
	uint32_t seed = 20;
	char what[40];

	start(r);
	text(r, "start", "start\n");
	pass_equal(r, "first", FULL);
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 1 + pick(&seed, 25); i > 0; i--)
			change(r, &seed);
		(void)snprintf(what, sizeof(what), "round %u", round);
		pass_equal(r, what, BY_ROWS);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes, setup, teardown),
		cmocka_unit_test_setup_teardown(directories, setup, teardown),
		cmocka_unit_test_setup_teardown(places, setup, teardown),
		cmocka_unit_test_setup_teardown(links, setup, teardown),
		cmocka_unit_test_setup_teardown(mapped, setup, teardown),
		cmocka_unit_test_setup_teardown(overflow, setup, teardown),
		cmocka_unit_test_setup_teardown(restarts, setup, teardown),
		cmocka_unit_test_setup_teardown(failed, setup, teardown),
		cmocka_unit_test_setup_teardown(guard, setup, teardown),
		cmocka_unit_test_setup_teardown(dry_run, setup, teardown),
		cmocka_unit_test_setup_teardown(few, setup, teardown),
		cmocka_unit_test_setup_teardown(without, setup, teardown),
		cmocka_unit_test_setup_teardown(interval, setup, teardown),
		cmocka_unit_test_setup_teardown(by_chance, setup, teardown),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
