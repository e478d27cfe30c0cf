/* conf_proof.h - the watchdog section of hagent.conf.  For hagent_conf.c. */
#ifndef HAGENT_CONF_PROOF_H
#define HAGENT_CONF_PROOF_H

#include "conf.h"
#include "hagent_conf.h"

/* Needs the times.  Mistakes are printed with their line. */
void conf_proof_read(struct hagent_conf *, cfg_t *);
void conf_proof_free(struct hagent_conf *);

#endif
