/* test_state.c - the persisted state: round trip, every damaged byte, two copies. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "crc32c.h"
#include "fs.h"
#include "state.h"

static char dir[64];
static int syncs;

/* A save stands between the proof and the service. */
int
fsync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fsync, fd);
}

static int
setup(void **state)
{
	(void)state;
	strncpy(dir, "/tmp/test_state.XXXXXX", sizeof(dir) - 1);
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static void
sample(struct state *s)
{
	state_init(s, (const uint8_t *)"0123456789abcdef", 1);
	s->boot = 17;
	s->peer_boot = 12;
	for (unsigned i = 1; i <= 100; i++) {
		struct gen g = { .no = i * 2, .kind = GEN_SOLO, .start_lsn = i };
		struct state_switch w = { .gen = i, .from = 255, .to = 1, .outage_ms = -1 };

		state_add_gen(&s->marks, &g);
		snprintf(w.reason, sizeof(w.reason), "reason %u", i);
		state_add_switch(s, &w);
	}
	s->marks.outdated = 44;
	s->marks.kept_out = true;
	s->marks.maint_wall_ms = 1700000000123;
	s->marks.maint_ms = 7200000;
}

static void
round_trip(void **state)
{
	static struct state s, t;
	struct wire_out o;

	(void)state;
	sample(&s);
	assert_int_equal(s.marks.ngens, STATE_GENS);
	assert_int_equal(s.marks.fixed, 200);
	assert_int_equal(state_newest(&s.marks)->no, 200);
	assert_int_equal(s.nswitches, STATE_SWITCHES);
	wire_out_init(&o);
	state_encode(&s, &o);
	assert_int_equal(state_decode(&t, o.p, o.len), 0);
	assert_memory_equal(&s, &t, sizeof(s));
	for (size_t i = 0; i < o.len; i++) {
		o.p[i] ^= 0x40;
		assert_int_equal(state_decode(&t, o.p, o.len), -1);
		o.p[i] ^= 0x40;
		assert_int_equal(state_decode(&t, o.p, i), -1);
	}
	wire_out_clear(&o);
}

/* Whole, but nothing that this program may guess the meaning of. */
static void
other_version(void **state)
{
	static const uint8_t versions[] = { 0, 1, 3 };
	static struct state s, t;
	struct wire_out o;
	size_t len;

	(void)state;
	sample(&s);
	wire_out_init(&o);
	state_encode(&s, &o);
	for (size_t i = 0; i < sizeof(versions); i++) {
		len = versions[i] == 1 ? o.len - 16 : o.len;	/* 1 had no maintenance */
		o.p[5] = versions[i];
		wire_store32(o.p + len - 4, crc32c(0, o.p, len - 4));
		assert_int_equal(state_decode(&t, o.p, len), -1);
		assert_int_equal(errno, EPROTO);
	}
	assert_int_equal(fs_replace(dir, "state", o.p, o.len, 0600), 0);
	assert_int_equal(state_load(&t, dir), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(fs_unlink_durable(dir, "state"), 0);
	wire_out_clear(&o);
}

static void
gens(void **state)
{
	struct state_marks m = { .ngens = 0 };
	struct gen g = { .no = 10 };

	(void)state;
	state_add_gen(&m, &g);
	g.no = 6;
	state_add_gen(&m, &g);
	g.no = 10;
	g.start_lsn = 5;
	state_add_gen(&m, &g);		/* known: replaced, not repeated */
	assert_int_equal(m.ngens, 2);
	assert_int_equal(m.gens[0].no, 6);
	assert_int_equal(m.gens[1].start_lsn, 5);
}

static void
damage(const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_non_null(f = fopen(path, "r+"));
	fputc('X', f);
	fclose(f);
}

static void
copies(void **state)
{
	static struct state s, t;
	char path[128];

	(void)state;
	assert_int_equal(state_load(&t, dir), 1);	/* a new node */
	sample(&s);
	syncs = 0;
	assert_int_equal(state_save(&s, dir), 0);
	assert_int_equal(syncs, 3);		/* each copy, and both names */
	s.boot = 18;
	assert_int_equal(state_save(&s, dir), 0);
	damage("state");
	assert_int_equal(state_load(&t, dir), 0);
	assert_int_equal(t.boot, 18);
	damage("state.2");
	errno = 0;
	assert_int_equal(state_load(&t, dir), -1);	/* not a new node! */
	assert_int_equal(errno, EBADMSG);
	snprintf(path, sizeof(path), "%s/state.2", dir);
	unlink(path);
	assert_int_equal(state_load(&t, dir), -1);
	assert_int_equal(state_save(&s, dir), 0);
	assert_int_equal(state_load(&t, dir), 0);
	assert_int_equal(t.serial, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(round_trip),
		cmocka_unit_test(gens),
		cmocka_unit_test_setup_teardown(other_version, setup, teardown),
		cmocka_unit_test_setup_teardown(copies, setup, teardown) };

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
