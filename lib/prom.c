/* prom.c - writes Prometheus' text format (see prom.h).  Cannot fail but for memory,
 * which is fatal everywhere. */
#include <event2/buffer.h>
#include <math.h>
#include <string.h>

#include "prom.h"

/* Label values escape the quote as well, help texts must not. */
static void
add_escaped(struct evbuffer *out, const char *s, const char *special)
{
	for (; *s != '\0'; s++) {
		if (strchr(special, *s) != NULL)
			evbuffer_add(out, "\\", 1);
		evbuffer_add(out, *s == '\n' ? "n" : s, 1);
	}
}

static void
add_label(struct evbuffer *out, const char *name, const char *value, size_t *n)
{
	evbuffer_add_printf(out, "%s%s=\"", (*n)++ == 0 ? "{" : ",", name);
	add_escaped(out, value, "\\\"\n");
	evbuffer_add(out, "\"", 1);
}

static void
add_value(struct evbuffer *out, double v)
{
	if (isnan(v))
		evbuffer_add_printf(out, " NaN\n");
	else if (isinf(v))
		evbuffer_add_printf(out, " %cInf\n", v < 0 ? '-' : '+');
	else
		evbuffer_add_printf(out, " %.15g\n", v);
}

/* le: the label of a bucket, or NULL. */
static void
add_line(struct evbuffer *out, const char *name, const char *suffix,
    const struct prom_label *labels, const char *le, double value)
{
	size_t n = 0;

	evbuffer_add_printf(out, "%s%s", name, suffix);
	for (; labels != NULL && labels->name != NULL; labels++)
		add_label(out, labels->name, labels->value, &n);
	if (le != NULL)
		add_label(out, "le", le, &n);
	if (n > 0)
		evbuffer_add(out, "}", 1);
	add_value(out, value);
}

void
prom_family(struct evbuffer *out, const char *name, enum prom_type type, const char *help)
{
	static const char *const types[] = { "gauge", "counter", "histogram" };

	evbuffer_add_printf(out, "# HELP %s ", name);
	add_escaped(out, help, "\\\n");
	evbuffer_add_printf(out, "\n# TYPE %s %s\n", name, types[type]);
}

void
prom_sample(struct evbuffer *out, const char *name, const struct prom_label *labels, double value)
{
	add_line(out, name, "", labels, NULL, value);
}

void
prom_histogram(struct evbuffer *out, const char *name, const struct prom_label *labels,
    const double bounds[], const uint64_t counts[], size_t n, double sum)
{
	uint64_t upto = 0;
	char le[40];

	for (size_t i = 0; i < n; i++) {
		upto += counts[i];
		evutil_snprintf(le, sizeof(le), "%.15g", bounds[i]);
		add_line(out, name, "_bucket", labels, le, (double)upto);
	}
	upto += counts[n];
	add_line(out, name, "_bucket", labels, "+Inf", (double)upto);
	add_line(out, name, "_sum", labels, NULL, sum);
	add_line(out, name, "_count", labels, NULL, (double)upto);
}
