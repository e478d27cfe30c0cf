/* fuzz_address.c - addresses of a header field, and mailbox names there and back. */
#include <assert.h>
#include <string.h>

#include "envelope.h"
#include "mutf7.h"
#include "replay.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = { (const char *)data, size };
	char utf8[1001], wire[3001];
	struct address_parser p;
	struct address a;

	address_init(&p, in);
	for (size_t n = 0; address_next(&p, &a); n++)
		assert(n <= size + 1);		/* each takes at least a byte */
	address_clear(&p);
	if (mutf7_decode(in, utf8, sizeof(utf8)) == 0) {
		assert(mutf7_encode(utf8, wire, sizeof(wire)) == 0);
		assert(strlen(wire) == size && memcmp(wire, data, size) == 0);
	}
	return 0;
}
