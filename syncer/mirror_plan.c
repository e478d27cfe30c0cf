/* mirror_plan.c - see mirror_plan.h. */
#include "mirror_plan.h"

#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "mem.h"
#include "tree.h"
#include "tree_plan.h"

static const char *
what_of(uint8_t op)
{
	switch (op) {
	case TREE_OP_CREATE: return "create";
	case TREE_OP_DATA: return "content";
	case TREE_OP_META: return "metadata";
	case TREE_OP_LINK: return "link";
	case TREE_OP_DELETE: return "delete";
	default: return NULL;
	}
}

/* Everything but printable ASCII as \xNN, the backslash too: it can be undone. */
static json_t *
escaped(const char *path)
{
	static const char digits[] = "0123456789abcdef";
	char *text = mem_array(strlen(path) + 1, 4), *to = text;
	json_t *j;

	for (; *path != '\0'; path++) {
		unsigned char c = (unsigned char)*path;

		if (c >= 0x20 && c < 0x7f && c != '\\') {
			*to++ = (char)c;
			continue;
		}
		*to++ = '\\';
		*to++ = 'x';
		*to++ = digits[c >> 4];
		*to++ = digits[c & 15];
	}
	*to = '\0';
	j = json_string(text);
	free(text);
	return j;
}

json_t *
mirror_plan_row(struct wire_in *in, const char *tree)
{
	const char *what = what_of(wire_get_u8(in));
	uint8_t type = wire_get_u8(in);
	char path[TREE_PATH_MAX];
	json_t *j, *text;

	wire_get_str(in, path, sizeof(path));
	if (!wire_in_ok(in) || what == NULL || type < TREE_DIR || type > TREE_BLK)
		return NULL;
	j = json_pack("{s:s, s:s, s:s}", "tree", tree, "what", what, "type",
	    tree_type_name(type));
	if ((text = json_string(path)) == NULL) {
		char *hex = mem_alloc(2 * strlen(path) + 1);

		text = escaped(path);
		json_object_set_new(j, "path_hex",
		    json_string(hex_encode(path, strlen(path), hex)));
		free(hex);
	}
	json_object_set_new(j, "path", text);
	return j;
}
