/* span.h - a borrowed run of bytes, and the three answers of every parser.
 * A span owns nothing and is not NUL-terminated; it is valid as long as the
 * buffer that it points into is neither changed nor freed. */
#ifndef LIB_SPAN_H
#define LIB_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	const char *p;
	size_t len;
};

/* PARSE_MORE: the input so far is a proper prefix of something valid. */
enum parse { PARSE_OK, PARSE_MORE, PARSE_BAD };

#define SPAN(lit) ((struct span){ (lit), sizeof(lit) - 1 })

struct span span_of(const char *s);		/* NULL gives the empty span */
bool span_eq(struct span, struct span);
bool span_is(struct span, const char *);	/* equal to a C string */
bool span_iequal(struct span, struct span);	/* ASCII case ignored */
bool span_is_nocase(struct span, const char *);
bool span_starts_nocase(struct span, const char *prefix);
struct span span_trim(struct span);		/* SP and TAB at both ends */
/* Decimal digits only, no sign, no overflow past max; the whole span. */
enum parse span_u64(struct span, uint64_t max, uint64_t *out);
/* Cuts the first token up to sep off *rest; false at the end. */
bool span_cut(struct span *rest, char sep, struct span *token);
/* A NUL-terminated copy; the caller frees it. */
char *span_dup(struct span);
/* Copies into dst[size], NUL-terminated; -1 and EMSGSIZE when it is too long. */
int span_copy(struct span, char *dst, size_t size);

#endif
