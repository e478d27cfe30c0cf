/* config_digest.c - the digest that each node tells the other in its frames.
 *
 * Read by the executor: maild.conf need not be readable by others than root.  It
 * proves nothing to a stranger (the frame's MAC does that), so 32 bits are enough to
 * tell that somebody changed one node and forgot the other. */
#include "config_digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "hagent_conf.h"
#include "hex.h"
#include "mem.h"
#include "wire.h"

#define FILE_MAX (1u << 20)

static const char *const files[] = { "syncd.conf", "maild.conf" };

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
config_digest(const struct hagent_conf *c, uint32_t *digest, const char **file)
{
	const char *slash = strrchr(c->path, '/');
	int dir_len = slash == NULL ? 0 : (int)(slash + 1 - c->path);
	uint8_t sums[8 + 2 * 32], all[32];

	wire_store64(sums, c->hash);
	for (size_t i = 0; i < 2; i++) {
		if (file_sum(c->path, dir_len, files[i], sums + 8 + i * 32) == -1) {
			*file = files[i];
			return -1;
		}
	}
	sha256(sums, sizeof(sums), all);
	*digest = wire_load32(all);
	return 0;
}
