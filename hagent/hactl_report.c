/* hactl_report.c - hactl report: what somebody who helps needs to see, in one tar.gz,
 * with secrets taken out of every text (redact.h).  Key files are never read; only their
 * modes are listed.  A part that cannot be had says so in its place. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "ctl.h"
#include "fs.h"
#include "hactl_local.h"
#include "hactl_run.h"
#include "mem.h"
#include "paths.h"
#include "redact.h"

#define ASK_MS 5000
#define RUN_MS 15000
#define FILE_MAX (4u << 20)
#define ARGS_MAX 12

static const char usage[] = 
    "usage: hactl report [--output FILE] [--json] [--timeout SECONDS] [--run-dir DIR]\n";

static const char *const files[] = {"hagent.conf", "syncd.conf", "maild.conf"};

static const struct {
	const char *file, *sock, *op;
} asks[] = {
    {"status.json", "hagentd.sock", "status"},
    {"links.json", "hagentd.sock", "links"},
    {"history.json", "hagentd.sock", "history"},
    {"events.json", "hagentd.sock", "events"},
    {"resources.json", "hagentd.sock", "resources"},
    {"sync.json", "syncd.sock", "sync-status"},
};

static const struct {
	const char *file;
	const char *argv[ARGS_MAX];
} runs[] = {
    {"uname.txt", {"uname", "-a"}},
    {"uptime.txt", {"uptime"}},
    {"os.txt", {"cat", "/etc/os-release"}},
    {"syncd-version.txt", {"syncd", "-V"}},
    {"maild-version.txt", {"maild", "-V"}},
    {"hagentd-check.txt", {"hagentd", "-n"}},
    {"syncd-check.txt", {"syncd", "-n"}},
    {"maild-check.txt", {"maild", "-n"}},
    {"ip-addr.txt", {"ip", "addr"}},
    {"ip-link.txt", {"ip", "-s", "link"}},
    {"ip-route.txt", {"ip", "route", "show", "table", "all"}},
    {"ip-neigh.txt", {"ip", "neigh"}},
    {"sockets.txt", {"ss", "-lntup"}},
    {"disk.txt", {"df", "-h", PATH_VAR, PATH_RUN}},
    {"modes.txt", {"ls", "-lnaR", PATH_ETC}},
    {"processes.txt", {"ps", "-eo", "pid,ppid,user,etime,pcpu,rss,comm"}},
    {"clock.txt", {"timedatectl", "show"}},
    {"journal.txt", {"journalctl", "--no-pager", "-q", "-n", "3000", "-u", "hagentd",
			"-u", "syncd", "-u", "maild"}},
};

struct run {
	struct hactl_local local;
	const char *output;
	char *dir, *name; /* temporary folder, and the one inside it */
	unsigned parts;
};

static void
put(struct run *r, const char *file, struct span text)
{
	char *path = mem_printf("%s/%s/%s", r->dir, r->name, file);
	FILE *f = fopen(path, "we");

	if (f != NULL) {
		redact(text, f);
		if (fclose(f) == 0)
			r->parts++;
	}
	free(path);
}

static void
put_reason(struct run *r, const char *file, const char *why)
{
	char *text = mem_printf("not there: %s\n", why);

	put(r, file, span_of(text));
	free(text);
}

static void
put_file(struct run *r, const char *name)
{
	char *path = mem_printf("%s/%s", PATH_ETC, name), *text;
	size_t len;

	if (fs_read(path, FILE_MAX, &text, &len) == -1) {
		put_reason(r, name, strerror(errno));
	} else {
		put(r, name, (struct span){text, len});
		free(text);
	}
	free(path);
}

static void
on_part(json_t *part, void *arg)
{
	json_dumpf(part, arg, JSON_INDENT(1));
	fputc('\n', arg);
}

static void
put_answer(struct run *r, const char *file, const char *sock, const char *op)
{
	char *path = mem_printf("%s/%s", r->local.run_dir, sock), *text = NULL;
	json_t *request = json_pack("{s:s}", "op", op), *last = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (f != NULL) {
		ctl_ask(path, request, r->local.timeout_ms > 0 ? r->local.timeout_ms : ASK_MS,
		    on_part, f, &last);
		if (last != NULL)
			on_part(last, f);
		if (fclose(f) == 0 && len > 0)
			put(r, file, (struct span){text, len});
		else
			put_reason(r, file, "no answer");
	}
	json_decref(last);
	json_decref(request);
	free(text);
	free(path);
}

