/* mirror_conf_read.h - the mirror part of syncd.conf, for syncd_conf.c only (it is
 * the one that includes confuse.h).  Put
 *   CFG_SEC("mirror", mirror_conf_opts(), CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES)
 * into the table, and call mirror_conf_read() behind conf_load(). */
#ifndef SYNCER_MIRROR_CONF_READ_H
#define SYNCER_MIRROR_CONF_READ_H

#include "conf.h"
#include "mirror_conf.h"

cfg_opt_t *mirror_conf_opts(void);
/* Copies and checks; what is wrong goes to conf_error() with its line. */
void mirror_conf_read(const char *file, cfg_t *, struct mirror_conf *);

#endif
