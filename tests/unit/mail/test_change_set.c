/* test_change_set.c - what one side changed, written and read again; a file that was cut
 * or changed at any place is refused whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change_set.h"
#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "shard_priv.h"

static char dir[64];
static int objects = -1;

static void
object(const char *text, uint8_t sha[32])
{
	char name[72];
	int fd;

	sha256(text, strlen(text), sha);
	object_name(sha, name);
	name[2] = '\0';
	assert_true(mkdirat(objects, name, 0700) == 0 || errno == EEXIST);
	name[2] = '/';
	fd = openat(objects, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static struct merge_msg *
message(struct changes *c, enum merge_change what, uint8_t id, const char *text)
{
	struct changes_msg *x;
	struct merge_msg *m = changes_add_msg(c, &x);

	m->what = what;
	m->box[0] = 1;
	m->guid[0] = id;
	m->uid = id;
	m->flags = FLAG_SEEN;
	m->base_flags = FLAG_FLAGGED;
	m->size = strlen(text);
	m->internal_s = -1;
	m->keywords = "a b";
	object(text, m->sha);
	return m;
}

static void
fill(struct changes *c)
{
	struct changes_box *x;
	struct merge_box *b;

	*c = (struct changes){ .shard = 17, .fork = 1000, .whole = true };
	b = changes_add_box(c, &x);
	b->guid[0] = 1;
	b->user = 9;
	b->uidvalidity = 5;
	b->name = "Work";
	b->special = "\\Archive";
	x->uidnext = 70000;
	x->subscribed = true;
	*changes_add_sub(c) = (struct changes_sub){ 9, "Work", true };
	message(c, MERGE_ADDED, 1, "one");
	message(c, MERGE_ADDED, 2, "two")->copied = true;
	message(c, MERGE_CHANGED, 3, "one");	/* its bytes go along once */
	message(c, MERGE_REMOVED, 4, "four");
	message(c, MERGE_ADDED, 5, "five");
}

static int
file(void)
{
	struct changes c;
	int fd;

	fill(&c);
	memset(c.msgs[4].sha, 0xee, 32);	/* nowhere */
	assert_true((fd = changes_write(&c, dir, objects)) >= 0);
	assert_int_equal(c.missing, 1);
	changes_clear(&c);
	return fd;
}

static void
bytes_are(const struct changes *c, int fd, const char *text)
{
	const struct changes_object *o;
	uint8_t sha[32];
	char got[16];

	sha256(text, strlen(text), sha);
	assert_non_null(o = changes_object(c, sha));
	assert_int_equal(o->size, strlen(text));
	assert_int_equal(fs_pread_all(fd, got, o->size, o->at), o->size);
	assert_memory_equal(got, text, o->size);
}

static void
test_round(void **state)
{
	struct changes c;
	uint8_t sha[32];
	int fd = file();

	(void)state;
	assert_int_equal(changes_read(&c, fd, 17, 1000), 0);
	assert_int_equal(c.shard, 17);
	assert_int_equal(c.fork, 1000);
	assert_true(c.whole);
	assert_int_equal(c.nboxes, 1);
	assert_int_equal(c.boxes[0].user, 9);
	assert_null(c.boxes[0].base_name);
	assert_string_equal(c.boxes[0].name, "Work");
	assert_string_equal(c.boxes[0].special, "\\Archive");
	assert_int_equal(c.box_more[0].uidnext, 70000);
	assert_true(c.box_more[0].subscribed);
	assert_int_equal(c.nmsgs, 5);
	assert_int_equal(c.msgs[2].what, MERGE_CHANGED);
	assert_int_equal(c.msgs[2].base_flags, FLAG_FLAGGED);
	assert_string_equal(c.msgs[2].keywords, "a b");
	assert_string_equal(c.msgs[2].base_keywords, "");
	assert_int_equal(c.msgs[0].internal_s, -1);
	assert_true(c.msgs[1].copied);
	assert_int_equal(c.nsubs, 1);
	assert_int_equal(c.subs[0].user, 9);
	assert_string_equal(c.subs[0].name, "Work");
	assert_true(c.subs[0].on);
	assert_int_equal(c.nobjects, 2);
	assert_int_equal(c.missing, 1);
	bytes_are(&c, fd, "one");
	bytes_are(&c, fd, "two");
	sha256("four", 4, sha);
	assert_null(changes_object(&c, sha));	/* removed: nobody needs it */
	changes_clear(&c);
	assert_int_equal(changes_read(&c, fd, 18, 1000), -1);	/* of another shard */
	assert_int_equal(changes_read(&c, fd, 17, 1001), -1);	/* or fork */
	close(fd);
}

static void
refused(int fd)
{
	struct changes c;

	assert_int_equal(changes_read(&c, fd, 17, 1000), -1);
	assert_int_equal(errno, EBADMSG);
}

static void
test_damaged(void **state)
{
	int fd = file(), p[2];
	off_t size = lseek(fd, 0, SEEK_END);
	uint8_t byte, other;

	(void)state;
	for (off_t at = 0; at < size; at++) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		for (unsigned bit = 0; bit < 8; bit++) {
			other = (uint8_t)(byte ^ 1u << bit);
			assert_int_equal(pwrite(fd, &other, 1, at), 1);
			refused(fd);
		}
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	assert_int_equal(pwrite(fd, "", 1, size), 1);	/* one byte more */
	refused(fd);
	for (off_t at = size - 1; at >= 0; at--) {
		assert_int_equal(ftruncate(fd, at), 0);
		refused(fd);
	}
	close(fd);
	assert_int_equal(pipe(p), 0);
	refused(p[0]);
	close(p[0]);
	close(p[1]);
}

/* The hash is right, and what it protects is not: a peer that does not keep to the form. */
static void
test_hostile(void **state)
{
	static const struct { size_t msg; uint32_t uid; uint64_t size; const char *name; } bad[] = {
		{ 0, 0, 3, "Work" },				/* no UID */
		{ 0, 1, REC_OBJECT_MAX + 1, "Work" },
		{ 0, 1, 3, "/Work" }, { 0, 1, 3, "a//b" }, { 0, 1, 3, "inbox" }, { 0, 1, 3, "a\nb" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct changes c;
		int fd;

		fill(&c);
		c.msgs[0].uid = bad[i].uid;
		c.msgs[0].size = bad[i].size;
		c.boxes[0].name = bad[i].name;
		assert_true((fd = changes_write(&c, dir, objects)) >= 0);
		refused(fd);
		changes_clear(&c);
		close(fd);
	}
}

static int
set_up(void **state)
{
	(void)state;
	log_init("test_change_set", true, LOG_LEVEL_ERR);
	snprintf(dir, sizeof(dir), "/tmp/test_change_set.XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : object_dirs_make(dir, &objects);
}

static int
tear_down(void **state)
{
	(void)state;
	close(objects);
	return fs_remove_tree(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_round),
		cmocka_unit_test(test_damaged), cmocka_unit_test(test_hostile) };

	return cmocka_run_group_tests_name("change_set", tests, set_up, tear_down);
}
