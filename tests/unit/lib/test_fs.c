/* test_fs.c - durable files: content, modes, and that a failure leaves what was there. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs.h"
#include "mem.h"
#include "unit.h"

static char dir[] = "/tmp/test_fs.XXXXXX";

/* Stands in for the C library's, so that the order of syncs and names can be seen. */
static struct {
	int files, dirs;
	int named;		/* how many of "one" and "two" were there at the last file's */
	bool fail;
} syncs;

int
fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		syncs.dirs++;
	} else {
		char path[64];

		syncs.files++;
		syncs.named = 0;
		snprintf(path, sizeof(path), "%s/one", dir);
		syncs.named += access(path, F_OK) == 0;
		snprintf(path, sizeof(path), "%s/two", dir);
		syncs.named += access(path, F_OK) == 0;
		if (syncs.fail && syncs.files == 2) {
			errno = EIO;
			return -1;
		}
	}
	return (int)syscall(SYS_fsync, fd);
}

static int
set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static const char *
in_dir(const char *name)
{
	static char path[4][256];
	static unsigned n;
	char *p = path[n++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void
assert_content(const char *name, const char *want)
{
	char *buf;
	size_t len;

	assert_int_equal(fs_read(in_dir(name), 100, &buf, &len), 0);
	assert_int_equal(len, strlen(want));
	assert_string_equal(buf, want);
	free(buf);
}

static int
count_entries(void)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

static void
test_replace(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fs_replace(dir, "f", "one", 3, 0640), 0);
	assert_content("f", "one");
	assert_int_equal(fs_replace(dir, "f", "", 0, 0604), 0);
	assert_content("f", "");
	assert_int_equal(stat(in_dir("f"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_int_equal(count_entries(), 1);
}

static void
test_replace_fails(void **state)
{
	char *longname = mem_alloc(300);

	(void)state;
	assert_int_equal(mkdir(in_dir("d"), 0700), 0);
	assert_int_equal(fs_replace(dir, "d", "x", 1, 0600), -1);	/* a directory in its place */
	assert_int_equal(errno, EISDIR);
	assert_int_equal(fs_replace(in_dir("missing"), "f", "x", 1, 0600), -1);
	assert_int_equal(errno, ENOENT);
	memset(longname, 'n', 299);
	assert_int_equal(fs_replace(dir, longname, "x", 1, 0600), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(count_entries(), 2);	/* f and d: nothing is left beside */
	free(longname);
}

/* Both are on the disk before one has its name, and the names cost one sync. */
static void
test_copies(void **state)
{
	static const char *const names[] = { "one", "two" }, *const wrong[] = { "one", "a/b" };
	int before = count_entries();

	(void)state;
	memset(&syncs, 0, sizeof(syncs));
	assert_int_equal(fs_replace_copies(dir, names, 2, "first", 5, 0600), 0);
	assert_int_equal(syncs.files, 2);
	assert_int_equal(syncs.dirs, 1);
	assert_int_equal(syncs.named, 0);
	assert_content("one", "first");
	assert_content("two", "first");
	memset(&syncs, 0, sizeof(syncs));
	syncs.fail = true;
	assert_int_equal(fs_replace_copies(dir, names, 2, "second", 6, 0600), -1);
	assert_int_equal(errno, EIO);
	syncs.fail = false;
	assert_int_equal(fs_replace_copies(dir, wrong, 2, "third", 5, 0600), -1);
	assert_content("one", "first");
	assert_content("two", "first");
	assert_int_equal(count_entries(), before + 2);
	assert_int_equal(unlink(in_dir("one")), 0);
	assert_int_equal(unlink(in_dir("two")), 0);
}

/* /dev/full takes nothing: what a full disk looks like. */
static void
test_write_all_reports(void **state)
{
	int fd = open("/dev/full", O_WRONLY);

	(void)state;
	assert_int_equal(fs_write_all(fd, "x", 1), -1);
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

static void
test_read_limits(void **state)
{
	char *buf;
	size_t len;

	(void)state;
	assert_int_equal(fs_replace(dir, "f", "12345", 5, 0600), 0);
	assert_int_equal(fs_read(in_dir("f"), 4, &buf, &len), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(fs_read(in_dir("f"), 5, &buf, &len), 0);
	free(buf);
	assert_int_equal(fs_read(in_dir("nix"), 5, &buf, &len), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(fs_read("/proc/self/status", 100000, &buf, &len), 0);
	assert_true(len > 100);
	free(buf);
}

static void
test_pread(void **state)
{
	int fd = open(in_dir("p"), O_RDWR | O_CREAT, 0600);
	char buf[8];

	(void)state;
	assert_int_equal(fs_pwrite_all(fd, "abcdef", 6, 2), 0);
	assert_int_equal(fs_pread_all(fd, buf, 8, 2), 6);
	assert_memory_equal(buf, "abcdef", 6);
	assert_int_equal(fs_pread_all(fd, buf, 8, 100), 0);
	close(fd);
	assert_int_equal(fs_unlink_durable(dir, "p"), 0);
	assert_int_equal(fs_unlink_durable(dir, "p"), 0);
}

static void
test_mkdirs_and_remove(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fs_mkdirs(in_dir("a/b//c/"), 0750), 0);
	assert_int_equal(stat(in_dir("a/b/c"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(stat(in_dir("a/b"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(fs_mkdirs(in_dir("a/b"), 0700), 0);
	assert_int_equal(fs_replace(dir, "a/file", "", 0, 0600), -1);	/* no slashes in names */
	assert_int_equal(fs_mkdirs(in_dir("f/x"), 0700), -1);
	assert_int_equal(errno, ENOTDIR);
	/* A link out of the tree is removed, not followed. */
	assert_int_equal(fs_replace(dir, "keep", "k", 1, 0600), 0);
	assert_int_equal(symlink(dir, in_dir("a/b/out")), 0);
	assert_int_equal(fs_remove_tree(in_dir("a")), 0);
	assert_int_equal(stat(in_dir("a"), &st), -1);
	assert_content("keep", "k");
	assert_int_equal(fs_remove_tree(in_dir("a")), 0);
}

static void
test_free_space(void **state)
{
	uint64_t bytes = 0;
	unsigned percent = 101;

	(void)state;
	assert_int_equal(fs_free(dir, &bytes, &percent), 0);
	assert_true(percent <= 100);
	assert_int_equal(fs_free("/nonexistent", &bytes, &percent), -1);
}

static void
test_trusted(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(fs_mkdirs(in_dir("t"), 0755), 0);
	assert_int_equal(fs_replace(in_dir("t"), "s", "x", 1, 0755), 0);
	assert_int_equal(fs_trusted(in_dir("t/s")), 0);
	assert_int_equal(chmod(in_dir("t/s"), 0757), 0);
	assert_int_equal(fs_trusted(in_dir("t/s")), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(chmod(in_dir("t/s"), 0755), 0);
	assert_int_equal(chmod(in_dir("t"), 0777), 0);		/* the folder counts as well */
	assert_int_equal(fs_trusted(in_dir("t/s")), -1);
	assert_int_equal(symlink(in_dir("t/s"), in_dir("link")), 0);
	assert_int_equal(fs_trusted(in_dir("link")), -1);
	assert_int_equal(chmod(in_dir("t"), 0755), 0);
	assert_int_equal(fs_trusted(in_dir("link")), 0);
	assert_int_equal(lchown(in_dir("link"), 12345, 0), 0);	/* who owns a link can aim it */
	assert_int_equal(fs_trusted(in_dir("link")), -1);
	assert_int_equal(chown(in_dir("t/s"), 12345, 0), 0);
	assert_int_equal(fs_trusted(in_dir("t/s")), -1);
	assert_int_equal(chown(in_dir("t/s"), 0, 12345), 0);
	assert_int_equal(fs_trusted(in_dir("t/s")), 0);		/* 0755: the group only reads */
	assert_int_equal(chmod(in_dir("t/s"), 0775), 0);
	assert_int_equal(fs_trusted(in_dir("t/s")), -1);
}

/* In place, and only where the room is there already. */
static void
test_overwrite(void **state)
{
	char big[16384] = { 0 }, *buf;
	struct stat a, b;
	size_t len;

	(void)state;
	assert_int_equal(fs_replace(dir, "over", "a longer text", 13, 0600), 0);
	assert_int_equal(stat(in_dir("over"), &a), 0);
	assert_int_equal(fs_overwrite(dir, "over", "short", 5), 0);
	assert_int_equal(stat(in_dir("over"), &b), 0);
	assert_true(a.st_ino == b.st_ino);
	assert_int_equal(fs_read(in_dir("over"), 100, &buf, &len), 0);
	assert_string_equal(buf, "short");
	free(buf);
	assert_int_equal(fs_overwrite(dir, "over", big, sizeof(big)), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(fs_read(in_dir("over"), 100, &buf, &len), 0);
	assert_string_equal(buf, "short");
	free(buf);
	assert_int_equal(fs_overwrite(dir, "none", "x", 1), -1);
	assert_int_equal(errno, ENOENT);
}

static void
test_trusted_why(void **state)
{
	char why[400], want[400];

	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(fs_mkdirs(in_dir("w"), 0755), 0);
	assert_int_equal(fs_replace(in_dir("w"), "f", "x", 1, 0602), 0);
	assert_int_equal(fs_trusted_why(in_dir("w/f"), why, sizeof(why)), -1);
	assert_int_equal(errno, EPERM);
	snprintf(want, sizeof(want), "%s/w/f (mode 0602, group root) can be written by others "
	    "than root: chmod go-w %s/w/f", dir, dir);
	assert_string_equal(why, want);
	assert_int_equal(chmod(in_dir("w/f"), 0600), 0);
	assert_int_equal(fs_trusted_why(in_dir("w/f"), why, sizeof(why)), 0);
	assert_int_equal(chown(in_dir("w"), 1, 0), 0);		/* the folder is what has to change */
	assert_int_equal(fs_trusted_why(in_dir("w/f"), why, sizeof(why)), -1);
	snprintf(want, sizeof(want), "%s/w belongs to daemon (uid 1), not to root: chown root "
	    "%s/w", dir, dir);
	assert_string_equal(why, want);
	assert_int_equal(fs_trusted_why(in_dir("w/none"), why, sizeof(why)), -1);
	assert_int_equal(errno, ENOENT);
}

static void
test_cloexec(void **state)
{
	int fd = open("/dev/null", O_RDWR);

	(void)state;
	assert_int_equal(fs_cloexec(fd, true), 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	close(fd);
	assert_int_equal(fs_cloexec(fd, true), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replace),
		cmocka_unit_test(test_replace_fails),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_write_all_reports),
		cmocka_unit_test(test_read_limits),
		cmocka_unit_test(test_pread),
		cmocka_unit_test(test_mkdirs_and_remove),
		cmocka_unit_test(test_free_space),
		cmocka_unit_test(test_trusted), cmocka_unit_test(test_trusted_why),
		cmocka_unit_test(test_overwrite),
		cmocka_unit_test(test_cloexec),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
