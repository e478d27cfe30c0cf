/* mailctl_io.c - text in and out of mailctl.  Everything that is printed came from a
 * daemon of ours; everything that is read is bounded. */
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "mailctl_io.h"
#include "mem.h"

#define CSV_LINE_MAX 2048

static const char *
str(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s != NULL ? s : "";
}

static long long
num(json_t *j, const char *key)
{
	return (long long)json_integer_value(json_object_get(j, key));
}

static void
print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
}

static void
day(long long ms, char out[24])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 24, "%Y-%m-%d", &tm);
}

void
mailctl_print(json_t *p, bool json)
{
	const char *what = str(p, "part");
	char when[24];

	if (json) {
		print_json(p);
		return;
	}
	day(num(p, "created_ms"), when);
	if (strcmp(what, "domain") == 0)
		printf("%-40s users %-6lld aliases %-6lld since %s\n", str(p, "name"), num(p, "users"),
		    num(p, "aliases"), when);
	else if (strcmp(what, "user") == 0)
		printf("%-40s id %s  shard %-4lld %s since %s\n", str(p, "address"), str(p, "id"),
		    num(p, "shard"), json_is_true(json_object_get(p, "suspended")) ? "suspended" : "active   ",
		    when);
	else if (strcmp(what, "alias") == 0)
		printf("%-40s -> %s\n", str(p, "address"), str(p, "target"));
	else if (strcmp(what, "failed") == 0)
		fprintf(stderr, "WARN  %s: %s\n", str(p, "address"), str(p, "why"));
	else
		print_json(p);
}

static void
print_processes(json_t *list)
{
	json_t *p;
	size_t i;

	json_array_foreach(list, i, p) {
		const char *kind = str(p, "kind");

		printf("%-10s %-3lld pid %-8lld starts %-4lld", kind, num(p, "index"), num(p, "pid"),
		    num(p, "starts"));
		if (strcmp(kind, "gate") == 0)
			printf(" %s\n", json_is_true(json_object_get(p, "serving")) ? "serving" : "closed");
		else
			printf(" %s gen %lld lsn %lld copies %lld\n",
			    json_is_true(json_object_get(p, "active")) ? "active" : "standby", num(p, "gen"),
			    num(p, "lsn"), num(p, "copies"));
	}
}

static void
add_to(json_t *total, const char *key, json_t *shard)
{
	json_object_set_new(total, key, json_integer(num(total, key) + num(shard, key)));
}

static void
print_shard(const char *name, json_t *s, bool verify)
{
	printf("%-6s %6lld %10lld %10lld %14lld", name, num(s, "users"), num(s, "mailboxes"),
	    num(s, "messages"), num(s, "bytes"));
	if (json_object_get(s, "applied_lsn") != NULL)
		printf("  %lld:%lld", num(s, "generation"), num(s, "applied_lsn"));
	if (verify && num(s, "bad_count") > 0)
		printf("  DAMAGED %lld", num(s, "bad_count"));
	putchar('\n');
}

static void
print_bad(json_t *shard)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(shard, "bad"), i, one) {
		fprintf(stderr, "WARN  shard %lld: ", num(shard, "shard"));
		if (json_is_string(one))
			fprintf(stderr, "%s", json_string_value(one));
		else
			json_dumpf(one, stderr, JSON_COMPACT | JSON_ENCODE_ANY);
		fputc('\n', stderr);
	}
}

static json_t *
shard_of(json_t *stores, long long number)
{
	json_t *one, *shard;
	size_t i, k;

	json_array_foreach(stores, i, one)
		json_array_foreach(json_object_get(one, "shards"), k, shard)
			if (num(shard, "shard") == number)
				return shard;
	return NULL;
}

/* Shards in their order, whichever process has them; those without users are only
 * counted. */
static void
print_stores(json_t *stores)
{
	static const char *const keys[]
	    = { "users", "mailboxes", "messages", "bytes", "bad_count", NULL };
	json_t *total = json_object(), *shard;
	bool verify = false, counts = json_object_get(shard_of(stores, 0), "messages") != NULL;
	long long n = 0;
	char name[24];

	if (counts)
		printf("SHARD   USERS  MAILBOXES   MESSAGES          BYTES  APPLIED\n");
	for (; (shard = shard_of(stores, n)) != NULL; n++) {
		verify = verify || json_object_get(shard, "bad_count") != NULL;
		for (size_t k = 0; keys[k] != NULL; k++)
			add_to(total, keys[k], shard);
		snprintf(name, sizeof(name), "%lld", n);
		if (num(shard, "users") > 0 || num(shard, "bad_count") > 0)
			print_shard(name, shard, verify);
		print_bad(shard);
	}
	if (counts)
		print_shard("all", total, verify);
	printf("%lld shards", n);
	if (verify)
		printf(", verified: %lld damaged", num(total, "bad_count"));
	putchar('\n');
	json_decref(total);
}

