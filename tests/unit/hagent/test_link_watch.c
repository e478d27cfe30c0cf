/* test_link_watch.c - a link's silence becomes one line an episode, and its end one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "link_watch.h"

#define WARN 1000
#define DEAD 2000

/* What happens at a time: H a proven frame, U one without a proof, t only time. */
struct step {
	int64_t now;
	char what;
	enum link_news news;
	int64_t ms;
};

static void
run(const struct step *s, size_t n)
{
	static const uint8_t nonce[16] = { 1 };
	struct link_watch w = { 0 };
	struct peer p;

	peer_init(&p, 0, 1, nonce, 0, 0);
	assert_int_equal(peer_add_link(&p, 250, WARN, DEAD), 0);
	for (size_t i = 0; i < n; i++) {
		struct peer_link *l = &p.link[0];
		enum link_news news;
		int64_t ms = -1;

		if (s[i].what != 't')
			l->heard_ms = s[i].now;
		if (s[i].what == 'H')
			l->proof_ms = l->echoed_ms = s[i].now;
		news = link_watch_step(&w, &p, 0, s[i].now, &ms);
		if (news != s[i].news || ms != (news == LINK_NEWS_NONE ? -1 : s[i].ms))
			fail_msg("step %zu at %lld: news %d after %lld ms", i,
			    (long long)s[i].now, news, (long long)ms);
	}
}

#define RUN(s) run(s, sizeof(s) / sizeof((s)[0]))

static void
silence(void **state)
{
	static const struct step s[] = {
		{ 100, 't', LINK_NEWS_NONE, 0 },	/* never heard: no news */
		{ 5000, 't', LINK_NEWS_NONE, 0 },
		{ 6000, 'H', LINK_NEWS_NONE, 0 },
		{ 7000, 't', LINK_NEWS_NONE, 0 },	/* not longer than warntime */
		{ 7001, 't', LINK_NEWS_SILENT, 1001 },
		{ 7050, 't', LINK_NEWS_NONE, 0 },
		{ 8000, 't', LINK_NEWS_NONE, 0 },
		{ 8001, 't', LINK_NEWS_DEAD, 2001 },
		{ 9999, 't', LINK_NEWS_NONE, 0 },
		{ 10000, 'U', LINK_NEWS_NONE, 0 },	/* one-way is less than what was told */
		{ 10100, 'H', LINK_NEWS_BACK, 4100 },
		{ 10200, 'H', LINK_NEWS_NONE, 0 },
		{ 11201, 't', LINK_NEWS_SILENT, 1001 },	/* the next episode */
		{ 11300, 'H', LINK_NEWS_BACK, 1100 },
	};

	(void)state;
	RUN(s);
}

static void
one_way(void **state)
{
	static const struct step s[] = {
		{ 0, 'H', LINK_NEWS_NONE, 0 },
		{ 1000, 'U', LINK_NEWS_NONE, 0 },
		{ 2000, 'U', LINK_NEWS_NONE, 0 },	/* the proof counts for deadtime */
		{ 2100, 'U', LINK_NEWS_ONE_WAY, 2100 },
		{ 3000, 'U', LINK_NEWS_NONE, 0 },
		{ 3100, 'H', LINK_NEWS_BACK, 3100 },
	};

	(void)state;
	RUN(s);
}

/* One that restarts is not believed for some frames: no news. */
static void
handshake(void **state)
{
	static const uint8_t nonce[16] = { 1 };
	struct link_watch w = { 0 };
	struct peer p;
	int64_t ms;

	(void)state;
	peer_init(&p, 0, 1, nonce, 0, 0);
	peer_add_link(&p, 250, WARN, DEAD);
	p.link[0].heard_ms = p.link[0].proof_ms = p.link[0].echoed_ms = 100;
	assert_int_equal(link_watch_step(&w, &p, 0, 100, &ms), LINK_NEWS_NONE);
	p.link[0].heard_ms = 600;
	p.link[0].proof_ms = p.link[0].echoed_ms = -1;
	assert_int_equal(link_watch_step(&w, &p, 0, 600, &ms), LINK_NEWS_NONE);
	p.link[0].proof_ms = p.link[0].echoed_ms = p.link[0].heard_ms = 1050;
	assert_int_equal(link_watch_step(&w, &p, 0, 1050, &ms), LINK_NEWS_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silence),
		cmocka_unit_test(one_way),
		cmocka_unit_test(handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
