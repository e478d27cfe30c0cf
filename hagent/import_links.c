/* import_links.c - heartbeat media of ha.cf.  Heartbeat found the other node by
 * broadcasting; our links name the address of both nodes, which come from ucast lines,
 * from --address, or from the interface here. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "import_int.h"

static struct import_link *
add_link(struct import *im, const char *how, const char *device, int line)
{
	struct import_link *l = &im->links[im->nlinks];

	if (im->nlinks == HAGENT_LINKS_MAX) {
		import_note(im, IMPORT_WARN, IMPORT_HA_CF, line,
		    "%s %s left out: at most %d "
		    "links",
		    how, device, HAGENT_LINKS_MAX);
		return NULL;
	}
	memset(l, 0, sizeof(*l));
	l->line = line;
	(void)import_copy(l->how, sizeof(l->how), how);
	(void)import_copy(l->device, sizeof(l->device), device);
	im->nlinks++;
	return l;
}

static bool
is_device(const char *s)
{
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			 "-_./:@") == strlen(s);
}

/* Section names are unique: eth1, eth1-2, ... */
static void
name_link(struct import *im, struct import_link *l)
{
	const char *base = strrchr(l->device, '/');
	unsigned again = 1;

	base = base == NULL ? l->device : base + 1;
	snprintf(l->name, sizeof(l->name), "%.24s", base);
	for (unsigned i = 0; &im->links[i] != l;)
		if (strcmp(im->links[i].name, l->name) != 0) {
			i++;
		} else {
			snprintf(l->name, sizeof(l->name), "%.24s-%u", base, ++again);
			i = 0;
		}
}

/* The other line of the same medium; Heartbeat wants a ucast line for each node. */
static struct import_link *
ucast_of(struct import *im, const char *device)
{
	for (unsigned i = 0; i < im->nlinks; i++)
		if (strcmp(im->links[i].how, "ucast") == 0 &&
		    strcmp(im->links[i].device, device) == 0 && im->links[i].ntold == 1)
			return &im->links[i];
	return NULL;
}

void
import_link_udp(struct import *im, const char *how, const char *device, int line,
    uint16_t port, const char *told)
{
	struct import_link *l;

	if (strlen(device) > 15 || !is_device(device) || device[0] == '/') {
		import_note(im, IMPORT_ERROR, IMPORT_HA_CF, line,
		    "%s: expected an interface, "
		    "not \"%s\"",
		    how, device);
		return;
	}
	l = told == NULL ? NULL : ucast_of(im, device);
	if (l == NULL) {
		l = add_link(im, how, device, line);
		if (l == NULL)
			return;
		name_link(im, l);
		l->port = port;
	}
	if (told != NULL)
		(void)import_copy(l->told[l->ntold++], sizeof(l->told[0]), told);
}

void
import_link_serial(struct import *im, const char *device, int line)
{
	struct import_link *l;

	if (device[0] != '/' || strlen(device) >= sizeof(l->device) ||
	    !is_device(device)) {
		import_note(im, IMPORT_ERROR, IMPORT_HA_CF, line,
		    "serial: expected a device such "
		    "as /dev/ttyS0, not \"%s\"",
		    device);
		return;
	}
	l = add_link(im, "serial", device, line);
	if (l != NULL) {
		l->serial = true;
		name_link(im, l);
	}
}

/* ---- whose address is which --------------------------------------------------- */

static int
node_of(const struct import *im, const char *name)
{
	for (int i = 0; i < (int)im->nnodes; i++)
		if (strcmp(im->node[i], name) == 0)
			return i;
	return -1;
}

static const struct import_net *
net_on(const struct import_env *env, const char *interface, int family)
{
	int f;

	for (size_t i = 0; i < env->nnets; i++)
		if (strcmp(env->nets[i].interface, interface) == 0 &&
		    import_is_address(env->nets[i].address, &f) &&
		    (family == 0 || f == family))
			return &env->nets[i];
	return NULL;
}

static bool
is_ours(const struct import_env *env, const char *address)
{
	for (size_t i = 0; i < env->nnets; i++)
		if (strcmp(env->nets[i].address, address) == 0)
			return true;
	return false;
}

/* --address without an interface belongs to the link whose network it is in, or to
 * the only one. */
static bool
given_fits(
    const struct import *im, const struct import_given *g, const struct import_link *l)
{
	const struct import_net *net;
	unsigned udp = 0;

	if (g->interface[0] != '\0')
		return strcmp(g->interface, l->device) == 0;
	for (unsigned i = 0; i < im->nlinks; i++)
		udp += !im->links[i].serial;
	net = import_net_of(im->env, g->address);
	return udp == 1 || (net != NULL && strcmp(net->interface, l->device) == 0);
}

static void
take_given(struct import *im, struct import_link *l)
{
	for (size_t i = 0; i < im->env->ngiven; i++) {
		const struct import_given *g = &im->env->given[i];
		int node = node_of(im, g->node);

		if (node != -1 && l->address[node][0] == '\0' && given_fits(im, g, l))
			(void)import_copy(
			    l->address[node], sizeof(l->address[0]), g->address);
	}
}

/* ucast lines say addresses and not whose they are: ours is on an interface here, the
 * other one is the other node's. */
static void
take_told(struct import *im, struct import_link *l, int self)
{
	for (unsigned i = 0; self != -1 && i < l->ntold; i++) {
		int node = is_ours(im->env, l->told[i]) ? self : 1 - self;

		if (l->address[node][0] == '\0')
			(void)import_copy(
			    l->address[node], sizeof(l->address[0]), l->told[i]);
	}
	/* On a third machine: what --address leaves over. */
	for (unsigned i = 0; i < l->ntold; i++)
		for (int node = 0; node < 2; node++)
			if (l->address[node][0] == '\0' &&
			    l->address[1 - node][0] != '\0' &&
			    strcmp(l->address[1 - node], l->told[i]) != 0)
				(void)import_copy(
				    l->address[node], sizeof(l->address[0]), l->told[i]);
}

static void
take_interface(struct import *im, struct import_link *l, int self)
{
	const struct import_net *net;
	int family = 0;

	if (self == -1 || l->address[self][0] != '\0')
		return;
	(void)import_is_address(l->address[1 - self], &family);
	net = net_on(im->env, l->device, family);
	if (net != NULL)
		(void)import_copy(l->address[self], sizeof(l->address[0]), net->address);
}

static void
ask_for_address(struct import *im, const struct import_link *l, int node)
{
	import_note(im, IMPORT_ERROR, IMPORT_HA_CF, l->line,
	    "%s %s: the address of %s on %s is "
	    "not known: give --address %s:%s=ADDRESS",
	    l->how, l->device, im->node[node], l->device, im->node[node], l->device);
}

void
import_find_links(struct import *im)
{
	int self = node_of(im, im->env->node);

	if (im->nnodes != 2)
		return;
	for (unsigned i = 0; i < im->nlinks; i++) {
		struct import_link *l = &im->links[i];

		if (l->serial)
			continue;
		take_given(im, l);
		take_told(im, l, self);
		take_interface(im, l, self);
		for (int node = 0; node < 2; node++)
			if (l->address[node][0] == '\0')
				ask_for_address(im, l, node);
	}
	if (im->nlinks == 0)
		import_note(im, IMPORT_ERROR, IMPORT_HA_CF, 0,
		    "no bcast, mcast, ucast or serial: "
		    "a pair needs a link");
}
