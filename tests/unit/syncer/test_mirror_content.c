/* test_mirror_content.c - what a pass sends of files: passes that are cut, holes, files that
 * change, vanish or get another name meanwhile. */
#define _GNU_SOURCE
#include "mirror_rig.h"

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

/* While the source sends: its last bytes change after the first ones were read. */
static void
scribble(struct rig *r)
{
	int fd = open(at(r, 0, "db"), O_WRONLY);

	assert_int_equal(pwrite(fd, &r->wire, sizeof(r->wire), 10), 8);
	assert_int_equal(pwrite(fd, &r->wire, sizeof(r->wire), (3 << 19) - 10), 8);
	close(fd);
}

/* Written in place at each attempt: never a mixture, the old state stays, and says so. */
static void
write_inside(struct rig *r, uint8_t type)
{
	static uint32_t n = 100;

	if (type != MM_WANT_END)
		return;
	big(r, 0, "db", 3 << 19, n++);
	r->scribble = scribble;
	r->writing = true;
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
		cmocka_unit_test_setup_teardown(resumed, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_delta, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_after_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(sparse, setup, teardown),
		cmocka_unit_test_setup_teardown(never_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(vanishing, setup, teardown),
		cmocka_unit_test_setup_teardown(renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(renamed_not, setup, teardown),
		cmocka_unit_test_setup_teardown(changing, setup, teardown),
		cmocka_unit_test_setup_teardown(large, setup, teardown),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
