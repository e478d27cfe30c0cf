/* gate_tls.h - a new certificate for a gate that runs (it cannot open files). */
#ifndef MAIL_GATE_TLS_H
#define MAIL_GATE_TLS_H

#include <openssl/ssl.h>

#include "wire.h"

/* in: bytes PEM certificate chain, bytes PEM key.  Connections from now on use them;
 * on any mistake everything stays, and a warning is logged. */
void gate_tls_reload(SSL_CTX *, struct wire_in *in);

#endif
