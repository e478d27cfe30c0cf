/* conf_resource.h - the sections of hagent.conf that say what runs: for hagent_conf.c
 * only, whose option table they stand in. */
#ifndef HAGENT_CONF_RESOURCE_H
#define HAGENT_CONF_RESOURCE_H

#include "conf.h"
#include "hagent_conf.h"

/* No control characters: they would end in arguments, logs and on terminals. */
bool conf_text_clean(const char *);
/* Mistakes are printed and counted by conf_error(). */
void conf_resources_read(struct hagent_conf *, cfg_t *);
void conf_resources_free(struct hagent_conf *);

#endif
