/* mailctl_io.h - what mailctl prints and reads: parts of answers as text, passwords,
 * CSV lines. */
#ifndef MAIL_MAILCTL_IO_H
#define MAIL_MAILCTL_IO_H

#include <stdbool.h>
#include <stdio.h>
#include <jansson.h>

void mailctl_print(json_t *part, bool json);
/* The last line of an answer: what it holds beside exit, error, why and hint. */
void mailctl_print_last(json_t *last, bool json);
/* One line of stdin, or asked twice at the terminal without echo.  -1 after an error
 * message. */
int mailctl_password(bool from_stdin, char *out, size_t size);
/* The next "address,password" line as an array of two strings; *user is NULL when the
 * line is malformed; false at the end.  Quotes as in RFC 4180; empty lines and a
 * heading "address,password" are skipped. */
bool mailctl_csv(FILE *, int *line, json_t **user);

#endif
