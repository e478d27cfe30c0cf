/* test_tls.c - pins let the right node in and nobody else; STARTTLS moves a stream and
 * refuses early bytes. */
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "fs.h"
#include "tls.h"
#include "unit.h"

static char dir[] = "/tmp/test_tls.XXXXXX";
static char cert[3][64], key[3][64];
static struct tls_pin pin[3];

static int
set_up(void **state)
{
	char err[256];

	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	for (int i = 0; i < 3; i++) {
		snprintf(cert[i], sizeof(cert[i]), "%s/%d.crt", dir, i);
		snprintf(key[i], sizeof(key[i]), "%s/%d.key", dir, i);
		if (tls_make_cert("ha-1", cert[i], key[i]) == -1
		    || tls_pin_of_file(cert[i], &pin[i], err, sizeof(err)) == -1)
			return -1;
	}
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

struct side {
	struct event_base *base;
	bool up, ended;
	char got[64], error[128];
};

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct side *s = arg;
	int n = evbuffer_remove(bufferevent_get_input(bev), s->got, sizeof(s->got) - 1);

	if (n > 0)
		event_base_loopbreak(s->base);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct side *s = arg;

	if ((what & BEV_EVENT_CONNECTED) != 0) {
		s->up = true;
		return;
	}
	s->ended = true;
	snprintf(s->error, sizeof(s->error), "%s", tls_error(bev));
	event_base_loopbreak(s->base);
}

/* Client and server say hello; true when the server heard it. */
static bool
meet(SSL_CTX *server, SSL_CTX *client, const char *name, struct side *s, struct side *c)
{
	struct event_base *base = event_base_new();
	struct timeval limit = { 10, 0 };
	struct bufferevent *sb, *cb;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	*s = *c = (struct side){ .base = base };
	sb = tls_accept(base, server, sv[0]);
	cb = tls_connect(base, client, sv[1], name);
	bufferevent_setcb(sb, on_read, NULL, on_event, s);
	bufferevent_setcb(cb, on_read, NULL, on_event, c);
	bufferevent_enable(sb, EV_READ | EV_WRITE);
	bufferevent_enable(cb, EV_READ | EV_WRITE);
	bufferevent_write(cb, "hello", 5);
	event_base_loopexit(base, &limit);
	event_base_dispatch(base);
	if (s->got[0] != '\0')
		assert_string_equal(tls_version(sb), "TLSv1.3");
	tls_close(sb);
	tls_close(cb);
	event_base_free(base);
	return strcmp(s->got, "hello") == 0;
}

static SSL_CTX *
peer(int own, int other)
{
	char err[256];
	SSL_CTX *ctx = tls_peer_new(cert[own], key[own], &pin[other], 1, err, sizeof(err));

	assert_non_null(ctx);
	return ctx;
}

static void
test_pins(void **state)
{
	static const struct {
		int server, server_expects, client, client_expects;
		bool meets;
	} cases[] = {
		{ 0, 1, 1, 0, true },
		{ 0, 1, 2, 0, false },	/* a stranger calls */
		{ 2, 1, 1, 0, false },	/* a stranger answers */
		{ 0, 0, 1, 1, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		SSL_CTX *a = peer(cases[i].server, cases[i].server_expects);
		SSL_CTX *b = peer(cases[i].client, cases[i].client_expects);
		struct side s, c;

		assert_int_equal(meet(a, b, NULL, &s, &c), cases[i].meets);
		SSL_CTX_free(a);
		SSL_CTX_free(b);
	}
}

/* Somebody without a certificate, and a client that wants a public one. */
static void
test_strangers(void **state)
{
	SSL_CTX *a = peer(0, 1), *b, *web;
	struct side s, c;
	char err[256];

	(void)state;
	b = tls_client_new(true, err, sizeof(err));
	assert_non_null(b);
	assert_false(meet(a, b, NULL, &s, &c));
	SSL_CTX_free(a);
	web = tls_server_new(cert[0], key[0], err, sizeof(err));
	assert_non_null(web);
	assert_true(meet(web, b, "ha-1", &s, &c));
	SSL_CTX_free(b);
	b = tls_client_new(false, err, sizeof(err));
	assert_non_null(b);
	assert_false(meet(web, b, "ha-1", &s, &c));
	assert_true(c.error[0] != '\0');
	SSL_CTX_free(b);
	SSL_CTX_free(web);
}

static void
test_files(void **state)
{
	struct tls_pin p;
	struct stat st;
	char err[256] = "";

	(void)state;
	assert_int_equal(tls_make_cert("x", cert[0], key[0]), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(stat(key[0], &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_null(tls_server_new("/nonexistent.crt", key[0], err, sizeof(err)));
	assert_non_null(strstr(err, "/nonexistent.crt: No such file"));
	assert_null(tls_server_new(cert[0], key[1], err, sizeof(err)));
	assert_non_null(strstr(err, key[1]));
	assert_int_equal(tls_pin_of_file(key[0], &p, err, sizeof(err)), -1);
	assert_int_equal(tls_pin_of_file("/nonexistent", &p, err, sizeof(err)), -1);
}

static void
test_pin_parse(void **state)
{
	static const struct { const char *text; int rc; } cases[] = {
		{ "sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", 0 },
		{ "sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEE", -1 },
		{ "sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFg", -1 },
		{ "sha1:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", -1 },
		{ "", -1 },
		{ "sha256:", -1 },
	};
	struct tls_pin p;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(tls_pin_parse(cases[i].text, &p), cases[i].rc);
}

static void
test_upgrade(void **state)
{
	char err[256];
	SSL_CTX *server = tls_server_new(cert[0], key[0], err, sizeof(err));
	SSL_CTX *client = tls_client_new(true, err, sizeof(err));
	struct event_base *base = event_base_new();
	struct timeval limit = { 10, 0 };
	struct bufferevent *plain, *sb, *cb;
	struct side s = { .base = base }, c = { .base = base };
	char text[8] = "";
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	plain = bufferevent_socket_new(base, sv[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_enable(plain, EV_READ | EV_WRITE);
	assert_null(tls_version(plain));
	/* Bytes that came too early: no TLS, the old stream is still there. */
	evbuffer_unfreeze(bufferevent_get_input(plain), 0);
	evbuffer_add(bufferevent_get_input(plain), "NOOP", 4);
	assert_null(tls_upgrade(plain, server));
	assert_int_equal(errno, EPROTO);
	evbuffer_drain(bufferevent_get_input(plain), 4);

	bufferevent_write(plain, "220\r\n", 5);
	sb = tls_upgrade(plain, server);
	assert_non_null(sb);
	assert_int_equal(read(sv[1], text, sizeof(text)), 5);
	assert_string_equal(text, "220\r\n");
	cb = tls_connect(base, client, sv[1], "mail.example.org");
	bufferevent_setcb(sb, on_read, NULL, on_event, &s);
	bufferevent_setcb(cb, on_read, NULL, on_event, &c);
	bufferevent_enable(sb, EV_READ | EV_WRITE);
	bufferevent_enable(cb, EV_READ | EV_WRITE);
	bufferevent_write(cb, "EHLO", 4);
	event_base_loopexit(base, &limit);
	event_base_dispatch(base);
	assert_string_equal(s.got, "EHLO");
	tls_close(sb);
	tls_close(cb);
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	event_base_free(base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pins),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_pin_parse),
		cmocka_unit_test(test_upgrade),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
