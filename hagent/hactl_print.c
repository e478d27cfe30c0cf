/* hactl_print.c - tables and lines from JSON.  A member that is missing (another
 * version answers) prints as "-"; nothing here can fail.  Texts of foreign origin
 * were made printable by the daemon; they are bounded here all the same. */
#include "hactl_print.h"

#include <string.h>
#include <time.h>

#include "answer.h"

static const char *
wall_text(long long ms, const char *format, char *buf, size_t size)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL || strftime(buf, size, format, &tm) == 0)
		snprintf(buf, size, "-");
	return buf;
}

static const char *
painted(const char *health, bool color, char *buf, size_t size)
{
	int paint = strcmp(health, "HEALTHY") == 0 ? 32 : strcmp(health, "WARNING") == 0
	    ? 33 : 31;

	if (!color)
		return health;
	snprintf(buf, size, "\033[1;%dm%s\033[0m", paint, health);
	return buf;
}

static bool
in_step(json_t *data)
{
	const char *mode = answer_text(data, "mode");

	return json_is_true(json_object_get(data, "connected")) &&
	    (strcmp(mode, "SYNC") == 0 || strcmp(mode, "INSYNC") == 0);
}

/* How many copies an acknowledgement stands for now, and the rule where it is not the
 * usual one.  A standby that is not in step cannot know it. */
static void
print_commit(json_t *s, json_t *data, FILE *out)
{
	const char *mode = answer_text(data, "mode"), *rule = answer_text(data, "commit");
	const char *copies = "-";
	json_t *active = answer_node(s, "active");

	if (in_step(data))
		copies = "both";
	else if (strcmp(mode, "FROZEN") == 0)
		copies = "waits";
	else if (active != NULL && json_is_true(json_object_get(active, "local")))
		copies = "one";
	fprintf(out, "commit %s (%s%s%s)   ", copies, in_step(data) ? "in step" : mode,
	    strcmp(rule, "auto") == 0 ? "" : ", rule ", strcmp(rule, "auto") == 0 ? "" : rule);
}

static void
print_head(json_t *s, bool color, FILE *out)
{
	char paint[40], now[40];
	json_t *data = json_object_get(s, "data");

	fprintf(out, "PAIR %s   epoch %lld   %s   failback %s   ", answer_text(s, "cluster"),
	    answer_int(s, "epoch"), painted(answer_text(s, "health"), color, paint, sizeof(paint)),
	    answer_text(s, "failback"));
	if (answer_true(s, "maintenance"))
		fprintf(out, "MAINTENANCE   ");
	if (json_is_object(data))
		print_commit(s, data, out);
	fprintf(out, "%s\n", wall_text(answer_int(s, "wall_ms"), "%d %b %H:%M:%S", now,
	    sizeof(now)));
}

/* "in step" is the first line's word; here a node runs, or is ready to. */
static const char *
state_text(json_t *n)
{
	const char *state = answer_text(n, "state");

	return strcmp(state, "sync") == 0 ? "running" : strcmp(state, "insync") == 0 ? "ready"
	    : state;
}

static void
print_node(json_t *n, long long ahead, FILE *out)
{
	char since[32] = "-", res[48] = "-", log[48] = "-", disk[16] = "-";

	if (answer_has(n, "role_ms"))
		answer_span(answer_int(n, "role_ms"), since, sizeof(since));
	if (strcmp(answer_text(n, "role"), "active") == 0 && answer_has(n, "resources"))
		snprintf(res, sizeof(res), "%lld/%lld %s", answer_int(n, "resources_up"),
		    answer_int(n, "resources"), answer_int(n, "resources_up") ==
		    answer_int(n, "resources") ? "ok" : "not ok");
	if (answer_has(n, "durable_lsn"))
		snprintf(log, sizeof(log), "%lld:%lld", answer_int(n, "generation"),
		    answer_int(n, "durable_lsn"));
	if (strcmp(answer_text(n, "role"), "standby") == 0 && answer_int(n, "durable_lsn") < ahead)
		snprintf(log + strlen(log), sizeof(log) - strlen(log), " (-%lld)",
		    ahead - answer_int(n, "durable_lsn"));
	if (answer_has(n, "disk_used_percent"))
		snprintf(disk, sizeof(disk), "%lld %%", answer_int(n, "disk_used_percent"));
	fprintf(out, " %-10.40s %-9s %-10s %-11s %-11s %-18s %-5s %s\n", answer_text(n, "name"),
	    answer_text(n, "role"), state_text(n), res, since, log, disk,
	    answer_text(n, "version"));
}

