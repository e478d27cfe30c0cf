/* mem.h - allocation that never returns NULL: a daemon without memory is
 * restarted by its supervisor, so running out is fatal and logged. */
#ifndef LIB_MEM_H
#define LIB_MEM_H

#include <stddef.h>

void *mem_alloc(size_t);			/* zeroed */
void *mem_array(size_t n, size_t size);		/* zeroed; n * size is checked */
void *mem_grow(void *, size_t n, size_t size);	/* realloc; new bytes are not zeroed */
char *mem_dup(const char *);			/* NULL gives NULL */
void *mem_copy(const void *, size_t);		/* plus one NUL behind it */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
void mem_wipe(void *, size_t);			/* for secrets; not optimised away */

#endif
