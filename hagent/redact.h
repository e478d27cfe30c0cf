/* redact.h - takes secrets out of a text that leaves the machine.  Pure.
 *
 * Taken out are: runs of 32 or more hexadecimal digits (but not behind "sha256:", which
 * names a certificate), the inside of PEM private keys, values of options and arguments
 * whose name speaks of a password, secret, token or community, and every argument of a
 * fence section.  Rather too much than too little; the rest of the line stays. */
#ifndef HAGENT_REDACT_H
#define HAGENT_REDACT_H

#include <stdio.h>

#include "span.h"

void redact(struct span text, FILE *out);

#endif
