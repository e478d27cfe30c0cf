/* import_write.c - what was read, checked against the rules of hagent.conf and written
 * with a comment where each value came from. */
#include <stdlib.h>
#include <string.h>

#include "import_int.h"
#include "mem.h"
#include "paths.h"

struct import *
import_new(const struct import_env *env)
{
	struct import *im = mem_alloc(sizeof(*im));

	im->env = env;
	return im;
}

void
import_free(struct import *im)
{
	free(im);
}

/* ---- times against each other ------------------------------------------------ */

static void
fit(struct import *im, struct import_time *t, const char *name, long min, long max)
{
	long was = t->ms;

	if (t->ms == 0 || (t->ms >= min && t->ms <= max))
		return;
	t->ms = t->ms < min ? min : max;
	import_note(im, IMPORT_WARN, IMPORT_HA_CF, t->line,
	    "%s: %ld ms became %ld ms, see %s-ms "
	    "in hagent.conf(5)",
	    name, was, t->ms, name);
}

/* Where one time is given, those that have to fit to it are written out as well. */
static void
fit_times(struct import *im)
{
	long beat;

	fit(im, &im->keepalive, "keepalive", 10, 60000);
	beat = im->keepalive.ms == 0 ? 500 : im->keepalive.ms;
	if (im->deadtime.ms == 0 && 2 * beat > 2000)
		im->deadtime.ms = 5 * beat;
	fit(im, &im->deadtime, "deadtime", 2 * beat, 600000);
	if (im->deadtime.ms == 0)
		im->deadtime.ms = 2000;
	if (im->warntime.ms == 0)
		im->warntime.ms = beat + (im->deadtime.ms - beat) / 2;
	fit(im, &im->warntime, "warntime", beat + 1, im->deadtime.ms);
	if (im->initdead.ms == 0 && im->deadtime.ms > 10000)
		im->initdead.ms = 2 * im->deadtime.ms;
	fit(im, &im->initdead, "initdead", im->deadtime.ms, 3600000);
	fit(im, &im->deadping, "deadping", 1000, 600000);
}

/* Its time-out: what silence of deadtime has room for; 0: none. */
static long
watchdog_s(const struct import *im)
{
	long most = (im->deadtime.ms - 1000) / 2000;

	return most < 2 ? 0 : most > 4 ? 4 : most;
}

bool
import_finish(struct import *im)
{
	fit_times(im);
	import_find_links(im);
	import_find_vips(im);
	if (im->watchdog.line != 0 && watchdog_s(im) == 0)
		import_note(im, IMPORT_WARN, IMPORT_HA_CF, im->watchdog.line,
		    "watchdog %s is left out: deadtime has to be at least 5 s for one, see "
		    "watchdog in hagent.conf(5)",
		    im->watchdog_device);
	if (im->npings == 0)
		import_note(im, IMPORT_WARN, IMPORT_HA_CF, 0,
		    "no ping target: with mode = "
		    "\"serial+ping\" nobody takes over without one: write the router "
		    "into ping");
	return !im->failed;
}

/* ---- text --------------------------------------------------------------------- */

static void
quote(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s != '\0'; s++) {
		if (*s == '$')
			fputs("\\x24", out); /* no variable of the environment */
		else if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else
			fputc(*s, out);
	}
	fputc('"', out);
}

static void
write_time(FILE *out, const char *name, const struct import_time *t, const char *from)
{
	if (t->ms == 0)
		return;
	if (t->line != 0)
		fprintf(out, "# ha.cf:%d %s\n", t->line, from);
	else
		fprintf(out, "# not in ha.cf: fits to the others\n");
	fprintf(out, "%s = %ld\n", name, t->ms);
}

static void
write_times(const struct import *im, FILE *out)
{
	write_time(out, "keepalive-ms", &im->keepalive, "keepalive");
	write_time(out, "serial-keepalive-ms", &im->keepalive, "keepalive");
	write_time(out, "deadtime-ms", &im->deadtime, "deadtime");
	write_time(out, "warntime-ms", &im->warntime, "warntime");
	write_time(out, "initdead-ms", &im->initdead, "initdead");
	write_time(out, "ping-timeout-ms", &im->deadping, "deadping");
}

static void
write_udp(const struct import *im, const struct import_link *l, FILE *out)
{
	long port = l->port != 0 ? l->port : im->port != 0 ? im->port : 694;

	fprintf(out, "\tmedium = \"udp\"\n\tinterface = ");
	quote(out, l->device);
	fprintf(out, "\n\taddress = { ");
	for (int i = 0; i < 2; i++)
		fprintf(out, "\"%s=%s\"%s", im->node[i], l->address[i],
		    i == 0 ? ", " : " }\n");
	if (im->port != 0 && l->port == 0)
		fprintf(out, "\t# ha.cf:%d udpport\n", im->port_line);
	fprintf(out, "\tport = %ld\n", port);
}

static void
write_links(const struct import *im, FILE *out)
{
	for (unsigned i = 0; i < im->nlinks; i++) {
		const struct import_link *l = &im->links[i];

		fprintf(out, "\n# ha.cf:%d %s%s\nlink ", l->line, l->how,
		    l->serial || strcmp(l->how, "ucast") == 0
			? ""
			: "; between two nodes unicast does the same");
		quote(out, l->name);
		fprintf(out, " {\n");
		if (!l->serial) {
			write_udp(im, l, out);
		} else {
			fprintf(out, "\tmedium = \"serial\"\n\tdevice = ");
			quote(out, l->device);
			if (im->baud != 0)
				fprintf(out, "\n\t# ha.cf:%d baud", im->baud_line);
			fprintf(
			    out, "\n\tbaud = %ld\n", im->baud != 0 ? im->baud : 19200);
		}
		fprintf(out, "}\n");
	}
}

