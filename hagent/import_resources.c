/* import_resources.c - haresources: a line for each group, the node that prefers it,
 * then addresses and scripts in start order.  Here a pair has one group; its addresses go
 * up last and come down first. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "import_int.h"

#define WARN_AT(im, line, ...)                                                           \
	import_note(im, IMPORT_WARN, IMPORT_HARESOURCES, line, __VA_ARGS__)
#define ERROR_AT(im, line, ...)                                                          \
	import_note(im, IMPORT_ERROR, IMPORT_HARESOURCES, line, __VA_ARGS__)

/* Scripts of Heartbeat that are not needed, or stand for something else. */
static const struct {
	const char *script, *instead;
} replaced[] = {
    {"IPsrcaddr",
	"set the source address with ip route replace ... src in a script of your "
	"own, named by a resource section"},
    {"SendArp", "leave it out, addresses are announced, again after each heal"},
    {"Delay", "leave it out, a resource starts when the one before it has started"},
    {"portblock", "leave it out; drain = true lets a script refuse new work first"},
    {"AudibleAlarm", "leave it out; hactl check is made for monitoring"},
    {"drbddisk", "mail needs none, it is on both nodes already; other data: a resource "
		 "section with a script that runs drbdadm primary and secondary"},
    {"datadisk", "mail needs none, it is on both nodes already; other data: a resource "
		 "section with a script that runs drbdadm primary and secondary"},
};

/* ---- addresses ------------------------------------------------------------- */

static bool
same_vip(const struct import *im, const char *address)
{
	for (unsigned i = 0; i < im->nvips; i++)
		if (strcmp(im->vips[i].address, address) == 0)
			return true;
	return false;
}

/* One part behind the address: a prefix length, an interface (eth0:0 means eth0), or
 * a broadcast address, which follows from the prefix. */
static bool
vip_part(struct import_vip *v, struct span part)
{
	char text[46];
	uint64_t prefix;
	int family;

	if (span_copy(part, text, sizeof(text)) == -1)
		return false;
	if (span_u64(part, 128, &prefix) == PARSE_OK && prefix > 0) {
		v->prefix = (unsigned)prefix;
		return true;
	}
	if (text[0] == '\0' || import_is_address(text, &family))
		return true;
	text[strcspn(text, ":")] = '\0';
	return strspn(text,
		   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		   "-_.@") == strlen(text) &&
	       import_copy(v->interface, sizeof(v->interface), text);
}

/* ADDRESS[/PREFIX[/INTERFACE[/BROADCAST]]], also without the prefix. */
static void
take_vip(struct import *im, int line, const char *text)
{
	struct import_vip v = {.line = line};
	struct span rest = span_of(text), part;
	int family = AF_INET;
	bool good = span_cut(&rest, '/', &part) &&
		    span_copy(part, v.address, sizeof(v.address)) == 0 &&
		    import_is_address(v.address, &family);

	while (good && span_cut(&rest, '/', &part))
		good = vip_part(&v, part);
	if (!good || (family == AF_INET && v.prefix > 32))
		ERROR_AT(im, line, "\"%s\": expected ADDRESS/PREFIX/INTERFACE", text);
	else if (same_vip(im, v.address))
		WARN_AT(im, line, "%s stands there twice", v.address);
	else if (im->nvips == HAGENT_VIPS_MAX)
		ERROR_AT(
		    im, line, "%s: at most %d addresses", v.address, HAGENT_VIPS_MAX);
	else
		im->vips[im->nvips++] = v;
}

void
import_find_vips(struct import *im)
{
	for (unsigned i = 0; i < im->nvips; i++) {
		struct import_vip *v = &im->vips[i];
		const struct import_net *net = import_net_of(im->env, v->address);

		if (net != NULL && v->prefix == 0)
			v->prefix = net->prefix;
		if (net != NULL && v->interface[0] == '\0')
			(void)import_copy(
			    v->interface, sizeof(v->interface), net->interface);
		if (v->prefix == 0 || v->interface[0] == '\0')
			ERROR_AT(im, v->line,
			    "%s: no interface here is in its network: write "
			    "%s/PREFIX/INTERFACE there",
			    v->address, v->address);
	}
}

/* ---- scripts ---------------------------------------------------------------- */

static bool
is_script(const char *s)
{
	return s[0] != '\0' && s[0] != '.' && s[0] != '-' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
			 "_.@+") == strlen(s);
}

static bool
name_taken(const struct import *im, const char *name)
{
	for (unsigned i = 0; i < im->nresources; i++)
		if (strcmp(im->resources[i].name, name) == 0)
			return true;
	return false;
}

