/* conf_links.c - reads the link sections and checks each as a whole.
 *
 * What a medium does not use is refused rather than ignored, because an option that
 * does nothing is a mistake of whoever wrote it.  Does not look whether an interface
 * or device is there: both may come later. */
#include "conf_links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "mem.h"

#define GROUP_NAME_MAX 127	/* what a process group may be called */

const char *const conf_links_media[] = { "udp", "serial", "corosync", NULL };

const char *
link_medium_name(enum link_medium m)
{
	return conf_links_media[m];
}

bool
link_echoes(const struct link_conf *l)
{
	return l->group.ss_family != 0 || l->medium == MEDIUM_COROSYNC;
}

const struct sockaddr_storage *
link_probe_address(const struct link_conf *l, unsigned node)
{
	bool known = l->medium == MEDIUM_UDP && l->interface[0] != '\0' &&
	    l->address[node].ss_family != 0;

	return known ? &l->address[node] : NULL;
}

int
conf_links_address(const char *text, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1) {
		memcpy(ss, &in4, sizeof(in4));
		return 0;
	}
	if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
		memcpy(ss, &in6, sizeof(in6));
		return 0;
	}
	errno = EINVAL;
	return -1;
}

static bool
is_multicast(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in4 = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	return ss->ss_family == AF_INET ? IN_MULTICAST(ntohl(in4->sin_addr.s_addr))
	    : IN6_IS_ADDR_MULTICAST(&in6->sin6_addr);
}

/* Means something on one interface only. */
static bool
is_local(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in4 = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	return ss->ss_family == AF_INET ? in4->sin_addr.s_addr == htonl(INADDR_BROADCAST)
	    : IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
}

/* address = { "ha-1=10.1.0.1", "ha-2=10.1.0.2" } */
static void
read_address(struct hagent_conf *c, struct link_conf *l, cfg_t *sec, unsigned n)
{
	const char *text = cfg_getnstr(sec, "address", n);
	const char *eq = strchr(text, '=');
	uint16_t port = (uint16_t)cfg_getint(sec, "port");

	for (unsigned i = 0; eq != NULL && i < 2; i++) {
		if (c->node[i] == NULL || strlen(c->node[i]) != (size_t)(eq - text) ||
		    strncmp(c->node[i], text, (size_t)(eq - text)) != 0)
			continue;
		if (conf_links_address(eq + 1, port, &l->address[i]) == 0)
			return;
		break;
	}
	conf_error(c->path, conf_line(sec), "link \"%s\": address: expected \"node=address\" "
	    "with a node of this file and a literal address, not \"%s\"", l->name, text);
}

/* Where frames go when not to the peer alone. */
static void
read_group(struct hagent_conf *c, struct link_conf *l, cfg_t *sec)
{
	const char *bc = cfg_getstr(sec, "broadcast"), *mc = cfg_getstr(sec, "multicast");
	uint16_t port = (uint16_t)cfg_getint(sec, "port");
	int line = conf_line(sec);

	if (bc[0] != '\0' && mc[0] != '\0')
		conf_error(c->path, line, "link \"%s\": expected broadcast or multicast, not "
		    "both", l->name);
	if (bc[0] != '\0' && (conf_links_address(bc, port, &l->group) == -1 ||
	    l->group.ss_family != AF_INET || is_multicast(&l->group)))
		conf_error(c->path, line, "link \"%s\": broadcast: expected an IPv4 broadcast "
		    "address, not \"%s\"", l->name, bc);
	if (mc[0] == '\0')
		return;
	l->multicast = true;
	if (conf_links_address(mc, port, &l->group) == -1 || !is_multicast(&l->group))
		conf_error(c->path, line, "link \"%s\": multicast: expected a group such as "
		    "\"239.255.0.1\" or \"ff02::4d50\", not \"%s\"", l->name, mc);
}

static void
check_udp(const struct hagent_conf *c, const struct link_conf *l, int line)
{
	int families[3] = { l->address[0].ss_family, l->address[1].ss_family,
		l->group.ss_family };

	/* A group needs no addresses: they only serve to probe for the peer's. */
	if ((families[2] == 0 && families[0] == 0) || families[0] != families[1])
		conf_error(c->path, line, "link \"%s\": expected an address of the same "
		    "family for each of the two nodes", l->name);
	else if (families[2] != 0 && families[0] != 0 && families[0] != families[2])
		conf_error(c->path, line, "link \"%s\": expected addresses of the family of "
		    "the group", l->name);
	if (l->interface[0] == '\0' && (l->multicast || is_local(&l->address[0]) ||
	    is_local(&l->address[1]) || is_local(&l->group)))
		conf_error(c->path, line, "link \"%s\": interface: expected one, because the "
		    "address alone does not say which", l->name);
}