static void
write_pings(const struct import *im, FILE *out)
{
	if (im->npings == 0)
		return;
	fprintf(out, "\n# ha.cf:%d ping\nping = { ", im->ping_line[0]);
	for (unsigned i = 0; i < im->npings; i++)
		fprintf(out, "%s\"%s\"", i == 0 ? "" : ", ", im->pings[i]);
	fprintf(out, " }\n");
}

static void
write_vips(const struct import *im, FILE *out)
{
	for (unsigned i = 0; i < im->nvips; i++) {
		const struct import_vip *v = &im->vips[i];

		fprintf(out, "\n# haresources:%d\nvip \"%s/%u\" { interface = ", v->line,
		    v->address, v->prefix);
		quote(out, v->interface);
		fprintf(out, " }\n");
	}
}

static void
write_resource(const struct import_resource *r, FILE *out)
{
	const char *off = r->there ? "" : "# ";

	if (r->line != 0)
		fprintf(out, "\n# haresources:%d\n", r->line);
	else
		fprintf(out, "\n# not in haresources: maild's data is there when syncd "
			     "is active\n");
	fprintf(out, "%sresource ", off);
	quote(out, r->name);
	fprintf(out, " {\n%s\tscript = ", off);
	quote(out, r->script);
	if (r->nargs > 0) {
		fprintf(out, "\n%s\targs = { ", off);
		for (unsigned i = 0; i < r->nargs; i++) {
			fputs(i == 0 ? "" : ", ", out);
			quote(out, r->args[i]);
		}
		fputs(" }", out);
	}
	if (strcmp(r->script, "maild") == 0)
		fprintf(out, "\n%s\tdrain = true\n%s\tpidfile = \"" PATH_RUN "/maild.pid\"", off,
		    off);
	fprintf(out, "\n%s}\n", off);
}

static void
write_respawns(const struct import *im, FILE *out)
{
	for (unsigned i = 0; i < im->nrespawns; i++) {
		const struct import_respawn *r = &im->respawns[i];

		const char *off = r->there ? "" : "# ";

		fprintf(out, "\n# ha.cf:%d respawn\n%srespawn \"respawn-%u\" {\n%s\tuser = ",
		    r->line, off, i + 1, off);
		quote(out, r->user);
		fprintf(out, "\n%s\tcommand = { ", off);
		for (unsigned k = 0; k < r->nwords; k++) {
			fputs(k == 0 ? "" : ", ", out);
			quote(out, r->command[k]);
		}
		fprintf(out, " }\n%s}\n", off);
	}
}

static void
write_cluster(const struct import *im, FILE *out)
{
	if (im->env->cluster[0] != '\0') {
		fprintf(out, "cluster = ");
		quote(out, im->env->cluster);
	} else {
		fprintf(out, "cluster = \"%s+%s\"", im->node[0], im->node[1]);
	}
	fprintf(out, "\nkey-file = ");
	quote(out, im->env->key_file);
	fputc('\n', out);
}

static void
write_decision(const struct import *im, FILE *out)
{
	if (im->failback.line != 0)
		fprintf(out, "# ha.cf:%d auto_failback\n", im->failback.line);
	if (im->failback.ms == 1 && im->preferred[0] != '\0')
		fprintf(out, "failback = \"auto\"\n# haresources:%d\npreferred = \"%s\"\n",
		    im->preferred_line, im->preferred);
	else
		fprintf(out, "failback = \"off\"\n");
	if (im->watchdog.line != 0 && watchdog_s(im) != 0) {
		fprintf(out, "\n# ha.cf:%d watchdog\nwatchdog {\n\tdevice = ", im->watchdog.line);
		quote(out, im->watchdog_device);
		fprintf(out, "\n\ttimeout-s = %ld\n}\n", watchdog_s(im));
	}
}

/* Heartbeat had one word for both. */
static void
write_realtime(const struct import *im, FILE *out)
{
	const char *on = im->realtime.ms == 1 ? "true" : "false";

	if (im->realtime.line != 0)
		fprintf(out, "# ha.cf:%d realtime\nrealtime = %s\nlock-memory = %s\n",
		    im->realtime.line, on, on);
}

void
import_write(const struct import *im, FILE *out)
{
	fprintf(out, "# hagent.conf, made of Heartbeat's ha.cf and haresources by hactl\n"
		     "# import-heartbeat.  The same file on both nodes; hagentd -n "
		     "checks it.\n\n");
	write_cluster(im, out);
	if (!im->mailpair)
		fprintf(out,
		    "# no data of syncd moves with this group\nsyncd-socket = \"\"\n");
	fputc('\n', out);
	write_times(im, out);
	if (im->debug.ms > 0)
		fprintf(out, "# ha.cf:%d debug %ld\nlog-level = \"debug\"\n",
		    im->debug.line, im->debug.ms);
	write_realtime(im, out);
	fprintf(out, "\nmode = \"serial+ping\"\n");
	write_decision(im, out);
	fprintf(out, "\n# ha.cf:%d node\n", im->node_line);
	for (int i = 0; i < 2; i++)
		fprintf(out, "node \"%s\" { }\n", im->node[i]);
	write_links(im, out);
	write_pings(im, out);
	write_vips(im, out);
	write_respawns(im, out);
	for (unsigned i = 0; i < im->nresources; i++)
		write_resource(&im->resources[i], out);
}