/* A message is "active" while it is being sent. */
static const char *
message_state(json_t *m)
{
	if (json_is_true(json_object_get(m, "sending")))
		return "active";
	if (json_is_true(json_object_get(m, "held")))
		return "held";
	return num(m, "pending") == 0 ? "failed" : num(m, "attempts") > 0 ? "deferred" : "new";
}

static void
print_messages(json_t *last)
{
	json_t *m, *r;
	size_t i, k;
	char when[24];

	json_array_foreach(json_object_get(last, "messages"), i, m) {
		day(num(m, "created_ms"), when);
		printf("%s %-8s %10lld bytes  %s  attempts %lld  recipients %lld  from <%s>\n",
		    str(m, "id"), message_state(m), num(m, "bytes"), when, num(m, "attempts"),
		    num(m, "pending") + num(m, "failed"), str(m, "sender"));
		json_array_foreach(json_object_get(m, "recipients"), k, r)
			printf("    <%s>%s %s\n", str(r, "address"),
			    json_is_true(json_object_get(r, "failed")) ? " failed:" : "",
			    str(r, "reply"));
	}
	if (json_object_get(last, "total") != NULL)
		printf("%lld messages\n", num(last, "total"));
	if (str(last, "blocked")[0] != '\0' && num(last, "total") > 0)
		fprintf(stderr, "WARN  nothing is sent: %s\n", str(last, "blocked"));
}

void
mailctl_print_last(json_t *last, bool json)
{
	json_t *stores = json_object_get(last, "stores");

	if (json) {
		print_json(last);
		return;
	}
	if (json_object_get(last, "state") != NULL)
		printf("listeners %s\n", str(last, "state"));
	print_processes(json_object_get(last, "processes"));
	print_messages(last);
	if (json_object_get(json_array_get(stores, 0), "shards") != NULL)
		print_stores(stores);
	if (json_object_get(last, "text") != NULL)
		printf("%s\n", str(last, "text"));
	if (json_object_get(last, "added") != NULL)
		printf("added %lld, failed %lld\n", num(last, "added"), num(last, "failed"));
}

static int
read_line(int fd, char *out, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		ssize_t got = read(fd, out + n, 1);

		if (got == -1)
			return -1;
		if (got == 0 || out[n] == '\n')
			break;
		n++;
	}
	if (n > 0 && out[n - 1] == '\r')
		n--;
	out[n] = '\0';
	return n > 0 && n + 1 < size ? 0 : -1;
}

static int
prompt(int tty, const char *text, char *out, size_t size)
{
	struct termios old, quiet;
	int rc;

	if (tcgetattr(tty, &old) == -1)
		return -1;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(tty, TCSAFLUSH, &quiet) == -1)
		return -1;
	dprintf(tty, "%s: ", text);
	rc = read_line(tty, out, size);
	dprintf(tty, "\n");
	tcsetattr(tty, TCSAFLUSH, &old);
	return rc;
}

int
mailctl_password(bool from_stdin, char *out, size_t size)
{
	char again[512];
	int tty, rc;

	if (from_stdin) {
		rc = read_line(STDIN_FILENO, out, size);
		if (rc == -1)
			fprintf(stderr, "ERROR no password on stdin (one line, at most %zu bytes)\n",
			    size - 2);
		return rc;
	}
	tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (tty == -1) {
		fprintf(stderr, "ERROR no terminal to ask for the password\n"
				"HINT  use --password-stdin\n");
		return -1;
	}
	rc = prompt(tty, "password", out, size) == -1 || prompt(tty, "again", again, sizeof(again)) == -1
		|| strcmp(out, again) != 0 ? -1 : 0;
	if (rc == -1)
		fprintf(stderr, "ERROR no password, or the two differ\n");
	mem_wipe(again, sizeof(again));
	close(tty);
	return rc;
}

/* One field off *p into out (as long as the line); false when a quote is not closed. */
static bool
field(char **p, char *out)
{
	char *s = *p;

	if (*s != '"') {
		while (*s != '\0' && *s != ',')
			*out++ = *s++;
	} else {
		for (s++; *s != '"' || s[1] == '"'; s++) {
			if (*s == '\0')
				return false;
			if (*s == '"')
				s++;
			*out++ = *s;
		}
		s++;
	}
	*out = '\0';
	if (*s == ',')
		s++;
	else if (*s != '\0')
		return false;
	*p = s;
	return true;
}

bool
mailctl_csv(FILE *f, int *line, json_t **user)
{
	char text[CSV_LINE_MAX], a[CSV_LINE_MAX], b[CSV_LINE_MAX], *p;

	do {
		if (fgets(text, sizeof(text), f) == NULL)
			return false;
		++*line;
		text[strcspn(text, "\r\n")] = '\0';
	} while (text[0] == '\0' || (*line == 1 && strcasecmp(text, "address,password") == 0));
	p = text;
	*user = NULL;
	if (field(&p, a) && field(&p, b) && *p == '\0' && a[0] != '\0' && b[0] != '\0')
		*user = json_pack("[s, s]", a, b);
	mem_wipe(text, sizeof(text));
	mem_wipe(b, sizeof(b));
	return true;
}
