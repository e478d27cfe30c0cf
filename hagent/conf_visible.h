/* conf_visible.h - metrics, notify and events of hagent.conf.  For hagent_conf.c. */
#ifndef HAGENT_CONF_VISIBLE_H
#define HAGENT_CONF_VISIBLE_H

#include "conf.h"
#include "hagent_conf.h"

/* Mistakes are printed with their line. */
void conf_visible_read(struct hagent_conf *, cfg_t *);
void conf_visible_free(struct hagent_conf *);

#endif
