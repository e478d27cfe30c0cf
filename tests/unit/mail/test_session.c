/* test_session.c - IMAP and POP3 sessions over the real store and a syncd in memory:
 * what is answered is true, changes are told in time, refusals are answered as such.
 * The words of the protocols themselves are in tests/transcript. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>

#include "fake_syncd.h"
#include "fs.h"
#include "log.h"
#include "session.h"
#include "store_admin.h"

#define USER 7
#define OUT_MAX (1 << 20)

struct env {
	struct event_base *base;
	struct fake_syncd f;
	struct store *st;
	struct store_conf conf;
	struct session_set *set;
	char dir[64];
	int fd;
	char out[OUT_MAX];
	size_t len;
	bool ready;
};
static struct env *env;

static const struct session_limits limits = { .idle_s = 1800, .pop3_idle_s = 600,
	.line_max = 8192, .literal_max = 65536, .append_max = 1 << 20,
	.append_memory_max = 300000, .per_user = 5 };

static void
on_ready(void *arg, const struct store_result *r)
{
	(void)arg;
	assert_int_equal(r->rc, MAIL_OK);
	env->ready = true;
}

static void
turn(void)
{
	ssize_t n;

	fake_loop(env->base, 2);
	if (env->fd == -1)
		return;
	n = recv(env->fd, env->out + env->len, OUT_MAX - 1 - env->len, MSG_DONTWAIT);
	if (n > 0)
		env->len += (size_t)n;
	env->out[env->len] = '\0';
}

static bool
until(const char *text)
{
	for (int64_t end = clock_ms() + 5000; clock_ms() < end;) {
		if (strstr(env->out, text) != NULL)
			return true;
		turn();
	}
	return false;
}

/* Says something, waits for an answer that has the text, forgets what came. */
#define SAY(command, answer) do { \
	env->len = 0; \
	env->out[0] = '\0'; \
	assert_int_equal(send(env->fd, command, strlen(command), 0), strlen(command)); \
	if (!until(answer)) \
		fail_msg("%s: %s", command, env->out); \
} while (0)
#define HAS(text) do { \
	if (strstr(env->out, text) == NULL) \
		fail_msg("no %s in: %s", text, env->out); \
} while (0)