static const char *
watchdog_text(json_t *w, char *buf, size_t size)
{
	if (!json_is_object(w))
		return "-";
	if (!answer_true(w, "armed"))
		return "NOT ARMED";
	snprintf(buf, size, "armed %lld s", answer_int(w, "timeout_ms") / 1000);
	return buf;
}

/* Nothing in a pair without devices. */
static void
print_fence(json_t *fence, FILE *out)
{
	json_t *answers = json_object_get(fence, "answers");

	if (json_is_object(fence))
		fprintf(out, "   fence %zu %s", json_array_size(json_object_get(fence, "devices")),
		    json_is_null(answers) ? "not asked yet" : json_is_true(answers) ? "ok"
		    : "NOT OK");
}

static void
print_links_line(json_t *s, FILE *out)
{
	size_t i, answering = 0;
	char watchdog[40];
	json_t *l, *q;

	fprintf(out, "LINKS  ");
	json_array_foreach(json_object_get(s, "links"), i, l)
		fprintf(out, " %s %s (late p99 %lld ms)  ", answer_text(l, "name"),
		    answer_text(l, "state"), answer_int(l, "late_p99_ms"));
	json_array_foreach(json_object_get(s, "pings"), i, l)
		answering += json_is_true(json_object_get(l, "answers"));
	q = json_object_get(s, "quorum");
	fprintf(out, " ping %zu/%zu   quorum %s   watchdog %s", answering,
	    json_array_size(json_object_get(s, "pings")),
	    !json_is_object(q) ? "-" : strcmp(answer_text(q, "state"), "have") == 0 ? "ok" : "LOST",
	    watchdog_text(json_object_get(s, "watchdog"), watchdog, sizeof(watchdog)));
	print_fence(json_object_get(s, "fence"), out);
	fputc('\n', out);
}

static const char *
age_text(json_t *o, const char *member, char *buf, size_t size)
{
	if (!answer_has(o, member))
		return "never";
	snprintf(buf, size, "%lld ms ago", answer_int(o, member));
	return buf;
}

void
hactl_print_watchdog(json_t *w, bool color, FILE *out)
{
	char armed[40], pet[40], alive[40];

	(void)color;
	fprintf(out, "WATCHDOG %s %s   petted %s   agent alive %s\n", answer_text(w, "device"),
	    watchdog_text(w, armed, sizeof(armed)),
	    age_text(w, "pet_age_ms", pet, sizeof(pet)),
	    age_text(w, "alive_age_ms", alive, sizeof(alive)));
	if (answer_true(w, "armed") && strcmp(answer_text(w, "why"), "-") != 0)
		fprintf(out, "NOT PETTED: %.200s; this node is reset within %lld s\n",
		    answer_text(w, "why"), answer_int(w, "timeout_ms") / 1000);
}

static void
print_vips(json_t *s, FILE *out)
{
	char buf[32];
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(s, "vips"), i, v) {
		fprintf(out, "VIP     %s ", answer_text(v, "address"));
		if (json_is_string(json_object_get(v, "node")))
			fprintf(out, "on %s:%s", answer_text(v, "node"),
			    answer_text(v, "interface"));
		else
			fprintf(out, "nowhere");
		if (answer_has(v, "up_ms"))
			fprintf(out, "   announced %s ago", answer_span(answer_int(v, "up_ms"), buf,
			    sizeof(buf)));
		fputc('\n', out);
	}
}

static void
print_resources(json_t *s, FILE *out)
{
	json_t *active = answer_node(s, "active"), *r;
	bool here = active != NULL && json_is_true(json_object_get(active, "local"));
	size_t i;

	/* What is as it should be is counted in the table above. */
	json_array_foreach(json_object_get(s, "resources"), i, r) {
		const char *words = answer_text(r, "words");

		if (strcmp(answer_text(r, "state"), here ? "up" : "down") != 0)
			fprintf(out, "RES     %s %s   %.200s\n", answer_text(r, "name"),
			    answer_text(r, "state"), words);
	}
}

/* The active counts what only it has; the standby knows whether it has everything. */
static void
print_risk(json_t *s, FILE *out)
{
	json_t *data = json_object_get(s, "data"), *node = answer_node(s, "active");
	bool known;

	if (!json_is_object(data) || node == NULL)
		return;
	known = json_is_true(json_object_get(node, "local")) || in_step(data);
	fprintf(out, "LOSS IF %s DIED NOW   ", answer_text(node, "name"));
	if (!known)
		fprintf(out, "unknown, this node is not in step\n");
	else if (answer_int(data, "at_risk") == 0)
		fprintf(out, "acknowledged mail 0   flag changes 0\n");
	else
		fprintf(out, "acknowledged mail and flag changes %lld\n",
		    answer_int(data, "at_risk"));
}