static void
read_udp(struct hagent_conf *c, struct link_conf *l, cfg_t *sec)
{
	for (unsigned i = 0; i < cfg_size(sec, "address"); i++)
		read_address(c, l, sec, i);
	l->ttl = (int)cfg_getint(sec, "ttl");
	read_group(c, l, sec);
	check_udp(c, l, conf_line(sec));
}

/* What the line cannot carry in a keepalive would queue up, and be old when it comes. */
static void
read_serial(struct hagent_conf *c, struct link_conf *l, cfg_t *sec)
{
	int ms;

	l->baud = (uint32_t)cfg_getint(sec, "baud");
	ms = (int)((SERIAL_MAX * SERIAL_BITS * 1000 + l->baud - 1) / l->baud);
	if (l->device[0] != '/')
		conf_error(c->path, conf_line(sec), "link \"%s\": device: expected an "
		    "absolute path", l->name);
	if (c->serial_keepalive_ms < ms)
		conf_error(c->path, conf_line(sec), "link \"%s\": a frame takes %d ms at %u "
		    "baud: expected serial-keepalive-ms of at least %d, not %d", l->name, ms,
		    l->baud, ms + ms / 4, c->serial_keepalive_ms);
}

/* One ring is all that corosync has. */
static void
read_corosync(struct hagent_conf *c, struct link_conf *l, cfg_t *sec)
{
	l->group_name = mem_dup(cfg_getstr(sec, "process-group")[0] != '\0'
	    ? cfg_getstr(sec, "process-group") : c->cluster);
	l->allow_unencrypted = cfg_getbool(sec, "allow-unencrypted");
	if (strlen(l->group_name) > GROUP_NAME_MAX)
		conf_error(c->path, conf_line(sec), "link \"%s\": process-group: expected at "
		    "most %d characters (default: the cluster's name)", l->name,
		    GROUP_NAME_MAX);
	for (size_t i = 0; i + 1 < c->nlinks; i++)
		if (c->links[i].medium == MEDIUM_COROSYNC)
			conf_error(c->path, conf_line(sec), "link \"%s\": link \"%s\" is by "
			    "corosync already", l->name, c->links[i].name);
}

/* Options that only the other media have. */
static void
check_foreign(const struct hagent_conf *c, const struct link_conf *l, cfg_t *sec)
{
	static const struct { const char *name; enum link_medium medium; } of[] = {
		{ "interface", MEDIUM_UDP }, { "address", MEDIUM_UDP },
		{ "broadcast", MEDIUM_UDP }, { "multicast", MEDIUM_UDP },
		{ "device", MEDIUM_SERIAL }, { "process-group", MEDIUM_COROSYNC },
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		const char *s = cfg_size(sec, of[i].name) > 0 ? cfg_getstr(sec, of[i].name) : "";

		if (of[i].medium != l->medium && s != NULL && s[0] != '\0')
			conf_error(c->path, conf_line(sec), "link \"%s\": %s: not for medium "
			    "\"%s\"", l->name, of[i].name, link_medium_name(l->medium));
	}
}

static void
read_link(struct hagent_conf *c, cfg_t *sec)
{
	struct link_conf *l = &c->links[c->nlinks++];

	l->name = mem_dup(cfg_title(sec));
	l->medium = (enum link_medium)conf_word(conf_links_media, cfg_getstr(sec, "medium"));
	l->interface = mem_dup(cfg_getstr(sec, "interface"));
	l->device = mem_dup(cfg_getstr(sec, "device"));
	if (strlen(l->interface) >= IF_NAMESIZE)
		conf_error(c->path, conf_line(sec), "link \"%s\": interface: expected "
		    "at most 15 characters", l->name);
	check_foreign(c, l, sec);
	if (l->medium == MEDIUM_UDP)
		read_udp(c, l, sec);
	else if (l->medium == MEDIUM_SERIAL)
		read_serial(c, l, sec);
	else
		read_corosync(c, l, sec);
}

void
conf_links_read(struct hagent_conf *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "link");

	if (n == 0 || n > HAGENT_LINKS_MAX) {
		conf_error(c->path, 0, "expected 1 to %d link sections, found %u",
		    HAGENT_LINKS_MAX, n);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		read_link(c, cfg_getnsec(cfg, "link", i));
}

bool
conf_links_corosync(const struct hagent_conf *c)
{
	for (size_t i = 0; i < c->nlinks; i++)
		if (c->links[i].medium == MEDIUM_COROSYNC)
			return true;
	return false;
}

void
conf_links_free(struct hagent_conf *c)
{
	for (size_t i = 0; i < c->nlinks; i++) {
		free(c->links[i].name);
		free(c->links[i].interface);
		free(c->links[i].device);
		free(c->links[i].group_name);
	}
}