static void
put_run(struct run *r, const char *file, const char *const argv[])
{
	const char *own[ARGS_MAX + 1] = {NULL};
	char *text;
	size_t len;

	for (size_t i = 0; i < ARGS_MAX && argv[i] != NULL; i++)
		own[i] = argv[i];
	own[0] = hactl_program(argv[0]);
	if (hactl_run(own, r->local.timeout_ms > 0 ? r->local.timeout_ms : RUN_MS, &text, &len) ==
		-1 &&
	    len == 0)
		put_reason(r, file, "the program did not run to its end");
	else
		put(r, file, (struct span){text, len});
	free(text);
}

static void
collect(struct run *r)
{
	put(r, "version.txt", SPAN("hactl " MAILPAIR_VERSION "\n"));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		put_file(r, files[i]);
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
		put_answer(r, asks[i].file, asks[i].sock, asks[i].op);
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
		put_run(r, runs[i].file, runs[i].argv);
}

/* Readable by its owner only from the first byte on, and never in place of another. */
static int
pack(const struct run *r)
{
	const char *argv[] = {"tar", "-czf", NULL, "-C", r->dir, r->name, NULL};
	char *file = mem_printf("%s/report.tar.gz", r->dir), *text = NULL, *data;
	size_t len;
	int rc;

	argv[2] = file;
	rc = hactl_run(argv, RUN_MS, &text, &len);
	if (rc != 0)
		fprintf(stderr, "ERROR tar: %s\n", text);
	free(text);
	if (rc == 0 && fs_read(file, 64u << 20, &data, &len) == 0) {
		rc = hactl_write(r->output, data, len, 0600);
		free(data);
	} else {
		rc = -1;
	}
	free(file);
	return rc;
}

static int
report(struct run *r)
{
	char *inside = mem_printf("%s/%s", r->dir, r->name);
	int code = CTL_DENIED;

	if (mkdir(inside, 0700) == 0) {
		collect(r);
		if (pack(r) == 0)
			code = CTL_OK;
	}
	free(inside);
	return code;
}

static char *
default_name(void)
{
	char host[64] = "node", when[32];
	time_t now = time(NULL);
	struct tm tm;

	(void)gethostname(host, sizeof(host) - 1);
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
	return mem_printf("mailpair-report-%s-%s", host, when);
}

static void
done(const struct run *r)
{
	if (r->local.json)
		hactl_put_json(json_pack("{s:i, s:s, s:i}", "schema", 1, "file", r->output,
		    "parts", (int)r->parts));
	else
		printf("%s  %u parts, secrets taken out; look before you send it: addresses of "
		       "people may be in the log\n",
		    r->output, r->parts);
}

int
hactl_report(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"output", required_argument, NULL, 'o'},
	    LOCAL_OPTIONS,
	    LOCAL_WAITS,
	    {NULL, 0, NULL, 0},
	};
	char dir[] = "/tmp/hactl-report.XXXXXX", *output;
	struct run r = {.dir = dir, .local.run_dir = PATH_RUN};
	int ch, code;

	while ((ch = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (ch == 'o')
			r.output = optarg;
		else if (!hactl_local_option(&r.local, ch))
			return fputs(usage, ch == 'h' ? stdout : stderr),
			       ch == 'h' ? CTL_OK : CTL_USAGE;
	}
	if (optind != argc)
		return fputs(usage, stderr), CTL_USAGE;
	r.name = default_name();
	output = mem_printf("%s.tar.gz", r.name);
	if (r.output == NULL)
		r.output = output;
	umask(077);
	if (!hactl_may_write(r.output, false)) {
		code = CTL_CONFLICT;
	} else if (mkdtemp(dir) == NULL) {
		fprintf(stderr, "ERROR %s: %s\n", dir, strerror(errno));
		code = CTL_DENIED;
	} else {
		code = report(&r);
		(void)fs_remove_tree(dir);
		if (code == CTL_OK)
			done(&r);
	}
	free(output);
	free(r.name);
	return code;
}
