/* hactl_check.c - hactl check: one line a check, for Nagios and the like.
 *
 * What is not configured is OK and says so: a check that is always asked for must not
 * depend on what a pair has.  A fact that this node cannot know is UNKNOWN, but for the
 * other node's when that is silent: then `peer` says it, once. */
#include "hactl_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"

#define LAG_WARN 1000		/* records */
#define LAG_CRITICAL 100000
#define DISK_WARN 85		/* per cent used */
#define DISK_CRITICAL 95
#define CLOCK_WARN 1000		/* ms */
#define CLOCK_CRITICAL 60000

static void
say(struct check_result *r, enum ctl_exit code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void
say(struct check_result *r, enum ctl_exit code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	r->code = code;
}

static enum ctl_exit
by_limits(long long n, long long warn, long long critical)
{
	return n >= critical ? CTL_CRITICAL : n >= warn ? CTL_WARNING : CTL_OK;
}

static bool
self_is(json_t *s, const char *role)
{
	return strcmp(answer_text(json_object_get(s, "self"), "role"), role) == 0;
}

/* ---- the pair ------------------------------------------------------------ */

static void
check_role(json_t *s, struct check_result *r)
{
	json_t *self = json_object_get(s, "self"), *active = answer_node(s, "active");
	const char *name = answer_text(self, "name"), *role = answer_text(self, "role");

	if (active == NULL)
		say(r, CTL_CRITICAL, "no node is known to serve; %s is %s", name, role);
	else if (answer_true(s, "maintenance"))
		say(r, CTL_WARNING, "%s is %s, but in maintenance: nothing happens by itself", name,
		    role);
	else if (strcmp(answer_text(self, "state"), "kept out") == 0)
		say(r, CTL_WARNING, "%s is kept out by an operator", name);
	else if (self_is(s, "active") || self_is(s, "standby"))
		say(r, CTL_OK, "%s is %s, epoch %lld", name, role, answer_int(s, "epoch"));
	else
		say(r, CTL_WARNING, "%s is %s, %s serves", name, role, answer_text(active, "name"));
}

static void
check_peer(json_t *s, struct check_result *r)
{
	json_t *peer = json_object_get(s, "peer");
	const char *name = answer_text(peer, "name"), *state = answer_text(peer, "state");
	char span[32];

	if (strcmp(state, "silent") == 0)
		say(r, CTL_WARNING, "%s has been silent for %s", name,
		    answer_span(answer_int(peer, "silent_ms"), span, sizeof(span)));
	else if (strcmp(state, "unproven") == 0)
		say(r, CTL_WARNING, "%s is heard, but does not prove that it hears this node", name);
	else if (!answer_true(peer, "healthy"))
		say(r, CTL_WARNING, "%s is %s and could not run the services", name,
		    answer_text(peer, "role"));
	else
		say(r, CTL_OK, "%s is %s, %s", name, answer_text(peer, "role"), state);
}

static void
count_links(json_t *s, bool serial, struct check_result *r)
{
	char bad[160] = "";
	size_t i, all = 0, ok = 0;
	json_t *l;

	json_array_foreach(json_object_get(s, "links"), i, l) {
		size_t len = strlen(bad);

		if ((strcmp(answer_text(l, "medium"), "serial") == 0) != serial)
			continue;
		all++;
		if (strcmp(answer_text(l, "state"), "ok") == 0)
			ok++;
		else
			snprintf(bad + len, sizeof(bad) - len, ", %.40s is %s", answer_text(l, "name"),
			    answer_text(l, "state"));
	}
	if (all == 0)
		say(r, CTL_OK, "none is configured");
	else
		say(r, ok == all ? CTL_OK : ok == 0 && !serial ? CTL_CRITICAL : CTL_WARNING,
		    "%zu of %zu ok%s", ok, all, bad);
}

static void
check_links(json_t *s, struct check_result *r)
{
	count_links(s, false, r);
}

static void
check_serial(json_t *s, struct check_result *r)
{
	count_links(s, true, r);
}

static void
check_quorum(json_t *s, struct check_result *r)
{
	json_t *q = json_object_get(s, "quorum");

	if (!json_is_object(q))
		say(r, CTL_OK, "not used");
	else if (strcmp(answer_text(q, "state"), "have") == 0)
		say(r, CTL_OK, "have%s", answer_true(q, "with_peer") ? ", with the other node" : "");
	else
		say(r, CTL_CRITICAL, "%s: %.150s", answer_text(q, "state"), answer_text(q, "why"));
}

static void
check_watchdog(json_t *s, struct check_result *r)
{
	json_t *w = json_object_get(s, "watchdog");

	if (!json_is_object(w))
		say(r, CTL_OK, "not used");
	else if (answer_true(w, "armed"))
		say(r, CTL_OK, "armed, %lld ms", answer_int(w, "timeout_ms"));
	else
		say(r, CTL_WARNING, "not armed: %.150s", answer_text(w, "why"));
}

static void
check_fence(json_t *s, struct check_result *r)
{
	json_t *f = json_object_get(s, "fence"), *answers = json_object_get(f, "answers");
	size_t n = json_array_size(json_object_get(f, "devices"));

	if (!json_is_object(f))
		say(r, CTL_OK, "not used");
	else if (!json_is_boolean(answers))
		say(r, CTL_OK, "%zu, not asked yet", n);
	else if (json_is_true(answers))
		say(r, CTL_OK, "%zu answered", n);
	else
		say(r, CTL_WARNING, "%.150s", answer_text(json_object_get(f, "last"), "words"));
}

static void
check_vip(json_t *s, struct check_result *r)
{
	json_t *v, *active = answer_node(s, "active");
	size_t i, n = json_array_size(json_object_get(s, "vips"));

	if (n == 0)
		say(r, CTL_OK, "none is configured");
	else if (active == NULL)
		say(r, CTL_CRITICAL, "no node is known to have them");
	else
		say(r, CTL_OK, "%zu on %s", n, answer_text(active, "name"));
	json_array_foreach(json_object_get(s, "vips"), i, v) {
		if (self_is(s, "active") && !answer_true(v, "here"))
			say(r, CTL_CRITICAL, "%s is not on the active node",
			    answer_text(v, "address"));
		else if (!self_is(s, "active") && active != NULL && answer_true(v, "here"))
			say(r, CTL_CRITICAL, "%s is on %s, but %s is active", answer_text(v, "address"),
			    answer_text(json_object_get(s, "self"), "name"),
			    answer_text(active, "name"));
	}
}

/* ---- data ---------------------------------------------------------------- */

static void
check_commit(json_t *s, struct check_result *r)
{
	static const struct { const char *mode; enum ctl_exit code; const char *text; } modes[] = {
		{ "SYNC", CTL_OK, "on both nodes before it is acknowledged" },
		{ "INSYNC", CTL_OK, "all that is acknowledged is here too" },
		{ "JOINING", CTL_WARNING, "on one node; the other one is catching up" },
		{ "SOLO", CTL_WARNING, "on one node only" },
		{ "TARGET", CTL_WARNING, "this node is catching up" },
		{ "WAIT", CTL_WARNING, "this node knows no active node" },
		{ "FROZEN", CTL_CRITICAL, "acknowledgements are held back" },
		{ "SPLIT", CTL_CRITICAL, "there are two histories" },
	};
	json_t *data = json_object_get(s, "data");
	const char *mode = answer_text(data, "mode");

	if (!json_is_object(data)) {
		say(r, CTL_OK, "no replicated data");
		return;
	}
	if (!answer_true(data, "connected")) {
		say(r, self_is(s, "active") ? CTL_CRITICAL : CTL_WARNING, "syncd does not answer");
		return;
	}
	say(r, CTL_UNKNOWN, "mode %s", mode);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].mode, mode) == 0)
			say(r, modes[i].code, "%s: %s, %lld at risk", mode, modes[i].text,
			    answer_int(data, "at_risk"));
}

