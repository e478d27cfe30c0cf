/* prom.h - Prometheus' text format, version 0.0.4: families, samples, histograms.
 * Names are ours and must be well formed; label values and help texts may hold
 * anything and are escaped. */
#ifndef LIB_PROM_H
#define LIB_PROM_H

#include <stddef.h>
#include <stdint.h>

struct evbuffer;

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum prom_type { PROM_GAUGE, PROM_COUNTER, PROM_HISTOGRAM };

/* A list of them ends with a NULL name; NULL instead of a list: no labels. */
struct prom_label {
	const char *name, *value;
};

/* Begins a family: its samples follow, and no other family between them. */
void prom_family(struct evbuffer *, const char *name, enum prom_type, const char *help);
void prom_sample(struct evbuffer *, const char *name, const struct prom_label *, double value);
/* n buckets, each with its upper bound; counts are of the bucket alone, and count[n] is
 * what lies above all bounds. */
void prom_histogram(struct evbuffer *, const char *name, const struct prom_label *,
    const double bounds[], const uint64_t counts[], size_t n, double sum);

#endif
