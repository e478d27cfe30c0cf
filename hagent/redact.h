/* redact.h - takes secrets out of a text that leaves the machine.  Pure.
 *
 * Taken out are: runs of 32 or more hexadecimal digits (but not behind "sha256:", which
 * names a certificate), the inside of PEM private keys, the values of options, parameters
 * and arguments whose name speaks of a password (pass, passwd, pwd, ...), secret, key,
 * token, community or credential in whatever case, and every argument of a fence section.
 * A name that ends in "-file" says where a secret is, not what.  Rather too much than too
 * little; lines keep their numbers. */
#ifndef HAGENT_REDACT_H
#define HAGENT_REDACT_H

#include <stdio.h>

#include "span.h"

void redact(struct span text, FILE *out);

#endif
