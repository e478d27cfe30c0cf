/* test_mirror.c - what a pass makes of a tree: after it both trees are listed and compared
 * entry by entry, metadata included, and every file byte by byte; and when it must not run. */
#define _GNU_SOURCE
#include "mirror_rig.h"

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
	r->both = true;
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

static ino_t
inode(const struct rig *r, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(at(r, 1, name), &st), 0);
	return st.st_ino;
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
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
