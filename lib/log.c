/* log.c - one line an event, to syslog or to descriptor 2.  A line is at most
 * LOG_LINE bytes and holds no control byte, whatever its arguments were, so nobody
 * can forge a second line.  Logging never fails loudly and keeps errno. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define LOG_LINE 2048
#define SAFE_MAX 200
#define SAFE_BUFS 8

static const int prio[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* The process's log; before log_init() lines go to stderr. */
static struct {
	const char *ident;
	bool to_stderr;
	bool journal;		/* stderr is a stream to systemd's journal */
	enum log_level most;
} logger = { "mailpair", true, false, LOG_LEVEL_INFO };

static const char *const level_names[] = { "err", "warn", "info", "debug" };

/* systemd names the stream that it connected; a descriptor that was redirected since is
 * another one, and a file must not get what only the journal understands. */
static bool
is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (stream == NULL || fstat(fd, &st) == -1)
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, own) == 0;
}

void
log_init(const char *ident, bool to_stderr, enum log_level most)
{
	logger.ident = ident;
	logger.to_stderr = to_stderr;
	logger.most = most;
	logger.journal = to_stderr && is_journal(STDERR_FILENO);
	if (!to_stderr)
		openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void
log_ident(const char *ident)
{
	logger.ident = ident;
	if (!logger.to_stderr)
		openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void
log_level_set(enum log_level most)
{
	logger.most = most;
}

int
log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	return -1;
}

static void
to_stderr(enum log_level level, const char *text)
{
	int64_t now = clock_wall_ms();
	time_t sec = (time_t)(now / 1000);
	char line[LOG_LINE + 128], stamp[32];
	struct tm tm;
	int n;

	gmtime_r(&sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	/* The journal has the time, and takes the level off the line: sd-daemon(3). */
	if (logger.journal)
		n = snprintf(line, sizeof(line), "<%d>%s[%d]: %s\n", prio[level], logger.ident,
		    (int)getpid(), text);
	else
		n = snprintf(line, sizeof(line), "%s.%03dZ %s[%d] %s: %s\n", stamp,
		    (int)(now % 1000), logger.ident, (int)getpid(), level_names[level], text);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* One write, so that lines of several processes do not mix.  A full or closed
	 * stderr must not stop a daemon: the result is of no use. */
	if (write(STDERR_FILENO, line, (size_t)n) == -1)
		return;
}

static void __attribute__((format(printf, 3, 0)))
emit(enum log_level level, int with_errno, const char *fmt, va_list ap)
{
	int saved = errno;
	char text[LOG_LINE], reason[128];
	size_t len;

	if (level > logger.most)
		return;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	len = strlen(text);
	if (with_errno != 0)
		snprintf(text + len, sizeof(text) - len, ": %s",
		    strerror_r(with_errno, reason, sizeof(reason)));
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (logger.to_stderr)
		to_stderr(level, text);
	else
		syslog(prio[level], "%s", text);
	errno = saved;
}

void
log_err(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_LEVEL_ERR, 0, fmt, ap);
	va_end(ap);
}

void
log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_LEVEL_WARN, errno, fmt, ap);
	va_end(ap);
}

void
log_warnx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_LEVEL_WARN, 0, fmt, ap);
	va_end(ap);
}

void
log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_LEVEL_INFO, 0, fmt, ap);
	va_end(ap);
}

void
log_debug(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_LEVEL_DEBUG, 0, fmt, ap);
	va_end(ap);
}

void
log_fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_LEVEL_ERR, 0, fmt, ap);
	va_end(ap);
	exit(1);
}

const char *
log_safe_span(struct span in)
{
	/* Per thread: writer and password threads log as well. */
	static _Thread_local char bufs[SAFE_BUFS][SAFE_MAX + 4];
	static _Thread_local unsigned next;
	static const char digits[] = "0123456789abcdef";
	char *buf = bufs[next++ % SAFE_BUFS];
	size_t o = 0, i;

	for (i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];
		bool plain = c >= ' ' && c < 0x7f;

		if (o + (plain ? 1 : 4) > SAFE_MAX - 3)
			break;
		if (plain) {
			buf[o++] = (char)c;
			continue;
		}
		buf[o++] = '\\';
		buf[o++] = 'x';
		buf[o++] = digits[c >> 4];
		buf[o++] = digits[c & 15];
	}
	if (i < in.len) {
		memcpy(buf + o, "...", 3);
		o += 3;
	}
	buf[o] = '\0';
	return buf;
}

const char *
log_safe(const char *s)
{
	return s == NULL ? "(null)" : log_safe_span((struct span){ s, strnlen(s, SAFE_MAX + 1) });
}

bool
log_rate_ok(struct log_rate *r, int every_ms, unsigned long *held)
{
	long long now = clock_ms();

	if (r->last_ms != 0 && now - r->last_ms < every_ms) {
		r->held++;
		return false;
	}
	r->last_ms = now;
	*held = r->held;
	r->held = 0;
	return true;
}
