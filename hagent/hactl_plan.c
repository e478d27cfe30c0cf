/* hactl_plan.c - what --dry-run prints: what was checked, what would be done, and what
 * no program on these two nodes can check.
 *
 * The daemon decided whether the operation is allowed; here its facts become words.
 * A fact that this node cannot know is left out rather than claimed. */
#include "hactl_print.h"

#include <string.h>

#include "answer.h"

static bool
alarm_on(json_t *s, const char *name)
{
	size_t i;
	json_t *a;

	json_array_foreach(json_object_get(s, "alarms"), i, a)
		if (strcmp(answer_text(a, "name"), name) == 0)
			return true;
	return false;
}

static void
print_checked(json_t *s, json_t *to, FILE *out)
{
	json_t *data = json_object_get(s, "data"), *peer = json_object_get(s, "peer");
	long long ahead = answer_int(peer, "clock_ahead_ms");

	fprintf(out, "CHECKED  %s ready", answer_text(to, "name"));
	if (alarm_on(s, "config"))
		fprintf(out, ", config NOT equal");
	else
		fprintf(out, ", config equal (%s)", answer_text(s, "config"));
	if (json_is_object(data))
		fprintf(out, ", log in step (%lld:%lld)", answer_int(to, "generation"),
		    answer_int(to, "durable_lsn"));
	if (answer_has(to, "disk_used_percent"))
		fprintf(out, ", disk %lld %% free", 100 - answer_int(to, "disk_used_percent"));
	if (answer_has(peer, "clock_ahead_ms"))
		fprintf(out, ", clocks %lld ms apart", ahead < 0 ? -ahead : ahead);
	fputc('\n', out);
}

/* What never can be, and what only this time is not known: on a serial line the other node
 * tells little of itself. */
static void
print_unchecked(json_t *s, json_t *to, FILE *out)
{
	fprintf(out, "CANNOT CHECK  upstream ARP caches, clients' retry behaviour, whether every "
	    "resource starts on %s", answer_text(to, "name"));
	if (!answer_has(to, "disk_used_percent"))
		fprintf(out, ", its disk");
	if (!answer_has(json_object_get(s, "peer"), "clock_ahead_ms"))
		fprintf(out, ", the difference of the clocks");
	fputc('\n', out);
}

static void
print_handover(json_t *s, FILE *out)
{
	json_t *from = answer_node(s, "active"), *to = answer_node(s, "standby");
	long long resources = (long long)json_array_size(json_object_get(s, "resources"));

	if (from == NULL || to == NULL)
		return;
	print_checked(s, to, out);
	fprintf(out, "WOULD    take the address from %s, stop %lld resources there (right to "
	    "left),\n         start them on %s with a new epoch above %lld (left to right), "
	    "announce the address\n", answer_text(from, "name"), resources, answer_text(to, "name"),
	    answer_int(s, "epoch"));
	print_unchecked(s, to, out);
}

/* Keeping the active out is a switchover first. */
static bool
hands_over(json_t *s, const char *op, const char *node)
{
	if (strcmp(op, "standby") == 0)
		return node != NULL && strcmp(answer_text(answer_node(s, "active"), "name"), node) == 0;
	return strcmp(op, "switchover") == 0;
}

/* What depends on a resource goes down before it and comes back behind it. */
static void
print_resource_plan(json_t *s, const char *op, const char *name, FILE *out)
{
	json_t *list = json_object_get(s, "resources");
	size_t first = 0;

	while (first < json_array_size(list) &&
	    strcmp(answer_text(json_array_get(list, first), "name"), name) != 0)
		first++;
	if (strcmp(op, "resource-start") != 0) {
		fprintf(out, "WOULD    stop");
		for (size_t i = json_array_size(list); i > first; i--)
			fprintf(out, " %s", answer_text(json_array_get(list, i - 1), "name"));
		fputc('\n', out);
	}
	if (strcmp(op, "resource-stop") == 0) {
		fprintf(out, "         until: hactl resource start %s\n", name);
		return;
	}
	fprintf(out, "WOULD    start");
	for (size_t i = first; i < json_array_size(list); i++)
		fprintf(out, " %s", answer_text(json_array_get(list, i), "name"));
	fputc('\n', out);
}

void
hactl_print_plan(json_t *s, const char *op, const char *node, FILE *out)
{
	if (strncmp(op, "resource-", 9) == 0 && node != NULL) {
		print_resource_plan(s, op, node, out);
		return;
	}
	if (strcmp(op, "watchdog-test") == 0)
		fprintf(out, "WOULD    pet it no more: it resets this node within %lld s\n",
		    answer_int(json_object_get(s, "watchdog"), "timeout_ms") / 1000);
	if (hands_over(s, op, node))
		print_handover(s, out);
	if (strcmp(op, "standby") == 0)
		fprintf(out, "WOULD    keep %s out of the pair until: hactl online %s\n", node,
		    node);
	else if (strcmp(op, "online") == 0)
		fprintf(out, "WOULD    take %s back into the pair\n", node);
	else if (strcmp(op, "failover") == 0)
		fprintf(out, "WOULD    start every resource and the address here, with a new "
		    "epoch above %lld\nCANNOT CHECK  whether the other node comes back with "
		    "mail that is missing here\n", answer_int(s, "epoch"));
}
