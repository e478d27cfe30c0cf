/* test_ownertail.c - records come out as they went in, twice; a file that was cut or
 * changed at any byte ends in an error or at the end of a record, never in another one. */
#include <sys/mman.h>
#include <unistd.h>

#include "ownertail.h"
#include "unit.h"

static const char *const payloads[] = { "first", "", "the third one" };

static int
file(void)
{
	int fd = memfd_create("tail", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (size_t i = 0; i < COUNT(payloads); i++) {
		const struct owner_record r = { .lsn = 10 + 3 * i, .gen_no = 4, .shard = 17,
			.type = (uint8_t)i, .copies = 2, .time_ms = -5,
			.payload = { payloads[i], strlen(payloads[i]) } };

		assert_int_equal(owner_tail_put(fd, &r), 0);
	}
	return fd;
}

static void
read_all(struct owner_tail *t)
{
	struct owner_record r;

	for (size_t i = 0; i < COUNT(payloads); i++) {
		assert_int_equal(owner_tail_next(t, &r), 1);
		assert_int_equal(r.lsn, 10 + 3 * i);
		assert_int_equal(r.gen_no, 4);
		assert_int_equal(r.shard, 17);
		assert_int_equal(r.type, i);
		assert_int_equal(r.copies, 2);
		assert_int_equal(r.time_ms, -5);
		assert_true(span_is(r.payload, payloads[i]));
	}
	assert_int_equal(owner_tail_next(t, &r), 0);
	assert_int_equal(owner_tail_next(t, &r), 0);
}

static void
test_twice(void **state)
{
	int fd = file();
	struct owner_tail t;

	(void)state;
	assert_int_equal(owner_tail_open(&t, fd), 0);
	read_all(&t);
	owner_tail_rewind(&t);
	read_all(&t);
	owner_tail_close(&t);
	close(fd);
}

/* Cut behind n bytes: whole records, then the end only where one ended. */
static void
test_cut(void **state)
{
	off_t size, ends[COUNT(payloads) + 1] = { 0 };
	struct owner_tail t;
	struct owner_record r;
	int fd = file(), rc;

	(void)state;
	size = lseek(fd, 0, SEEK_CUR);
	for (size_t i = 0; i < COUNT(payloads); i++)
		ends[i + 1] = ends[i] + 32 + (off_t)strlen(payloads[i]);
	assert_int_equal(ends[COUNT(payloads)], size);
	for (off_t cut = size; cut-- > 0;) {
		bool at_end = false;
		size_t whole = 0;

		for (size_t i = 0; i <= COUNT(payloads); i++) {
			at_end |= ends[i] == cut;
			whole += i > 0 && ends[i] <= cut;
		}
		assert_int_equal(ftruncate(fd, cut), 0);
		assert_int_equal(owner_tail_open(&t, fd), 0);
		for (size_t i = 0; i < whole; i++)
			assert_int_equal(owner_tail_next(&t, &r), 1);
		rc = owner_tail_next(&t, &r);
		assert_int_equal(rc, at_end ? 0 : -1);
		if (rc == -1)
			assert_int_equal(errno, EBADMSG);
		owner_tail_close(&t);
	}
	close(fd);
}

static void
test_refused(void **state)
{
	const struct owner_record back = { .lsn = 16, .payload = { "x", 1 } };
	struct owner_tail t;
	struct owner_record r;
	int fd = file(), p[2];

	(void)state;
	assert_int_equal(owner_tail_put(fd, &back), 0);	/* an LSN a second time */
	assert_int_equal(owner_tail_open(&t, fd), 0);
	for (size_t i = 0; i < COUNT(payloads); i++)
		assert_int_equal(owner_tail_next(&t, &r), 1);
	assert_int_equal(owner_tail_next(&t, &r), -1);
	owner_tail_rewind(&t);
	assert_int_equal(pwrite(fd, "\xff", 1, 0), 1);	/* a length beyond every record */
	assert_int_equal(owner_tail_next(&t, &r), -1);
	assert_int_equal(errno, EBADMSG);
	owner_tail_close(&t);
	close(fd);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(owner_tail_open(&t, p[0]), -1);
	close(p[0]);
	close(p[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_twice),
		cmocka_unit_test(test_cut), cmocka_unit_test(test_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