/* Only what is certain: a planned switch loses nothing, a forced one may have. */
static const char *
loss_text(json_t *w)
{
	if (json_is_true(json_object_get(w, "planned")))
		return ", lost nothing";
	return strcmp(answer_text(w, "kind"), "forced") == 0 ? ", mail may have been lost" : "";
}

static void
print_switch(json_t *w, const char *head, FILE *out)
{
	char when[40];

	if (!json_is_object(w))
		return;
	fprintf(out, "%s%s epoch %lld %s %s %s -> %s", head, wall_text(answer_int(w, "wall_ms"),
	    "%d %b %H:%M:%S", when, sizeof(when)), answer_int(w, "epoch"), answer_text(w, "kind"),
	    json_is_true(json_object_get(w, "planned")) ? "planned" : "unplanned",
	    answer_text(w, "from"), answer_text(w, "to"));
	if (answer_int(w, "outage_ms") >= 0)
		fprintf(out, ", outage %.2f s", (double)answer_int(w, "outage_ms") / 1000);
	fprintf(out, ", %s%s\n", answer_text(w, "reason"), loss_text(w));
}

void
hactl_print_status(json_t *s, bool color, FILE *out)
{
	long long ahead = 0;
	size_t i;
	json_t *n;

	json_array_foreach(json_object_get(s, "nodes"), i, n)
		if (answer_int(n, "durable_lsn") > ahead)
			ahead = answer_int(n, "durable_lsn");
	print_head(s, color, out);
	fprintf(out, " %-10s %-9s %-10s %-11s %-11s %-18s %-5s %s\n", "NODE", "ROLE", "STATE",
	    "RESOURCES", "SINCE", "LOG", "DISK", "VERSION");
	json_array_foreach(json_object_get(s, "nodes"), i, n)
		print_node(n, ahead, out);
	print_links_line(s, out);
	print_vips(s, out);
	print_resources(s, out);
	print_risk(s, out);
	fprintf(out, "RELIES  on %s\n", answer_text(s, "relies"));
	if (json_is_true(json_object_get(s, "failback_due")))
		fprintf(out, "PREFERRED  %s is ready to have the role again: hactl switchover\n",
		    answer_text(s, "preferred"));
	print_switch(json_object_get(s, "last_switch"), "LAST SWITCH ", out);
}

void
hactl_print_problems(json_t *s, FILE *out)
{
	size_t i;
	json_t *p;

	json_array_foreach(json_object_get(s, "advice"), i, p) {
		fprintf(out, "WARN  %.400s\n", answer_text(p, "text"));
		if (json_object_get(p, "why") != NULL)
			fprintf(out, "WHY   %.400s\n", answer_text(p, "why"));
		if (json_object_get(p, "hint") != NULL)
			fprintf(out, "HINT  %.400s\n", answer_text(p, "hint"));
	}
}

static void
print_refused(json_t *l, FILE *out)
{
	const char *name;
	json_t *v;

	json_object_foreach(json_object_get(l, "refused_by"), name, v)
		fprintf(out, "   refused %s: %lld\n", name, json_integer_value(v));
}

static void
print_corosync(json_t *c, FILE *out)
{
	if (!json_is_object(c))
		return;
	fprintf(out, "   corosync %s: node %lld, peer node %lld is %s, %s with %lld of %lld "
	    "votes (%lld needed), quorum device %s\n", answer_text(c, "cluster"),
	    answer_int(c, "node"), answer_int(c, "peer_node"),
	    answer_true(c, "peer_member") ? "a member" : "no member",
	    answer_true(c, "quorate") ? "quorate" : "NOT quorate", answer_int(c, "votes"),
	    answer_int(c, "votes_expected"), answer_int(c, "votes_needed"),
	    answer_text(c, "qdevice"));
	fprintf(out, "   %s %lld/%lld links to the peer, cipher %s, hash %s\n",
	    answer_text(c, "transport"), answer_int(c, "links_connected"),
	    answer_int(c, "links_to_peer"), answer_text(c, "cipher"), answer_text(c, "hash"));
}

static void
print_realtime(json_t *r, FILE *out)
{
	fprintf(out, "agent here: %s scheduling, memory %s\n",
	    answer_true(r, "scheduled") ? "real-time" : "ordinary",
	    answer_true(r, "locked") ? "locked" : "not locked");
	if (strcmp(answer_text(r, "why"), "-") != 0)
		fprintf(out, "   refused: %.120s\n", answer_text(r, "why"));
}

