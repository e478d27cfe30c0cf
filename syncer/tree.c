/* tree.c - entries and paths of a tree: the part without file system.
 *
 * Pure: encoding, decoding (hostile input: the peer's list), comparing, the order of
 * a walk and the rule for which paths may be named.  Walking is in tree_walk.c. */
#include "tree.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "mem.h"

const char *
tree_type_name(enum tree_type t)
{
	static const char *const names[] = { "nothing", "directory", "file",
		"symbolic link", "hard link", "fifo", "socket", "character device",
		"block device" };

	return t <= TREE_BLK ? names[t] : "unknown";
}

void
tree_entry_clear(struct tree_entry *e)
{
	free(e->path);
	free(e->target);
	free(e->xattrs);
	memset(e, 0, sizeof(*e));
}

void
tree_entry_put(struct wire_out *w, const struct tree_entry *e)
{
	wire_put_u8(w, e->type);
	wire_put_u16(w, e->mode);
	wire_put_u32(w, e->uid);
	wire_put_u32(w, e->gid);
	wire_put_u64(w, e->size);
	wire_put_u64(w, (uint64_t)e->mtime_s);
	wire_put_u32(w, e->mtime_ns);
	wire_put_u32(w, e->major);
	wire_put_u32(w, e->minor);
	wire_put_str(w, e->path);
	wire_put_str(w, e->target);
	wire_put_bytes(w, e->xattrs, e->xattrs_len);
}

/* Whatever a peer sends as attributes is walked once here, so that everybody behind
 * can rely on its form. */
static bool
xattrs_ok(struct span x)
{
	struct wire_in in;
	struct span name;

	wire_in_init(&in, x.p, x.len);
	while (in.left > 0) {
		name = wire_get_span16(&in);
		wire_get_bytes(&in);
		if (!wire_in_ok(&in) || name.len == 0 || name.len > 255 ||
		    memchr(name.p, 0, name.len) != NULL)
			return false;
	}
	return x.len <= TREE_XATTRS_MAX;
}

static bool
entry_ok(const struct tree_entry *e)
{
	bool linked = e->type == TREE_SYMLINK || e->type == TREE_LINK;

	if (e->type < TREE_DIR || e->type > TREE_BLK || e->mode > 07777 ||
	    e->mtime_ns >= 1000000000)
		return false;
	if (linked != (e->target != NULL))
		return false;
	if (e->type == TREE_LINK && (!tree_path_ok(e->target) ||
	    tree_path_cmp(e->target, e->path) >= 0))
		return false;
	if (e->path[0] == '\0')
		return e->type == TREE_DIR;
	return tree_path_ok(e->path);
}

int
tree_entry_get(struct wire_in *in, struct tree_entry *out)
{
	char path[TREE_PATH_MAX], target[TREE_PATH_MAX];	/* not zeroed: it is felt */
	struct tree_entry e = { 0 };
	struct span x;

	path[0] = target[0] = '\0';
	e.type = wire_get_u8(in);
	e.mode = wire_get_u16(in);
	e.uid = wire_get_u32(in);
	e.gid = wire_get_u32(in);
	e.size = wire_get_u64(in);
	e.mtime_s = (int64_t)wire_get_u64(in);
	e.mtime_ns = wire_get_u32(in);
	e.major = wire_get_u32(in);
	e.minor = wire_get_u32(in);
	wire_get_str(in, path, sizeof(path));
	wire_get_str(in, target, sizeof(target));
	x = wire_get_bytes(in);
	e.path = path;
	e.target = target[0] != '\0' ? target : NULL;
	if (!wire_in_ok(in) || !entry_ok(&e) || !xattrs_ok(x)) {
		errno = EBADMSG;
		return -1;
	}
	*out = e;
	out->path = mem_dup(path);
	out->target = mem_dup(e.target);
	out->xattrs_len = x.len;
	out->xattrs = x.len > 0 ? mem_copy(x.p, x.len) : NULL;
	return 0;
}

bool
tree_meta_same(const struct tree_entry *a, const struct tree_entry *b)
{
	if (a->uid != b->uid || a->gid != b->gid || a->mtime_s != b->mtime_s ||
	    a->mtime_ns != b->mtime_ns)
		return false;
	if (a->type != TREE_SYMLINK && a->mode != b->mode)
		return false;		/* a symbolic link's mode means nothing */
	return a->xattrs_len == b->xattrs_len && (a->xattrs_len == 0 ||
	    memcmp(a->xattrs, b->xattrs, a->xattrs_len) == 0);
}

void
tree_entry_digest(const struct tree_entry *e, uint8_t sha[32])
{
	struct wire_out w;

	wire_out_init(&w);
	tree_entry_put(&w, e);
	sha256(w.p, w.len, sha);
	wire_out_clear(&w);
}

int
tree_path_cmp(const char *a, const char *b)
{
	unsigned x, y;

	while (*a == *b && *a != '\0') {
		a++;
		b++;
	}
	x = *a == '/' ? 1 : *a == '\0' ? 0 : (unsigned)(unsigned char)*a + 1;
	y = *b == '/' ? 1 : *b == '\0' ? 0 : (unsigned)(unsigned char)*b + 1;
	return x < y ? -1 : x > y;
}

bool
tree_path_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 0)
		return path[0] != '\0';
	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static bool
part_ok(const char *part, size_t n)
{
	if (n == 0 || n > 255)
		return false;
	if (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.')))
		return false;
	return strncmp(part, TREE_TMP_PREFIX, sizeof(TREE_TMP_PREFIX) - 1) != 0;
}

bool
tree_path_ok(const char *path)
{
	unsigned depth = 0;
	const char *p = path;
	size_t n;

	if (strlen(path) >= TREE_PATH_MAX)
		return false;
	for (;; p += n + 1) {
		n = strcspn(p, "/");
		if (!part_ok(p, n) || ++depth > TREE_DEPTH_MAX)
			return false;
		if (depth == 1 && n == sizeof(TREE_HOLD_NAME) - 1 &&
		    memcmp(p, TREE_HOLD_NAME, n) == 0)
			return false;
		if (p[n] == '\0')
			return true;
	}
}

static bool
matches(const char *path, const char *pattern)
{
	const char *last = strrchr(path, '/');

	if (strchr(pattern, '/') != NULL)
		return fnmatch(pattern + (pattern[0] == '/'), path, FNM_PATHNAME) == 0;
	return fnmatch(pattern, last != NULL ? last + 1 : path, 0) == 0;
}

/* This path alone, whatever is above it. */
static bool
left_out(const char *path, char *const *patterns, size_t n)
{
	while (n-- > 0)
		if (matches(path, patterns[n] + (patterns[n][0] == '!')))
			return patterns[n][0] != '!';
	return false;
}

bool
tree_excluded(const char *path, char *const *patterns, size_t n)
{
	char upto[TREE_PATH_MAX];
	size_t len = strlen(path);

	if (n == 0 || len >= sizeof(upto))
		return n != 0;
	memcpy(upto, path, len + 1);
	for (;;) {
		char *slash;

		if (left_out(upto, patterns, n))
			return true;
		if ((slash = strrchr(upto, '/')) == NULL)
			return false;
		*slash = '\0';
	}
}
