/* conf_proof.h - the fence and watchdog sections of hagent.conf.  For hagent_conf.c. */
#ifndef HAGENT_CONF_PROOF_H
#define HAGENT_CONF_PROOF_H

#include "conf.h"
#include "hagent_conf.h"

extern const char *const conf_proof_actions[];	/* words of "action", NULL at the end */

/* Needs the nodes and the times.  Mistakes are printed with their line. */
void conf_proof_read(struct hagent_conf *, cfg_t *);
void conf_proof_free(struct hagent_conf *);
void conf_proof_wipe_file(cfg_t *);	/* the arguments of fence devices, before cfg_free() */
/* See hagent_conf.h. */
size_t conf_proof_secrets(const struct hagent_conf *, struct span *, size_t max);
void conf_proof_wipe(struct hagent_conf *);

#endif
