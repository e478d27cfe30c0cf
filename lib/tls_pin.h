/* tls_pin.h - inside lib: what tls.c and tls_pin.c share. */
#ifndef LIB_TLS_PIN_H
#define LIB_TLS_PIN_H

#include "tls.h"

/* The context demands a certificate and takes those of the pins only; pins are copied. */
void tls_pin_require(SSL_CTX *, const struct tls_pin *, size_t n);
/* "what: OpenSSL's last reason" into err[]. */
void tls_explain(char *err, size_t errlen, const char *what);

#endif
