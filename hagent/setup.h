/* setup.h - six answers become the three configuration files of a new pair.  Pure: texts
 * in, texts out; keys and certificates are made elsewhere and only named here. */
#ifndef HAGENT_SETUP_H
#define HAGENT_SETUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "span.h"

#define SETUP_WORD 128

struct setup {
	char cluster[SETUP_WORD];
	char node[2][65];
	char lan[2][46];	   /* address of each on the clients' network */
	char second_interface[16]; /* "" = no second path */
	char second[2][46];
	char serial[64]; /* "" = no serial line */
	char vip[64], interface[16];
	char ping[46]; /* "" = none */
};

/* The questions, in their order. */
enum setup_question {
	SETUP_CLUSTER,
	SETUP_NODE1,
	SETUP_NODE2,
	SETUP_SECOND,
	SETUP_VIP,
	SETUP_PING,
	SETUP_QUESTIONS
};
const char *setup_name(enum setup_question); /* in an answers file */
const char *setup_text(enum setup_question); /* what is asked, with an example */

/* Takes one answer; NULL, or what was expected. */
const char *setup_answer(struct setup *, enum setup_question, struct span answer);
/* A whole file of lines "name = answer"; # begins a comment.  NULL, or what was expected
 * in *line (0: something is missing). */
const char *setup_answers(struct setup *, struct span text, int *line);
/* Checks what joins the answers. */
const char *setup_check(const struct setup *);

void setup_write_hagent(const struct setup *, FILE *);
void setup_write_syncd(const struct setup *, const char *const pins[2], FILE *);
void setup_write_maild(const struct setup *, FILE *);

#endif
