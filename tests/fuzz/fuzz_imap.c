/* fuzz_imap.c - commands of IMAP: assembled from bytes, then taken as FETCH, SEARCH,
 * STORE and APPEND arguments.  The first byte chooses the size of the pieces. */
#include "imap_fetch.h"
#include "imap_input.h"
#include "imap_parse.h"
#include "imap_search.h"
#include "replay.h"

static void
take_apart(struct span text, struct arena *arena)
{
	struct imap_cur c;
	struct imap_append append;
	struct imap_fetch fetch;
	struct imap_flags flags;
	struct imap_set set;
	struct search_node *node;
	struct span word;
	int64_t n;

	imap_cur_init(&c, text, arena);
	imap_get_append(&c, &append);
	imap_cur_init(&c, text, arena);
	imap_get_fetch(&c, &fetch);
	imap_cur_init(&c, text, arena);
	imap_get_search(&c, &node);
	imap_cur_init(&c, text, arena);
	imap_get_flags(&c, true, &flags);
	imap_cur_init(&c, text, arena);
	imap_get_set(&c, &set);
	imap_cur_init(&c, text, arena);
	imap_get_datetime(&c, &n);
	imap_cur_init(&c, text, arena);
	while (imap_get_astring(&c, &word) == PARSE_OK && imap_get_char(&c, ' ') == PARSE_OK)
		;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imap_input in;
	struct arena arena;
	size_t piece, used, n;
	enum imap_in rc;

	if (size == 0)
		return 0;
	piece = (size_t)data[0] + 1;
	arena_init(&arena, 1 << 20);
	imap_input_init(&in, 4096);
	for (size_t at = 1; at < size; at += used) {
		n = size - at < piece ? size - at : piece;
		rc = imap_input_feed(&in, (const char *)data + at, n, &used);
		if (rc == IMAP_IN_LITERAL && in.size <= 65536)
			imap_input_take(&in);
		else if (rc == IMAP_IN_LITERAL)
			imap_input_skip(&in);
		else if (rc != IMAP_IN_MORE) {
			take_apart(imap_input_text(&in), &arena);
			arena_clear(&arena);
			imap_input_next(&in);
		}
	}
	imap_input_clear(&in);
	arena_clear(&arena);
	return 0;
}
