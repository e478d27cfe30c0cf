/* fault.c - each call on the disk fails once, or is the last of its process.
 *
 *   fault [-s SEED] [-m CASES] [-k CALL] [-w HOW] [-f FAILURES] [-v] [SUBJECT...]
 *   fault -c SUBJECT/HOW/N [-v]        one case again, as a failure names it
 *   fault -d DIR -M FILE work|check SUBJECT    one part of a case, for power_cut.py: in DIR,
 *                                      with the model in FILE; check comes after a power cut
 *
 * But for the last, to be started with tests/lab/nthcall.c preloaded.  For each subject: the work is done
 * once to count its calls; then again for each call and each way to fail, in a process of
 * its own; and then fresh processes look at what is left:
 *   - as a power cut at that moment leaves it, in three ways (nthcall.h);
 *   - as it is, which is what a crash of the process leaves; they work on;
 *   - as a power cut leaves it after that.
 * The process that meets the fault may refuse, or end by its own decision.  A signal that
 * we did not send, a hang, or a promise that is not kept is a failure.
 * -m: so many cases of each subject, drawn by SEED; -k: only faults that met calls of this
 * kind ("fsync"), -w: only this way to fail ("EIO"); -f: a subject ends after so many
 * failures.  The last line of each subject is "ok"
 * or "not ok"; a failure is a line "# SUBJECT/HOW/N ...". */
#define _GNU_SOURCE
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "../lab/nthcall.h"
#include "fs.h"
#include "log.h"
#include "mem.h"

#define EXIT_REFUSED 3
#define EXIT_WRONG 99
#define CHILD_S 30

static const struct subject *const subjects[] = { &fault_log, &fault_store, &fault_seed,
	&fault_directory, &fault_queue, &fault_state, &fault_files };
#define NSUBJECTS (sizeof(subjects) / sizeof(*subjects))

static const struct way {
	const char *name;
	enum nth_how how;
	int err;
	bool sticky;
} ways[] = {
	{ "kill", NTH_KILL, 0, false }, { "after", NTH_AFTER, 0, false },
	{ "short", NTH_SHORT, 0, false },
	{ "EIO", NTH_FAIL, EIO, false }, { "EIO-all", NTH_FAIL, EIO, true },
	{ "ENOSPC", NTH_FAIL, ENOSPC, false }, { "ENOSPC-all", NTH_FAIL, ENOSPC, true },
	{ "EIO-kill", NTH_FAIL_KILL, EIO, false },
	{ "EROFS-all", NTH_FAIL, EROFS, true },
	{ "EDQUOT", NTH_FAIL, EDQUOT, false }, { "ENOMEM", NTH_FAIL, ENOMEM, false },
};
#define NWAYS (sizeof(ways) / sizeof(*ways))

static struct {
	nthcall_begin_fn *begin;
	nthcall_arm_fn *arm;
	nthcall_facts_fn *facts;
	nthcall_name_fn *name;
	nthcall_cut_fn *cut;
} nth;
static char base[64], scratch[128], root[128], shadow[128], after[128], errors[128];
static void *model;
static struct nth_facts met;		/* of the case that runs */
static bool verbose, sampled;
static unsigned long failures_max = 10;
static const char *kind, *only;		/* of calls, of ways */

_Noreturn void
fault_wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("WRONG: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(EXIT_WRONG);
}

/* ---- processes ---- */

enum part { WORK, CHECK_CRASH, CHECK_POWER };

static void
child(const struct subject *s, enum part part, const char *dir)
{
	int fd = open(errors, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int rc = 0;

	if (fd == -1 || dup2(fd, STDERR_FILENO) == -1)
		_exit(EXIT_WRONG);
	alarm(CHILD_S);
	log_init("fault", true, LOG_LEVEL_INFO);
	if (part == WORK)
		rc = s->work(dir, model);
	else
		s->check(dir, model, part == CHECK_POWER);
	_exit(rc == 0 ? 0 : EXIT_REFUSED);
}

static int
run(const struct subject *s, enum part part, const char *dir)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(s, part, dir);
	if (pid == -1 || waitpid(pid, &status, 0) == -1) {
		perror("fork");
		exit(2);
	}
	return status;
}

static void
empty_dir(const char *path)
{
	if (fs_remove_tree(path) == -1 || mkdir(path, 0700) == -1) {
		perror(path);
		exit(2);
	}
}

static void
show_errors(void)
{
	char *text;
	size_t len;

	if (fs_read(errors, 1 << 20, &text, &len) == -1)
		return;
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
		printf("#     %s\n", line);
	free(text);
}