void
hactl_print_links(json_t *s, bool color, FILE *out)
{
	char heard[32];
	size_t i;
	json_t *l;

	(void)color;
	fprintf(out, "%-10s %-8s %-10s %-9s %-10s %-8s %-8s %-8s %-8s %-8s %s\n", "LINK",
	    "MEDIUM", "STATE", "INTERVAL", "HEARD", "P50", "P99", "MAX", "ACCEPTED", "LOST",
	    "NOT SENT");
	json_array_foreach(json_object_get(s, "links"), i, l) {
		fprintf(out, "%-10s %-8s %-10s %5lld ms  %-10s %5lld ms %5lld ms %5lld ms "
		    "%-8lld %-8lld %lld\n", answer_text(l, "name"), answer_text(l, "medium"),
		    answer_text(l, "state"), answer_int(l, "interval_ms"),
		    answer_span(answer_int(l, "heard_ms"), heard, sizeof(heard)),
		    answer_int(l, "late_p50_ms"), answer_int(l, "late_p99_ms"),
		    answer_int(l, "late_max_ms"), answer_int(l, "accepted"), answer_int(l, "lost"),
		    answer_int(l, "not_sent"));
		if (strcmp(answer_text(l, "why"), "-") != 0)
			fprintf(out, "   down: %.120s\n", answer_text(l, "why"));
		print_refused(l, out);
		print_corosync(json_object_get(l, "corosync"), out);
	}
	json_array_foreach(json_object_get(s, "pings"), i, l)
		fprintf(out, "ping %-20s %s  %s ago, %lld us\n", answer_text(l, "address"),
		    json_is_true(json_object_get(l, "answers")) ? "answers" : "silent ",
		    answer_span(answer_int(l, "heard_ms"), heard, sizeof(heard)),
		    answer_int(l, "rtt_us"));
	print_realtime(json_object_get(s, "realtime"), out);
}

void
hactl_print_resources(json_t *s, bool color, FILE *out)
{
	size_t i;
	json_t *r;

	(void)color;
	fprintf(out, "%s is %s\n%-16s %-28s %-20s %-9s %-9s %-9s %s\n", answer_text(s, "node"),
	    answer_text(s, "role"), "RESOURCE", "SCRIPT", "STATE", "FAILURES", "START", "STOP",
	    "LAST WORDS");
	json_array_foreach(json_object_get(s, "resources"), i, r) {
		char failures[32];

		snprintf(failures, sizeof(failures), "%lld of %lld", answer_int(r, "failures"),
		    answer_int(r, "restarts"));
		fprintf(out, "%-16.64s %-28.200s %-20.96s %-9s %6lld ms %6lld ms %.200s\n",
		    answer_text(r, "name"), answer_text(r, "script"), answer_text(r, "state"),
		    failures, answer_int(r, "start_ms"), answer_int(r, "stop_ms"),
		    answer_text(r, "words"));
	}
	json_array_foreach(json_object_get(s, "helpers"), i, r)
		fprintf(out, "helper %-16.64s when %-7s %-10s started %lld times   %.200s\n",
		    answer_text(r, "name"), answer_text(r, "when"), answer_text(r, "state"),
		    answer_int(r, "starts"), answer_text(r, "words"));
}

void
hactl_print_history(json_t *s, bool color, FILE *out)
{
	size_t i;
	json_t *w;

	(void)color;
	json_array_foreach(json_object_get(s, "history"), i, w) {
		fprintf(out, "epoch %-6lld ", answer_int(w, "epoch"));
		print_switch(w, "", out);
	}
}

void
hactl_print_event(json_t *e, bool color, FILE *out)
{
	char when[40];

	(void)color;
	if (answer_has(e, "gap")) {
		fprintf(out, "... %lld events were lost here: they came faster than they were read\n",
		    answer_int(e, "gap"));
		return;
	}
	fprintf(out, "%s  %-8.20s  epoch %-4lld  %.300s\n", wall_text(answer_int(e, "wall_ms"),
	    "%d %b %H:%M:%S", when, sizeof(when)), answer_text(e, "kind"), answer_int(e, "epoch"),
	    answer_text(e, "text"));
}

void
hactl_print_any(json_t *o, int indent, FILE *out)
{
	const char *name;
	json_t *v;

	json_object_foreach(o, name, v) {
		if (strcmp(name, "schema") == 0 || strcmp(name, "exit") == 0)
			continue;
		fprintf(out, "%*s%-*s ", indent, "", 20 - indent, name);
		if (json_is_object(v)) {
			fputc('\n', out);
			hactl_print_any(v, indent + 2, out);
			continue;
		}
		if (json_is_string(v))
			fprintf(out, "%.500s", json_string_value(v));
		else
			json_dumpf(v, out, JSON_ENCODE_ANY | JSON_COMPACT);
		fputc('\n', out);
	}
}
