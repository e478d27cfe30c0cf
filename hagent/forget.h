/* forget.h - takes secrets out of the memory of this process, wherever they stand. */
#ifndef HAGENT_FORGET_H
#define HAGENT_FORGET_H

#include <stddef.h>

#include "span.h"

/* For a forked child that will talk to strangers: overwrites every whole copy of each
 * secret, but for the bytes that the spans themselves name, which the caller wipes.
 * None of them is empty.  -1 with errno: the kernel does not tell what is mapped. */
int forget(const struct span *secrets, size_t n);

#endif
