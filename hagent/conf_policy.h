/* conf_policy.h - what hagent.conf says of the decision.  For hagent_conf.c. */
#ifndef HAGENT_CONF_POLICY_H
#define HAGENT_CONF_POLICY_H

#include "conf.h"
#include "hagent_conf.h"

/* Words of options with a fixed choice, in the order of their enums, NULL at the end. */
extern const char *const conf_policy_modes[], *const conf_policy_cold[],
    *const conf_policy_quorum[], *const conf_policy_failback[];

/* Reads mode, quorum, fail-back, damping and ping targets; needs the nodes.  Mistakes
 * are printed. */
void conf_policy_read(struct hagent_conf *, cfg_t *);
/* Has the mode what it proves by?  When everything is read. */
void conf_policy_check(const struct hagent_conf *);

#endif