static void
login(enum mail_service service)
{
	struct session_login l = { .service = service, .user = USER, .shard = 0,
		.address = "u@example.org", .sid = "t", .ip = "192.0.2.1", .tls = "",
		.tag = "L" };
	int fd[2];

	if (env->fd != -1)
		close(env->fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	env->fd = fd[0];
	env->len = 0;
	env->out[0] = '\0';
	session_start(env->set, fd[1], &l);
	assert_true(until("OK"));
}

static int
setup(void **state)
{
	char err[256];

	(void)state;
	env = calloc(1, sizeof(*env));
	env->fd = -1;
	log_init("test_session", true, LOG_LEVEL_ERR);
	env->base = event_base_new();
	snprintf(env->dir, sizeof(env->dir), "/tmp/test_session.XXXXXX");
	assert_non_null(mkdtemp(env->dir));
	fake_start(&env->f, env->base, env->dir);
	store_conf_default(&env->conf);
	env->conf.dir = env->dir;
	env->conf.owner_path = env->f.path;
	env->conf.low_water = 0;
	env->st = store_new(env->base, &env->conf, NULL, NULL);
	assert_int_equal(store_add_shard(env->st, 0, err, sizeof(err)), 0);
	for (int i = 0; i < 2000 && !store_role(env->st)->active; i++)
		turn();
	store_user_ready(env->st, 0, USER, on_ready, env);
	for (int i = 0; i < 2000 && !env->ready; i++)
		turn();
	assert_true(env->ready);
	env->set = session_set_new(env->base, env->st, &limits, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	session_set_free(env->set);
	store_free(env->st);
	fake_stop(&env->f);
	event_base_free(env->base);
	if (env->fd != -1)
		close(env->fd);
	fs_remove_tree(env->dir);
	free(env);
	return 0;
}

static void
test_imap(void **state)
{
	(void)state;
	login(MAIL_IMAP);
	SAY("a LIST \"\" *\r\n", "a OK");
	HAS("INBOX");
	SAY("a SELECT INBOX\r\n", "a OK [READ-WRITE]");
	HAS("* 0 EXISTS");
	SAY("a APPEND INBOX (\\Flagged $x) {19+}\r\nSubject: a\r\n\r\nbody\n\r\n", "a OK [APPENDUID");
	HAS("* 1 EXISTS");
	SAY("a APPEND INBOX {4+}\r\nA:b\n\r\n", "a OK [APPENDUID");
	HAS("* 2 EXISTS");
	SAY("a FETCH 1 (FLAGS RFC822.SIZE BODY[])\r\n", "a OK FETCH");
	HAS("BODY[] {20}\r\nSubject: a\r\n\r\nbody\r\n)");
	HAS("RFC822.SIZE 20");
	HAS("\\Seen");
	HAS("$x");
	SAY("a STORE 1:2 +FLAGS (\\Answered work)\r\n", "a OK STORE");
	HAS("* 2 FETCH (FLAGS (\\Answered");
	SAY("a SEARCH KEYWORD work FLAGGED\r\n", "a OK SEARCH");
	HAS("* SEARCH 1\r\n");
	SAY("a CREATE Box/Sub\r\n", "a OK");
	SAY("a COPY 1:2 Box/Sub\r\n", "a OK [COPYUID");
	SAY("a MOVE 1 Box/Sub\r\n", "a OK MOVE");
	HAS("* OK [COPYUID");
	HAS("* 1 EXPUNGE");
	SAY("a STATUS Box/Sub (MESSAGES UNSEEN)\r\n", "a OK STATUS");
	HAS("(MESSAGES 3 UNSEEN 1)");
	SAY("a STORE 1 FLAGS.SILENT (\\Deleted)\r\n", "a OK STORE");
	SAY("a EXPUNGE\r\n", "a OK EXPUNGE");
	HAS("* 1 EXPUNGE");
	SAY("a RENAME Box Other\r\n", "a OK RENAME");
	SAY("a SELECT Other/Sub\r\n", "a OK [READ-WRITE]");
	HAS("* 3 EXISTS");
	SAY("a DELETE Other/Sub\r\n", "a OK DELETE");
	SAY("a NOOP\r\n", "a OK NOOP");
	SAY("a SUBSCRIBE INBOX\r\n", "a OK");
	SAY("a LSUB \"\" *\r\n", "a OK LSUB");
	HAS("* LSUB () \"/\" INBOX");
	SAY("a CREATE INBOX\r\n", "a NO [ALREADYEXISTS]");
	SAY("a DELETE Nothing\r\n", "a NO [NONEXISTENT]");
	SAY("a LOGOUT\r\n", "a OK LOGOUT");
}

static void
test_pop3(void **state)
{
	(void)state;
	login(MAIL_IMAP);
	SAY("a APPEND INBOX {9+}\r\nA: b\r\n\r\nc\r\n", "a OK [APPENDUID");
	SAY("a APPEND INBOX {9+}\r\nA: b\r\n\r\nd\r\n", "a OK [APPENDUID");
	SAY("a LOGOUT\r\n", "a OK LOGOUT");
	login(MAIL_POP3);
	HAS("+OK Maildrop has 2 messages (18 octets)");
	SAY("RETR 2\r\n", "\r\n.\r\n");
	HAS("A: b\r\n\r\nd\r\n.\r\n");
	SAY("DELE 1\r\n", "+OK");
	SAY("QUIT\r\n", "+OK Removed");
	login(MAIL_POP3);
	HAS("+OK Maildrop has 1 messages (9 octets)");
}

static void
say(const char *text)
{
	env->len = 0;
	env->out[0] = '\0';
	assert_int_equal(send(env->fd, text, strlen(text), 0), strlen(text));
}

/* No answer to a change before its commit; and what is refused is answered NO. */
static void
test_commit(void **state)
{
	static const struct {
		enum owner_refusal why;
		const char *answer;
	} cases[] = {
		{ 0, "b OK [APPENDUID" },
		{ OWNER_NOT_TWICE, "b NO [UNAVAILABLE]" },
		{ OWNER_DISK_FULL, "b NO [UNAVAILABLE]" },
	};

	(void)state;
	fake_generation(&env->f, GEN_TAKEOVER, 0);
	login(MAIL_IMAP);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SAY("a SELECT INBOX\r\n", "a OK");
		env->f.hold = true;
		say("b APPEND INBOX {9+}\r\nA: b\r\n\r\nc\r\nc NOOP\r\n");
		for (int k = 0; k < 20; k++)
			turn();
		assert_string_equal(env->out, "");
		env->f.hold = false;
		fake_release(&env->f, cases[i].why);
		assert_true(until("c OK NOOP"));
		HAS(cases[i].answer);
	}
	SAY("a STATUS INBOX (MESSAGES)\r\n", "a OK");
	HAS("(MESSAGES 1)");
	/* a session that ends while its change is under way */
	env->f.hold = true;
	say("b APPEND INBOX {9+}\r\nA: b\r\n\r\nd\r\n");
	for (int k = 0; k < 20; k++)
		turn();
	close(env->fd);
	env->fd = -1;
	for (int k = 0; k < 20; k++)
		turn();
	fake_release(&env->f, 0);
	for (int k = 0; k < 20; k++)
		turn();
	assert_int_equal(session_count(env->set), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_imap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pop3, setup, teardown),
		cmocka_unit_test_setup_teardown(test_commit, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);		/* as daemon_start() does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