static void
check_lag(json_t *s, struct check_result *r)
{
	json_t *data = json_object_get(s, "data");
	long long here = answer_int(data, "durable_lsn"), there = answer_int(data, "peer_durable_lsn");
	long long lag = self_is(s, "active") ? here - there : there - here;

	if (!json_is_object(data))
		say(r, CTL_OK, "no replicated data");
	else if (!answer_true(data, "connected"))
		say(r, CTL_UNKNOWN, "syncd does not answer");
	else if (!answer_true(data, "peer_connected"))
		say(r, CTL_WARNING, "the syncds are not connected");
	else
		say(r, by_limits(lag, LAG_WARN, LAG_CRITICAL), "%lld records behind",
		    lag > 0 ? lag : 0);
}

/* ---- machines ------------------------------------------------------------ */

/* The disk of the log, which may be another one. */
static void
add_log_disk(json_t *n, struct check_result *r)
{
	bool slow = answer_true(n, "log_slow"), full = answer_true(n, "log_full");
	size_t len = strlen(r->text);

	if (!slow && !full)
		return;
	snprintf(r->text + len, sizeof(r->text) - len, "%sthe log's disk of %.60s is %s%s%s",
	    len > 0 ? ", " : "", answer_text(n, "name"), slow ? "slow" : "",
	    slow && full ? " and " : "", full ? "full" : "");
	r->code = check_worst(len > 0 ? r->code : CTL_OK, full ? CTL_CRITICAL : CTL_WARNING);
}

