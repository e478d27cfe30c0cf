/* replay.h - what every fuzz target includes.  Linked with libFuzzer its main() wins;
 * without it (gcc) this weak one runs the files that are named, once each. */
#ifndef TESTS_FUZZ_REPLAY_H
#define TESTS_FUZZ_REPLAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
int main(int, char **);

__attribute__((weak)) int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		uint8_t *buf = malloc(1 << 20);
		size_t n = f != NULL ? fread(buf, 1, 1 << 20, f) : 0;
		uint8_t *exact = malloc(n + 1);

		/* in memory of its own size, so that a sanitizer sees each byte too far */
		for (size_t k = 0; k < n; k++)
			exact[k] = buf[k];
		LLVMFuzzerTestOneInput(exact, n);
		free(exact);
		free(buf);
		if (f == NULL)
			return 1;
		fclose(f);
	}
	return 0;
}

#endif
