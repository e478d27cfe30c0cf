/* conf_respawn.h - the respawn sections of hagent.conf: for hagent_conf.c only, whose
 * option table they stand in. */
#ifndef HAGENT_CONF_RESPAWN_H
#define HAGENT_CONF_RESPAWN_H

#include "conf.h"
#include "hagent_conf.h"

extern const char *const conf_respawn_whens[];

/* Mistakes are printed and counted by conf_error(). */
void conf_respawn_read(struct hagent_conf *, cfg_t *);
void conf_respawn_free(struct hagent_conf *);

#endif
