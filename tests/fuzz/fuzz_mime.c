/* fuzz_mime.c - a message: its structure, what FETCH says of it, and its text. */
#include <stdlib.h>
#include <event2/buffer.h>

#include "imap_body.h"
#include "mime.h"
#include "mime_text.h"
#include "replay.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct evbuffer *out = evbuffer_new();
	struct text_match match;
	struct mime_field f;
	struct mime m;

	mime_parse(&m, text);
	imap_put_envelope(out, mime_head_of(text));
	imap_put_body(out, &m, true);
	text_match_init(&match, "needle");
	for (size_t i = 0; i < m.n; i++) {
		for (size_t pos = 0; mime_field_next(m.part[i].head, &pos, &f);)
			free(text_header(f.value));
		text_body(&m.part[i], &match);
		text_match_end(&match);
	}
	text_match_clear(&match);
	mime_clear(&m);
	evbuffer_free(out);
	return 0;
}
