/* ocf_meta.h - what an OCF agent says of itself, read from its XML.
 *
 * A reader, not a judge: names, types and times, bounded, and nothing else of the text
 * is kept.  Entities are refused, nothing outside the text is ever read. */
#ifndef HAGENT_OCF_META_H
#define HAGENT_OCF_META_H

#include <stdbool.h>
#include <stddef.h>

#include "span.h"

#define OCF_PARAMS_MAX 160
#define OCF_NAME_MAX 64

enum ocf_type { OCF_STRING, OCF_INTEGER, OCF_BOOLEAN };

struct ocf_param {
	char name[OCF_NAME_MAX];
	enum ocf_type type; /* what is neither integer nor boolean is a string */
	bool required;
};
struct ocf_meta {
	struct ocf_param params[OCF_PARAMS_MAX];
	size_t nparams;
	int start_ms, stop_ms, monitor_ms; /* advertised; 0 not said */
};

/* -1 with a word on what is wrong: not well-formed, no resource-agent, a name that is
 * empty, too long or there twice, too many of them. */
int ocf_meta_read(struct span xml, struct ocf_meta *, const char **why);
const struct ocf_param *ocf_meta_param(const struct ocf_meta *, struct span name);
bool ocf_value_fits(enum ocf_type, const char *value);
const char *ocf_type_name(enum ocf_type);

#endif