static struct import_resource *
add_resource(struct import *im, int line, const char *script)
{
	struct import_resource *r = &im->resources[im->nresources];
	unsigned again = 1;

	if (im->nresources == HAGENT_RESOURCES_MAX) {
		ERROR_AT(
		    im, line, "%s: at most %d resources", script, HAGENT_RESOURCES_MAX);
		return NULL;
	}
	memset(r, 0, sizeof(*r));
	if (!is_script(script) || !import_copy(r->script, sizeof(r->script), script)) {
		ERROR_AT(im, line, "\"%s\": expected the name of a script", script);
		return NULL;
	}
	snprintf(r->name, sizeof(r->name), "%s", script);
	while (name_taken(im, r->name))
		snprintf(r->name, sizeof(r->name), "%.58s-%u", script, ++again);
	r->line = line;
	r->there = im->env->have_script(im->env->arg, r->script);
	im->nresources++;
	return r;
}

/* script::argument::argument */
static void
add_args(struct import *im, struct import_resource *r, const char *args)
{
	while (args != NULL) {
		const char *end = strstr(args, "::");
		size_t len = end == NULL ? strlen(args) : (size_t)(end - args);

		if (r->nargs == HAGENT_ARGS_MAX) {
			ERROR_AT(im, r->line, "%s: at most %d arguments", r->name,
			    HAGENT_ARGS_MAX);
			return;
		}
		/* A word is shorter than the room for an argument. */
		memcpy(r->args[r->nargs], args, len);
		r->args[r->nargs++][len] = '\0';
		args = end == NULL ? NULL : end + 2;
	}
}

static void
take_script(struct import *im, int line, const char *script, const char *args)
{
	struct import_resource *r;

	for (size_t i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++) {
		if (strcmp(replaced[i].script, script) == 0) {
			WARN_AT(im, line, "%s has no equivalent: %s", script,
			    replaced[i].instead);
			return;
		}
	}
	/* Our own mail server: its data is there when syncd is active. */
	if (strcmp(script, "maild") == 0 && !im->mailpair) {
		im->mailpair = true;
		if (!name_taken(im, "syncer"))
			(void)add_resource(im, 0, "syncer");
	}
	r = add_resource(im, line, script);
	if (r == NULL)
		return;
	add_args(im, r, args);
	if (!r->there)
		WARN_AT(im, line,
		    "%s: no such script in resource-path that only root can write; "
		    "its section is commented out: put an init-style script there "
		    "(start, stop, "
		    "status) or name another one",
		    script);
}

/* The short form; an IPv6 address may hold "::" itself. */
static bool
is_vip(const char *word)
{
	char address[46];
	int family;

	return span_copy((struct span){word, strcspn(word, "/")}, address,
		   sizeof(address)) == 0 &&
	       import_is_address(address, &family);
}

static void
take_word(struct import *im, int line, const char *word)
{
	static const char *const addresses[] = {"IPaddr", "IPaddr2", "IPv6addr"};
	char script[IMPORT_WORD];
	const char *args = strstr(word, "::");
	size_t len = args == NULL ? strlen(word) : (size_t)(args - word);

	memcpy(script, word, len);
	script[len] = '\0';
	if (args != NULL)
		args += 2;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		if (strcmp(script, addresses[i]) == 0) {
			take_vip(im, line, args == NULL ? "" : args);
			return;
		}
	}
	if (is_vip(word)) {
		take_vip(im, line, word);
		return;
	}
	take_script(im, line, script, args);
}

static void
take_group(struct import *im, const struct import_words *ws)
{
	bool known = false;

	for (unsigned i = 0; i < im->nnodes; i++)
		known = known || strcmp(im->node[i], ws->w[0]) == 0;
	if (!known && im->nnodes == 2)
		ERROR_AT(im, ws->line, "%s is no node of ha.cf", ws->w[0]);
	if (im->preferred_line == 0) {
		(void)import_copy(im->preferred, sizeof(im->preferred), ws->w[0]);
		im->preferred_line = ws->line;
	} else {
		WARN_AT(im, ws->line,
		    "the group of %s was joined with that of line %d: a pair has "
		    "one group, all of it runs on the active node",
		    ws->w[0], im->preferred_line);
	}
	for (unsigned i = 1; i < ws->n; i++)
		take_word(im, ws->line, ws->w[i]);
}

void
import_haresources(struct import *im, struct span text)
{
	struct import_words *ws = malloc(sizeof(*ws));
	int line = 0;

	if (ws == NULL)
		abort();
	while (import_next(im, IMPORT_HARESOURCES, " \t\r\f", &text, &line, ws))
		take_group(im, ws);
	free(ws);
	if (im->nvips > 0 && im->nresources > 0)
		WARN_AT(im, im->preferred_line,
		    "addresses go up behind the services and not before "
		    "them: a service that binds to the address itself needs "
		    "net.ipv4.ip_nonlocal_bind = 1, or has to bind to all");
}

void
import_authkeys(struct import *im, struct span text)
{
	struct import_words *ws = malloc(sizeof(*ws));
	int line = 0, first = 0;

	if (ws == NULL)
		abort();
	while (import_next(im, IMPORT_AUTHKEYS, " \t\r\f", &text, &line, ws))
		if (first == 0)
			first = ws->line;
	free(ws);
	import_note(im, IMPORT_WARN, IMPORT_AUTHKEYS, first,
	    "its keys are not used again: the "
	    "cluster key is %s, 256 random bits; the other node needs the same file",
	    im->env->key_file);
}
