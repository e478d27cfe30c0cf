/* conf.h - reading a libconfuse file with errors that name file and line.
 * Only *_conf.c files include this header (and confuse.h with it). */
#ifndef LIB_CONF_H
#define LIB_CONF_H

#include <confuse.h>
#include <stdint.h>

/* Reads path into a new cfg_t.  Anything wrong (no file, unknown option, bad
 * value, a validator's cfg_error) is printed to stderr as
 *   ERROR path:line: text
 * and gives NULL; the caller exits 19 (CTL_BAD_CONFIG).  opts must outlive it. */
cfg_t *conf_load(const char *path, cfg_opt_t *opts);
/* The same with validators that run while the file is read, so that their errors name
 * the line; the table ends with a NULL name.  In a section: "link|port". */
struct conf_check { const char *name; int (*check)(cfg_t *, cfg_opt_t *); };
cfg_t *conf_load_checked(const char *path, cfg_opt_t *opts, const struct conf_check *checks);
/* For checks that span options, after conf_load(): prints ERROR path: text, or
 * path:line: when line is not 0; counts; conf_failed() tells. */
void conf_error(const char *path, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int conf_failed(void);		/* errors printed so far in this process */
/* The line on which the file itself first gives this option a value, in whatever
 * section; 0: it does not. */
int conf_option_line(const char *path, const char *name);
/* The line on which a section or option was given; 0 when unknown. */
int conf_line(cfg_t *sec);

/* Validators: a number above 0, an absolute path or "", an address, a port. */
int conf_check_positive(cfg_t *, cfg_opt_t *);
int conf_check_abspath(cfg_t *, cfg_opt_t *);
int conf_check_ip(cfg_t *, cfg_opt_t *);
int conf_check_port(cfg_t *, cfg_opt_t *);
/* What validators with a table of their own say with: a number from min to max, one of
 * the words (the list ends with NULL). */
int conf_check_range(cfg_t *, cfg_opt_t *, long min, long max);
int conf_check_words(cfg_t *, cfg_opt_t *, const char *const *words);
/* Which of the words; -1: none. */
int conf_word(const char *const *words, const char *word);
/* A size such as "64M", "4G", "100k" (powers of 1024), or plain bytes; -1, EINVAL. */
int conf_size(const char *text, uint64_t *bytes);

#endif
