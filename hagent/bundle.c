/* bundle.c - writes and reads the text of bundle.h.  A bundle that is not whole, or has
 * anything unexpected in it, is refused as a whole. */
#include "bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "mem.h"

#define HEAD "mailpair-join 1"

static bool
good_name(const char *name)
{
	return name[0] != '\0' && name[0] != '/' && strstr(name, "..") == NULL &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz./-") == strlen(name);
}

int
bundle_add(struct bundle *b, const char *name, unsigned mode, char *data, size_t len)
{
	struct bundle_file *f = &b->file[b->n];

	if (b->n == BUNDLE_FILES_MAX || !good_name(name) ||
	    strlen(name) >= sizeof(f->name) || (mode != 0600 && mode != 0644)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(f->name, name, strlen(name) + 1);
	f->mode = mode;
	f->data = data;
	f->len = len;
	b->n++;
	return 0;
}

void
bundle_write(const struct bundle *b, FILE *out)
{
	fprintf(out, HEAD "\nnode %s\n", b->node);
	for (size_t i = 0; i < b->n; i++) {
		const struct bundle_file *f = &b->file[i];
		char *text = mem_alloc(4 * ((f->len + 2) / 3) + 1);
		size_t len = base64_encode(f->data, f->len, text);

		fprintf(out, "file %s %04o %s\n", f->name, f->mode, text);
		mem_wipe(text, len);
		free(text);
	}
	fprintf(out, "end\n");
}

/* "file NAME MODE BASE64", behind "file " */
static bool
read_file(struct bundle *b, struct span rest)
{
	struct span name, mode;
	char text[64], *data;
	size_t len;

	if (!span_cut(&rest, ' ', &name) || !span_cut(&rest, ' ', &mode) ||
	    rest.p == NULL || span_copy(name, text, sizeof(text)) == -1)
		return false;
	data = mem_alloc(rest.len / 4 * 3 + 1);
	if (base64_decode(rest, data, &len) == 0 &&
	    (span_is(mode, "0600") || span_is(mode, "0644")) &&
	    bundle_add(b, text, span_is(mode, "0600") ? 0600 : 0644, data, len) == 0)
		return true;
	free(data);
	return false;
}

static const char *
read_lines(struct span text, struct bundle *b)
{
	struct span line;

	if (!span_cut(&text, '\n', &line) || !span_is(line, HEAD))
		return "it is no bundle of hactl setup";
	if (!span_cut(&text, '\n', &line) || !span_starts_nocase(line, "node ") ||
	    span_copy(
		(struct span){line.p + 5, line.len - 5}, b->node, sizeof(b->node)) == -1)
		return "it names no node";
	while (span_cut(&text, '\n', &line)) {
		if (span_is(line, "end"))
			return text.p != NULL && text.len == 0
				   ? NULL
				   : "something stands behind its end";
		if (!span_starts_nocase(line, "file ") ||
		    !read_file(b, (struct span){line.p + 5, line.len - 5}))
			return "a file in it cannot be read";
	}
	return "its end is missing";
}

const char *
bundle_read(struct span text, struct bundle *out)
{
	struct bundle b = {.n = 0};
	const char *why =
	    text.len > BUNDLE_MAX ? "it is too large" : read_lines(text, &b);

	if (why == NULL)
		*out = b;
	else
		bundle_clear(&b);
	return why;
}

void
bundle_clear(struct bundle *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if (b->file[i].data != NULL)
			mem_wipe(b->file[i].data, b->file[i].len);
		free(b->file[i].data);
	}
	memset(b, 0, sizeof(*b));
}

void
bundle_fingerprint(struct span text, char dst[BUNDLE_PRINT])
{
	unsigned char sum[32];
	char hex[17];

	sha256(text.p, text.len, sum);
	hex_encode(sum, 8, hex);
	snprintf(
	    dst, BUNDLE_PRINT, "%.4s-%.4s-%.4s-%.4s", hex, hex + 4, hex + 8, hex + 12);
}