static bool
bad(const char *where, int status, const char *what)
{
	printf("# %s (%s): %s: %s %d\n", where, met.hit ? met.call : "no fault", what,
	    WIFSIGNALED(status) ? "signal" : "exit",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	show_errors();
	return false;
}

/* ---- one case ---- */

static bool
worked(const struct way *w, int status)
{
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGKILL && (w->how == NTH_KILL || w->how == NTH_AFTER ||
		    w->how == NTH_FAIL_KILL);
	return WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EXIT_REFUSED ||
	    WEXITSTATUS(status) == EXIT_FAILURE;
}

/* The look of a machine that went down; it is no part of what comes later. */
static bool
check_cut(const struct subject *s, const char *where, const char *when, enum nth_cut how,
    unsigned seed)
{
	static const char *const names[] = { "nothing", "names", "some" };
	void *kept = mem_copy(model, s->model);
	char what[64];
	int status;

	if (fs_remove_tree(after) == -1)
		perror(after);
	nth.cut(after, how, seed);
	status = run(s, CHECK_POWER, after);
	memcpy(model, kept, s->model);
	free(kept);
	snprintf(what, sizeof(what), "power cut %s, kept %s", when, names[how]);
	return status == 0 || bad(where, status, what);
}

/* A sample makes one of the three at a time. */
static bool
cut_wanted(long n, int how)
{
	return !sampled || n % NTH_CUTS == how;
}

/* 1: met; 0: the fault does not apply to that call; -1: wrong. */
static int
one(const struct subject *s, const struct way *w, long n)
{
	char where[80];
	bool ok = true;
	int status;

	snprintf(where, sizeof(where), "%s/%s/%ld", s->name, w->name, n);
	memset(model, 0, s->model);
	empty_dir(root);
	empty_dir(shadow);
	nth.begin(root, shadow);
	nth.arm(n, w->how, w->err, w->sticky);
	status = run(s, WORK, root);
	nth.facts(&met);
	nth.arm(0, NTH_COUNT, 0, false);
	if (n != 0 && !met.hit)
		return 0;
	if (verbose)
		printf("# %s (%s): %s %d\n", where, met.call, WIFSIGNALED(status) ? "signal" : "exit",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (!worked(w, status))
		ok = bad(where, status, "the work");
	if (verbose)
		show_errors();
	for (int how = 0; ok && how < NTH_CUTS; how++)
		ok = !cut_wanted(n, how) || check_cut(s, where, "then", (enum nth_cut)how, (unsigned)n);
	/* Such a file system has to be mounted again: nothing stays in memory. */
	if (w->err == EROFS)
		return ok ? 1 : -1;
	if (ok && (status = run(s, CHECK_CRASH, root)) != 0)
		ok = bad(where, status, "crash of the process");
	for (int how = 0; ok && how < NTH_CUTS; how++)
		ok = !cut_wanted(n, how) || check_cut(s, where, "later", (enum nth_cut)how, (unsigned)n);
	return ok ? 1 : -1;
}

static long
count_calls(const struct subject *s)
{
	const struct way w = { "none", NTH_COUNT, 0, false };
	struct nth_facts f;
	int status;

	memset(model, 0, s->model);
	empty_dir(root);
	empty_dir(shadow);
	nth.begin(root, shadow);
	nth.arm(0, NTH_LIST, 0, false);
	status = run(s, WORK, root);
	nth.facts(&f);
	if (status != 0) {
		bad(s->name, status, "without a fault");
		return -1;
	}
	return one(s, &w, 0) == -1 ? -1 : f.calls;
}

/* ---- all cases ---- */

static unsigned
rnd(unsigned *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static bool
subject(const struct subject *s, unsigned seed, unsigned long max)
{
	unsigned long cases = 0, failures = 0, all;
	long calls;

	if (s->prepare != NULL)
		s->prepare(scratch);
	calls = count_calls(s);
	all = calls < 0 ? 0 : (unsigned long)calls * NWAYS;
	for (unsigned long i = 0; i < all && failures < failures_max; i++) {
		int rc;

		/* drawn without memory: about max of them */
		if (max != 0 && rnd(&seed) % all >= max)
			continue;
		if ((only != NULL && strcmp(ways[i % NWAYS].name, only) != 0) ||
		    (kind != NULL && strncmp(nth.name((long)(i / NWAYS) + 1), kind, strlen(kind)) != 0))
			continue;
		rc = one(s, &ways[i % NWAYS], (long)(i / NWAYS) + 1);
		cases += rc != 0;
		failures += rc == -1;
	}
	printf("%s nth-call %s  # calls=%ld cases=%lu failures=%lu\n",
	    calls > 0 && failures == 0 && cases > 0 ? "ok" : "not ok", s->name, calls, cases,
	    failures);
	fflush(stdout);
	return calls > 0 && failures == 0 && cases > 0;
}

static bool
again(const char *text)
{
	char name[32], how[16];
	long n;

	if (sscanf(text, "%31[^/]/%15[^/]/%ld", name, how, &n) != 3)
		return false;
	for (size_t i = 0; i < NSUBJECTS; i++)
		for (size_t w = 0; w < NWAYS; w++)
			if (strcmp(subjects[i]->name, name) == 0 &&
			    strcmp(ways[w].name, how) == 0) {
				if (subjects[i]->prepare != NULL)
					subjects[i]->prepare(scratch);
				return one(subjects[i], &ways[w], n) == 1;
			}
	return false;
}

/* The work, or the look at what a power cut left of it, in this process. */
static int
part(const char *what, const char *name, const char *dir, const char *file)
{
	const struct subject *s = NULL;
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc = 0;

	for (size_t i = 0; i < NSUBJECTS; i++)
		if (strcmp(subjects[i]->name, name) == 0)
			s = subjects[i];
	if (s == NULL || fd == -1 || ftruncate(fd, (off_t)s->model) == -1)
		return 2;
	model = mmap(NULL, s->model, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (model == MAP_FAILED)
		return 2;
	if (s->prepare != NULL)
		s->prepare(scratch);
	puts("begins");		/* the cut may come */
	fflush(stdout);
	if (strcmp(what, "check") == 0)
		s->check(dir, model, true);
	else
		rc = s->work(dir, model);
	return rc == 0 ? 0 : EXIT_REFUSED;
}

static void
find_library(void)
{
	*(void **)&nth.begin = dlsym(RTLD_DEFAULT, "nthcall_begin");
	*(void **)&nth.arm = dlsym(RTLD_DEFAULT, "nthcall_arm");
	*(void **)&nth.facts = dlsym(RTLD_DEFAULT, "nthcall_facts");
	*(void **)&nth.name = dlsym(RTLD_DEFAULT, "nthcall_name");
	*(void **)&nth.cut = dlsym(RTLD_DEFAULT, "nthcall_cut");
	if (nth.begin != NULL && nth.arm != NULL && nth.facts != NULL && nth.name != NULL &&
	    nth.cut != NULL)
		return;
	fputs("fault: start me with tests/lab/nthcall.c preloaded (make nth-call)\n", stderr);
	exit(2);
}

static void
make_places(void)
{
	struct statfs v;

	snprintf(base, sizeof(base), "/dev/shm/mailpair-fault-XXXXXX");
	if (statfs("/dev/shm", &v) == -1 || v.f_type != TMPFS_MAGIC || mkdtemp(base) == NULL) {
		printf("skip nth-call: /dev/shm is no tmpfs that can be written to\n");
		exit(0);
	}
	snprintf(root, sizeof(root), "%s/root", base);
	snprintf(shadow, sizeof(shadow), "%s/shadow", base);
	snprintf(after, sizeof(after), "%s/after", base);
	snprintf(scratch, sizeof(scratch), "%s/scratch", base);
	snprintf(errors, sizeof(errors), "%s/errors", base);
	empty_dir(scratch);
}

static bool
wanted(const struct subject *s, char **names)
{
	bool any = *names != NULL;

	for (; *names != NULL; names++)
		if (strcmp(*names, s->name) == 0)
			return true;
	return !any;
}

int
main(int argc, char **argv)
{
	unsigned long max = 0, seed = 1;
	const char *text = NULL, *dir = NULL, *file = NULL;
	size_t biggest = 0;
	bool ok = true;
	int c;

	while ((c = getopt(argc, argv, "s:m:c:k:w:f:d:M:v")) != -1) {
		if (c == 's')
			seed = strtoul(optarg, NULL, 10);
		else if (c == 'm')
			sampled = (max = strtoul(optarg, NULL, 10)) != 0;
		else if (c == 'f')
			failures_max = strtoul(optarg, NULL, 10);
		else if (c == 'c')
			text = optarg;
		else if (c == 'd')
			dir = optarg;
		else if (c == 'M')
			file = optarg;
		else if (c == 'k')
			kind = optarg;
		else if (c == 'w')
			only = optarg;
		else if (c == 'v')
			verbose = true;
		else
			return 2;
	}
	make_places();
	log_init("fault", true, LOG_LEVEL_ERR);
	if (dir != NULL && file != NULL && optind + 2 == argc) {
		c = part(argv[optind], argv[optind + 1], dir, file);
		if (fs_remove_tree(base) == -1)
			perror(base);
		return c;
	}
	find_library();
	for (size_t i = 0; i < NSUBJECTS; i++)
		biggest = subjects[i]->model > biggest ? subjects[i]->model : biggest;
	model = mmap(NULL, biggest, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (model == MAP_FAILED)
		return 2;
	if (text != NULL)
		ok = again(text);
	for (size_t i = 0; i < NSUBJECTS && text == NULL; i++)
		if (wanted(subjects[i], argv + optind))
			ok = subject(subjects[i], (unsigned)seed, max) && ok;
	if (fs_remove_tree(base) == -1)
		perror(base);
	return ok ? 0 : 1;
}
