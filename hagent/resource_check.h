/* resource_check.h - are the parameters of OCF resources what their agents take, and is
 * no unit started by systemd too?
 *
 * Runs the meta-data action of each agent and `systemctl is-enabled` of each unit that
 * the configuration names, one after the other, each at most metadata-timeout-ms; needs
 * no loop and leaves nothing behind. */
#ifndef HAGENT_RESOURCE_CHECK_H
#define HAGENT_RESOURCE_CHECK_H

#include "hagent_conf.h"

/* -1: at least one line "ERROR file:line: text" was printed.  A limit of ours that is
 * shorter than what the agent advises, and a unit that is enabled, is a line
 * "WARN  file:line: text" and no mistake. */
int resource_check(const struct hagent_conf *);

#endif
