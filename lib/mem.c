/* mem.c - allocation that ends the process when there is no memory: its supervisor
 * starts it again, which is tested daily, while a failure path behind each malloc
 * never would be.  All limits on what strangers may make us allocate are elsewhere. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"

void *
mem_alloc(size_t size)
{
	return mem_array(1, size);
}

void *
mem_array(size_t n, size_t size)
{
	/* calloc checks the product; zero bytes still give a pointer to free. */
	void *p = calloc(n == 0 ? 1 : n, size == 0 ? 1 : size);

	if (p == NULL)
		log_fatal("out of memory: %zu times %zu bytes", n, size);
	return p;
}

void *
mem_grow(void *old, size_t n, size_t size)
{
	void *p;

	if (n == 0 || size == 0)
		n = size = 1;
	p = reallocarray(old, n, size);
	if (p == NULL)
		log_fatal("out of memory: %zu times %zu bytes", n, size);
	return p;
}

char *
mem_dup(const char *s)
{
	return s == NULL ? NULL : mem_copy(s, strlen(s));
}

void *
mem_copy(const void *src, size_t len)
{
	char *p;

	if (len == SIZE_MAX)
		log_fatal("out of memory: %zu bytes", len);
	p = malloc(len + 1);
	if (p == NULL)
		log_fatal("out of memory: %zu bytes", len);
	if (len > 0)
		memcpy(p, src, len);
	p[len] = '\0';
	return p;
}

char *
mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n == -1)
		log_fatal("out of memory: a formatted string");
	return s;
}

void
mem_wipe(void *p, size_t len)
{
	if (len > 0)
		explicit_bzero(p, len);
}
