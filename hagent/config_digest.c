/* config_digest.c - the digest that each node tells the other in its frames.
 *
 * Read by the executor: maild.conf need not be readable by others than root.  It
 * proves nothing to a stranger (the frame's MAC does that), so 32 bits are enough to
 * tell that somebody changed one node and forgot the other. */
#include "config_digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "hagent_conf.h"
#include "hex.h"
#include "mem.h"
#include "wire.h"

#define FILE_MAX (1u << 20)

static const char *const files[CONFIG_FILES] = { "hagent.conf", "syncd.conf", "maild.conf" };

const char *
config_digest_file(unsigned n)
{
	return files[n];
}

/* A file that is not there gives 32 zeros, which no file does. */
static int
file_sum(const char *dir, int dir_len, const char *name, uint8_t sum[32])
{
	char *path = mem_printf("%.*s%s", dir_len, dir, name), *text;
	size_t len;
	int rc = fs_read(path, FILE_MAX, &text, &len), saved = errno;

	free(path);
	memset(sum, 0, 32);
	if (rc == 0) {
		sha256(text, len, sum);
		free(text);
	}
	errno = saved;
	return rc == -1 && errno != ENOENT ? -1 : 0;
}

int
config_digest(const struct hagent_conf *c, struct config_digest *digest, const char **file)
{
	const char *slash = strrchr(c->path, '/');
	int dir_len = slash == NULL ? 0 : (int)(slash + 1 - c->path);
	uint8_t sums[8 + 2 * 32], sum[32];

	wire_store64(sums, c->hash);
	for (size_t i = 0; i < 2; i++) {
		if (file_sum(c->path, dir_len, files[i + 1], sums + 8 + i * 32) == -1) {
			*file = files[i + 1];
			return -1;
		}
	}
	sha256(sums, 8, sum);
	digest->file[0] = wire_load32(sum);
	digest->file[1] = wire_load32(sums + 8);
	digest->file[2] = wire_load32(sums + 8 + 32);
	sha256(sums, sizeof(sums), sum);
	digest->all = wire_load32(sum);
	return 0;
}

const char *
config_digest_differ(const uint32_t a[CONFIG_FILES], const uint32_t b[CONFIG_FILES], char *buf,
    size_t size)
{
	buf[0] = '\0';
	for (unsigned i = 0; i < CONFIG_FILES; i++) {
		size_t len = strlen(buf);

		if (a[i] != b[i])
			snprintf(buf + len, size - len, "%s%s", len > 0 ? ", " : "", files[i]);
	}
	return buf;
}