/* Known of the node that was asked. */
static void
add_index(json_t *n, struct check_result *r)
{
	size_t len = strlen(r->text);

	if (!answer_true(n, "index_lost"))
		return;
	snprintf(r->text + len, sizeof(r->text) - len, "%san index of %.60s is lost",
	    len > 0 ? ", " : "", answer_text(n, "name"));
	r->code = CTL_CRITICAL;
}

static void
check_disk(json_t *s, struct check_result *r)
{
	size_t i;
	json_t *n;

	say(r, CTL_UNKNOWN, "not known");
	r->text[0] = '\0';
	json_array_foreach(json_object_get(s, "nodes"), i, n) {
		size_t len = strlen(r->text);
		enum ctl_exit code = by_limits(answer_int(n, "disk_used_percent"), DISK_WARN,
		    DISK_CRITICAL);

		if (!answer_has(n, "disk_used_percent"))
			continue;
		snprintf(r->text + len, sizeof(r->text) - len, "%s%.60s %lld %% used",
		    len > 0 ? ", " : "", answer_text(n, "name"), answer_int(n, "disk_used_percent"));
		r->code = len == 0 ? code : check_worst(r->code, code);
	}
	json_array_foreach(json_object_get(s, "nodes"), i, n) {
		add_log_disk(n, r);
		add_index(n, r);
	}
	if (r->text[0] == '\0')
		say(r, CTL_UNKNOWN, "not known");
}

static void
check_clock(json_t *s, struct check_result *r)
{
	json_t *peer = json_object_get(s, "peer");
	long long ahead = answer_int(peer, "clock_ahead_ms");

	if (!answer_has(peer, "clock_ahead_ms"))
		say(r, strcmp(answer_text(peer, "state"), "silent") == 0 ? CTL_OK : CTL_UNKNOWN,
		    "the other node's clock is not known");
	else
		say(r, by_limits(ahead < 0 ? -ahead : ahead, CLOCK_WARN, CLOCK_CRITICAL),
		    "%s is %lld ms %s", answer_text(peer, "name"), ahead < 0 ? -ahead : ahead,
		    ahead < 0 ? "behind" : "ahead");
}

/* Behind ": "; the files that differ, or, where the other node has not told (it has no udp
 * link, or an older program), all of this node's: its own line has the others. */
static void
say_files(json_t *s, json_t *peer, struct check_result *r)
{
	json_t *here = json_object_get(s, "config_files"), *one;
	json_t *there = json_object_get(peer, "config_files");
	const char *name, *sep = ": ";

	json_object_foreach(here, name, one) {
		size_t len = strlen(r->text);
		const char *digest = answer_text(here, name);

		if (there != NULL && strcmp(digest, answer_text(there, name)) == 0)
			continue;
		snprintf(r->text + len, sizeof(r->text) - len, "%s%.40s%s%.10s", sep, name,
		    there != NULL ? " differs, here " : " ", digest);
		sep = ", ";
	}
	if (there == NULL) {
		size_t len = strlen(r->text);

		snprintf(r->text + len, sizeof(r->text) - len,
		    "; compare with hactl check config-equal there");
	}
}

