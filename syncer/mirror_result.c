/* mirror_result.c - the result of a pass on the wire, as text and as JSON.  Pure. */
#include "mirror_result.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* One row a number: name in JSON, place in the struct.  The wire has them in this
 * order, so a new one goes to the end and raises MIRROR_PROTOCOL. */
static const struct {
	const char *name;
	size_t at;
} fields[] = {
	{ "entries", offsetof(struct mirror_result, entries) },
	{ "created", offsetof(struct mirror_result, created) },
	{ "changed", offsetof(struct mirror_result, changed) },
	{ "metadata", offsetof(struct mirror_result, meta) },
	{ "deleted", offsetof(struct mirror_result, deleted) },
	{ "bytes_sent", offsetof(struct mirror_result, bytes_sent) },
	{ "literal_bytes", offsetof(struct mirror_result, literal) },
	{ "matched_bytes", offsetof(struct mirror_result, matched) },
	{ "errors", offsetof(struct mirror_result, errors) },
	{ "busy", offsetof(struct mirror_result, busy) },
	{ "unreadable", offsetof(struct mirror_result, unreadable) },
	{ "duration_ms", offsetof(struct mirror_result, duration_ms) },
	{ "moved", offsetof(struct mirror_result, moved) },
	{ "vanished", offsetof(struct mirror_result, vanished) },
	{ "looked_at", offsetof(struct mirror_result, looked) },
	{ "full_walk", offsetof(struct mirror_result, full) },
	{ "dry_run", offsetof(struct mirror_result, dry_run) },
};
#define NFIELDS (sizeof(fields) / sizeof(fields[0]))

static uint64_t
field(const struct mirror_result *r, size_t i)
{
	uint64_t n;

	memcpy(&n, (const char *)r + fields[i].at, sizeof(n));
	return n;
}

void
mirror_result_put(struct wire_out *w, const struct mirror_result *r)
{
	wire_put_u8(w, r->outcome);
	for (size_t i = 0; i < NFIELDS; i++)
		wire_put_u64(w, field(r, i));
	wire_put_str(w, r->error);
	wire_put_str(w, r->why);
	wire_put_str(w, r->hint);
}

int
mirror_result_get(struct wire_in *in, struct mirror_result *out)
{
	struct mirror_result r = { .outcome = wire_get_u8(in) };

	for (size_t i = 0; i < NFIELDS; i++) {
		uint64_t n = wire_get_u64(in);

		memcpy((char *)&r + fields[i].at, &n, sizeof(n));
	}
	wire_get_str(in, r.error, sizeof(r.error));
	wire_get_str(in, r.why, sizeof(r.why));
	wire_get_str(in, r.hint, sizeof(r.hint));
	if (!wire_in_done(in) || r.outcome > MIRROR_FAILED)
		return -1;
	*out = r;
	return 0;
}

void
mirror_result_fail(struct mirror_result *r, enum mirror_outcome outcome, const char *fmt, ...)
{
	va_list ap;

	if (r->outcome != MIRROR_OK)
		return;
	r->outcome = (uint8_t)outcome;
	va_start(ap, fmt);
	(void)vsnprintf(r->error, sizeof(r->error), fmt, ap);
	va_end(ap);
}

void
mirror_result_why(struct mirror_result *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
}

void
mirror_result_hint(struct mirror_result *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r->hint, sizeof(r->hint), fmt, ap);
	va_end(ap);
}

json_t *
mirror_result_json(const struct mirror_result *r, const char *path)
{
	static const char *const names[] = { "ok", "refused", "failed" };
	json_t *j = json_pack("{s:s, s:s}", "path", path, "outcome", names[r->outcome]);

	for (size_t i = 0; i < NFIELDS; i++)
		json_object_set_new(j, fields[i].name, json_integer((json_int_t)field(r, i)));
	if (r->error[0] != '\0')
		json_object_set_new(j, "error", json_string(r->error));
	if (r->why[0] != '\0')
		json_object_set_new(j, "why", json_string(r->why));
	if (r->hint[0] != '\0')
		json_object_set_new(j, "hint", json_string(r->hint));
	return j;
}
