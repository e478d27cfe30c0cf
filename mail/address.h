/* address.h - mail addresses as they stand in SMTP envelopes (RFC 5321 4.1.2).
 * Pure parsers over spans; nothing is allocated. */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include <stdbool.h>

#include "span.h"

#define ADDRESS_LOCAL_MAX 64
#define ADDRESS_DOMAIN_MAX 255
#define ADDRESS_MAX (ADDRESS_LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX)

/* "<a@b>", "<@x,@y:a@b>" (the route is thrown away), and where null is true "<>"
 * (gives ""), where bare is true "<postmaster>".  *rest is what follows.  PARSE_MORE
 * never happens: the whole line is there. */
enum parse address_path(struct span in, bool null, bool bare, char out[ADDRESS_MAX + 1],
    struct span *rest);
/* The whole span is local@domain, as mailctl and the directory take it. */
enum parse address_mailbox(struct span in, char out[ADDRESS_MAX + 1]);
/* The whole span is a host name: letters, digits, '-', '_', '.'. */
bool address_domain_ok(struct span);
/* Lower case of the whole address in place: the directory knows no other. */
void address_fold(char *);

#endif
