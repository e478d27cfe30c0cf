/* log.h - one line an event, key=value, to syslog or stderr.
 * err = someone must act; warn = degraded, we go on; info = normal event;
 * debug = developers.  Foreign text goes through log_safe() only. */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "span.h"

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* ident is kept, not copied, and heads every line ("maild/store").  to_stderr:
 * lines carry an RFC 3339 UTC time with ms and go to descriptor 2 in one write
 * each, or, when that is systemd's journal, "<N>" with the level instead; else syslog(3), facility mail, opened now so that it works after a chroot. */
void log_init(const char *ident, bool to_stderr, enum log_level most);
void log_ident(const char *ident);
void log_level_set(enum log_level most);
/* 0, or -1 when the name is none of err, warn, info, debug */
int log_level_parse(const char *name, enum log_level *);

void log_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* adds ": " and strerror(errno) when errno is not 0 */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* log_err, then exit(1): for our machine's failures at start and for no memory */
void log_fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* The text bounded to 200 bytes, control and non-ASCII bytes as \xNN; one of
 * eight rotating static buffers, so up to eight may stand in one call. */
const char *log_safe(const char *);
const char *log_safe_span(struct span);

/* True at most once in every_ms for this slot (zero-initialised static): counts
 * what it holds back, and gives that count out through *held when true. */
struct log_rate { long long last_ms; unsigned long held; };
bool log_rate_ok(struct log_rate *, int every_ms, unsigned long *held);

#endif
