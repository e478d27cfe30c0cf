/* conf_links.h - the link sections of hagent.conf.  For hagent_conf.c. */
#ifndef HAGENT_CONF_LINKS_H
#define HAGENT_CONF_LINKS_H

#include "conf.h"
#include "hagent_conf.h"

extern const char *const conf_links_media[];	/* words of "medium", NULL at the end */

/* A literal address into ss with the port; -1 with EINVAL. */
int conf_links_address(const char *text, uint16_t port, struct sockaddr_storage *);
/* Reads every link section; needs the nodes, the cluster's name and the times.  Mistakes
 * are printed with their line. */
void conf_links_read(struct hagent_conf *, cfg_t *);
bool conf_links_corosync(const struct hagent_conf *);	/* there is a link by corosync */
void conf_links_free(struct hagent_conf *);

#endif