static void
check_config(json_t *s, struct check_result *r)
{
	json_t *peer = json_object_get(s, "peer");
	const char *here = answer_text(s, "config"), *there = answer_text(peer, "config");

	if (json_object_get(peer, "config") == NULL)
		say(r, CTL_OK, "%s here, the other node's is not known", here);
	else if (strcmp(here, there) == 0)
		say(r, CTL_OK, "%s on both nodes", here);
	else {
		say(r, CTL_WARNING, "%.10s here, but %.10s on %.64s", here, there,
		    answer_text(peer, "name"));
		say_files(s, peer, r);
	}
}

static void
check_resources(json_t *s, struct check_result *r)
{
	json_t *self = json_object_get(s, "self"), *res;
	size_t i;

	if (self_is(s, "active"))
		say(r, CTL_OK, "%lld of %lld up", answer_int(self, "resources_up"),
		    answer_int(self, "resources"));
	else
		say(r, CTL_OK, "%lld configured, none has to run here", answer_int(self, "resources"));
	json_array_foreach(json_object_get(s, "resources"), i, res) {
		const char *name = answer_text(res, "name"), *state = answer_text(res, "state");
		enum ctl_exit bad = self_is(s, "active") ? CTL_CRITICAL : CTL_WARNING;

		if (r->code == CTL_CRITICAL)
			break;
		if (strcmp(state, "failed") == 0)
			say(r, bad, "%.64s failed: %.120s", name, answer_text(res, "words"));
		else if (self_is(s, "active") && strcmp(state, "up") != 0)
			say(r, CTL_CRITICAL, "%.64s is %s", name, state);
		else if (answer_int(res, "failures") > 0)
			say(r, CTL_WARNING, "%.64s is %s, but failed %lld times lately: %.100s", name,
			    state, answer_int(res, "failures"), answer_text(res, "words"));
	}
}

/* ---- the list ------------------------------------------------------------ */

static const struct {
	const char *name, *about;
	void (*run)(json_t *, struct check_result *);
} checks[] = {
	{ "role", "one node serves, and this one has its role", check_role },
	{ "peer", "the other node is heard and could take over", check_peer },
	{ "links", "heartbeat links over Ethernet", check_links },
	{ "serial", "heartbeat links over serial lines", check_serial },
	{ "quorum", "the vote of the cluster", check_quorum },
	{ "watchdog", "the device that resets a hanging node is armed", check_watchdog },
	{ "fence", "the devices that switch the other node off answer", check_fence },
	{ "vip", "the addresses are where the services are", check_vip },
	{ "commit", "how many copies an acknowledgement stands for", check_commit },
	{ "lag", "records that the standby is behind: warning 1000, critical 100000", check_lag },
	{ "disk", "disks of both nodes: warning 85 %, critical 95 % used; the log's: slow, full",
	    check_disk },
	{ "clock", "difference of the clocks: warning 1 s, critical 60 s", check_clock },
	{ "config-equal", "the same configuration on both nodes", check_config },
	{ "resources", "the group is up, and nothing of it failed lately", check_resources },
};

size_t
check_count(void)
{
	return sizeof(checks) / sizeof(checks[0]);
}

const char *
check_name(size_t n, const char **about)
{
	if (about != NULL)
		*about = checks[n].about;
	return checks[n].name;
}

bool
check_known(const char *name)
{
	for (size_t i = 0; i < check_count(); i++)
		if (strcmp(checks[i].name, name) == 0)
			return true;
	return false;
}

void
check_run(size_t n, json_t *status, struct check_result *r)
{
	memset(r, 0, sizeof(*r));
	r->name = checks[n].name;
	if (status == NULL)
		say(r, CTL_UNKNOWN, "hagentd does not answer");
	else
		checks[n].run(status, r);
}

const char *
check_code_name(enum ctl_exit code)
{
	return code == CTL_OK ? "OK" : code == CTL_WARNING ? "WARNING"
	    : code == CTL_CRITICAL ? "CRITICAL" : "UNKNOWN";
}

enum ctl_exit
check_worst(enum ctl_exit a, enum ctl_exit b)
{
	static const int weight[] = { [CTL_OK] = 0, [CTL_WARNING] = 2, [CTL_CRITICAL] = 3,
		[CTL_UNKNOWN] = 1 };

	return weight[a] >= weight[b] ? a : b;
}
