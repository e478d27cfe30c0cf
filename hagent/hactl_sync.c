/* hactl_sync.c - `hactl sync status` for people: where the log is on both nodes, under
 * which rule records are committed, how far the other node is behind, and what the
 * mirror does, with the time that it will still take at its present pace.
 * `hactl sync now`: what passes did, or in a dry run what they would do, a line each.
 *
 * What a node cannot know of the other one (its commit LSN) is "-", not guessed. */
#include "hactl_print.h"

#include <string.h>

#include "answer.h"

/* "12 B", "3.1 MB" */
static const char *
bytes_text(long long n, char *buf, size_t size)
{
	static const char *const units[] = { "kB", "MB", "GB", "TB" };
	double d = (double)n / 1000;
	size_t u = 0;

	while (d >= 1000 && u < 3) {
		d /= 1000;
		u++;
	}
	if (n < 1000)
		snprintf(buf, size, "%lld B", n);
	else
		snprintf(buf, size, "%.1f %s", d, units[u]);
	return buf;
}

static void
print_head(json_t *s, FILE *out)
{
	json_t *gen = json_object_get(s, "generation");
	long long copies = answer_int(s, "copies");

	fprintf(out, "LOG     generation %lld %s   %s is %s, %s   commit %s", answer_int(gen, "no"),
	    answer_text(gen, "kind"), answer_text(s, "node"), answer_text(s, "role"),
	    answer_text(s, "mode"), answer_text(s, "rule"));
	if (strcmp(answer_text(s, "role"), "active") == 0 && copies > 0)
		fprintf(out, " (%lld %s now)", copies, copies == 1 ? "copy" : "copies");
	fprintf(out, "   ship %s\n", answer_text(s, "ship"));
}

/* lag: behind the other node; -1 is not known */
static void
print_node(json_t *o, const char *name, bool commit_known, long long lag, FILE *out)
{
	char commit[24] = "-", behind[32] = "-";

	if (commit_known)
		snprintf(commit, sizeof(commit), "%lld", answer_int(o, "commit_lsn"));
	if (lag >= 0)
		snprintf(behind, sizeof(behind), "%lld %s", lag, lag == 1 ? "record" : "records");
	fprintf(out, " %-10.40s %-12lld %-12s %-12lld %s\n", name, answer_int(o, "durable_lsn"),
	    commit, answer_int(o, "applied_lsn"), behind);
}

static void
print_log(json_t *s, FILE *out)
{
	json_t *peer = json_object_get(s, "peer");
	long long own = answer_int(s, "durable_lsn"), other = answer_int(peer, "durable_lsn");
	bool linked = answer_true(peer, "connected");

	fprintf(out, " %-10s %-12s %-12s %-12s %s\n", "NODE", "DURABLE", "COMMITTED", "APPLIED",
	    "LAG");
	print_node(s, answer_text(s, "node"), true,
	    !linked ? -1 : other > own ? other - own : 0, out);
	print_node(peer, answer_text(peer, "name"), false,
	    !linked ? -1 : own > other ? own - other : 0, out);
}

static void
print_peer(json_t *s, FILE *out)
{
	json_t *peer = json_object_get(s, "peer");
	char buf[32];

	if (answer_true(peer, "connected"))
		fprintf(out, "PEER    connected by %s, heard %lld ms ago",
		    answer_text(peer, "path"), answer_int(peer, "heard_ms"));
	else
		fprintf(out, "PEER    not connected");
	if (answer_int(s, "unsent_bytes") > 0)
		fprintf(out, ", %s to be sent",
		    bytes_text(answer_int(s, "unsent_bytes"), buf, sizeof(buf)));
	if (answer_has(s, "alone_since_ms") && answer_int(s, "alone_since_ms") > 0)
		fprintf(out, ", alone");
	fputc('\n', out);
	if (strcmp(answer_text(peer, "trouble"), "-") != 0)
		fprintf(out, "        %.200s\n", answer_text(peer, "trouble"));
	if (answer_int(s, "at_risk") > 0)
		fprintf(out, "RISK    %lld records are on one disk only\n",
		    answer_int(s, "at_risk"));
	fprintf(out, "DISK    log %s, oldest record %lld\n",
	    bytes_text(answer_int(s, "log_bytes"), buf, sizeof(buf)), answer_int(s, "oldest_lsn"));
}

static void
print_flags(json_t *s, FILE *out)
{
	static const struct {
		const char *name, *text;
	} flags[] = {
		{ "outdated", "this node's data is outdated; it waits for the other one" },
		{ "disk_full", "the disk is full; nothing new is accepted" },
		{ "failed", "the log cannot be written; nothing is accepted" },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (answer_true(s, flags[i].name))
			fprintf(out, "        %s\n", flags[i].text);
}

/* The pace so far, for what is left; only where there is enough to tell by. */
static void
print_progress(json_t *t, FILE *out)
{
	long long done = answer_int(t, "done"), of = answer_int(t, "of");
	long long ms = answer_int(t, "running_ms");
	char sent[32], so_far[32], left[32];

	fprintf(out, "%s %lld of %lld, %s sent, %s so far", answer_text(t, "phase"), done, of,
	    bytes_text(answer_int(t, "bytes_sent"), sent, sizeof(sent)),
	    answer_span(ms, so_far, sizeof(so_far)));
	if (done > 0 && of > done)
		fprintf(out, ", about %s left",
		    answer_span((long long)((double)ms / (double)done * (double)(of - done)), left,
			sizeof(left)));
}

static void
print_last(json_t *last, FILE *out)
{
	char sent[32];

	if (!json_is_object(last))
		return;
	fprintf(out, "        last pass as %s %s: %lld created, %lld changed, %lld deleted, %s, "
	    "%.1f s\n", answer_text(last, "as"), answer_text(last, "outcome"),
	    answer_int(last, "created"), answer_int(last, "changed"), answer_int(last, "deleted"),
	    bytes_text(answer_int(last, "bytes_sent"), sent, sizeof(sent)),
	    (double)answer_int(last, "duration_ms") / 1000);
	if (strcmp(answer_text(last, "error"), "-") != 0)
		fprintf(out, "        %.300s\n", answer_text(last, "error"));
}

/* How its changes are learnt, and when all of it was walked last. */
static void
print_source(json_t *t, FILE *out)
{
	char ago[32];

	if (json_object_get(t, "change_source") == NULL)
		return;
	fprintf(out, "        changes from %.40s", answer_text(t, "change_source"));
	if (json_object_get(t, "change_source_why") != NULL)
		fprintf(out, " (%.120s)", answer_text(t, "change_source_why"));
	else
		fprintf(out, ", %lld directories watched", answer_int(t, "watches"));
	if (answer_has(t, "full_walk_ago_ms"))
		fprintf(out, "; full walk %s ago",
		    answer_span(answer_int(t, "full_walk_ago_ms"), ago, sizeof(ago)));
	fputc('\n', out);
}

static void
print_tree(json_t *t, FILE *out)
{
	fprintf(out, "MIRROR  %.200s  every %lld s, ", answer_text(t, "path"),
	    answer_int(t, "interval_s"));
	if (strcmp(answer_text(t, "state"), "running") == 0)
		print_progress(t, out);
	else if (answer_has(t, "next_in_s"))
		fprintf(out, "%s, next in %lld s", answer_text(t, "state"),
		    answer_int(t, "next_in_s"));
	else
		fprintf(out, "%s", answer_text(t, "state"));
	fputc('\n', out);
	print_source(t, out);
	print_last(json_object_get(t, "last"), out);
}

static void
print_seed(json_t *seed, FILE *out)
{
	long long share = answer_int(seed, "permille");
	char bytes[32], so_far[32], left[32];

	if (answer_true(seed, "running")) {
		fprintf(out, "SEED    %lld.%lld %%, shard %lld of %lld, %lld objects, %s, %s so far",
		    share / 10, share % 10, answer_int(seed, "shard") + 1,
		    answer_int(seed, "shards"), answer_int(seed, "objects"),
		    bytes_text(answer_int(seed, "bytes"), bytes, sizeof(bytes)),
		    answer_span(answer_int(seed, "running_ms"), so_far, sizeof(so_far)));
		if (answer_has(seed, "left_ms"))
			fprintf(out, ", about %s left",
			    answer_span(answer_int(seed, "left_ms"), left, sizeof(left)));
		fputc('\n', out);
	} else if (answer_true(seed, "wanted")) {
		fprintf(out, "SEED    the other node has to be filled from this one\n");
	}
	if (strcmp(answer_text(seed, "last_error"), "-") != 0)
		fprintf(out, "        %.300s\n", answer_text(seed, "last_error"));
}

static void
print_mend(json_t *mend, FILE *out)
{
	long long mended = answer_int(mend, "mended");
	long long left = answer_int(mend, "absent") + answer_int(mend, "bad_there");

	if (json_is_object(mend) && mended + left > 0)
		fprintf(out, "MENDED  %lld damaged messages from the other node; %lld are not to be had"
		    " there\n", mended, left);
}

static void
print_looking(json_t *p, FILE *out)
{
	char done[32], of[32];

	fprintf(out, "VERIFY  log %s, shards %lld of %lld, %s of %s, %lld damaged so far\n",
	    answer_true(p, "log_done") ? "done" : "being read", answer_int(p, "shards_done"),
	    answer_int(p, "shards"), bytes_text(answer_int(p, "done"), done, sizeof(done)),
	    bytes_text(answer_int(p, "of"), of, sizeof(of)), answer_int(p, "bad"));
}

static void
print_looked(json_t *v, FILE *out)
{
	char bytes[32];

	fprintf(out, "VERIFY  %lld records, %lld messages, %s in %.1f s: %lld damaged, %lld mended\n",
	    answer_int(v, "records"), answer_int(v, "messages"),
	    bytes_text(answer_int(v, "bytes"), bytes, sizeof(bytes)),
	    (double)answer_int(v, "duration_ms") / 1000, answer_int(v, "bad"),
	    answer_int(v, "mended"));
}

void
hactl_print_verify(json_t *o, bool color, FILE *out)
{
	const char *mended = answer_true(o, "mended") ? "  mended" : "";

	(void)color;
	if (answer_has(o, "progress"))
		print_looking(json_object_get(o, "progress"), out);
	else if (answer_has(o, "verify"))
		print_looked(json_object_get(o, "verify"), out);
	else if (answer_has(o, "shard"))
		fprintf(out, "BAD     shard %lld: %.200s %.300s%s\n", answer_int(o, "shard"),
		    answer_text(o, "what"), answer_text(o, "name"), mended);
	else if (answer_has(o, "file"))
		fprintf(out, "BAD     %.500s offset %lld record %lld: %.200s%s\n",
		    answer_text(o, "file"), answer_int(o, "offset"), answer_int(o, "lsn"),
		    answer_text(o, "what"), mended);
	fflush(out);
}

static void
print_verify(json_t *v, FILE *out)
{
	json_t *last = json_object_get(v, "last");

	if (answer_true(v, "running"))
		print_looking(v, out);
	else if (json_is_object(last))
		print_looked(last, out);
}

void
hactl_print_sync(json_t *o, bool color, FILE *out)
{
	json_t *s = json_object_get(o, "status"), *mirror = json_object_get(s, "mirror"), *t;
	size_t i;

	(void)color;
	if (!json_is_object(s))
		return;
	print_head(s, out);
	print_log(s, out);
	print_peer(s, out);
	print_flags(s, out);
	json_array_foreach(json_object_get(mirror, "trees"), i, t)
		print_tree(t, out);
	print_seed(json_object_get(mirror, "seed"), out);
	print_mend(json_object_get(mirror, "mend"), out);
	print_verify(json_object_get(s, "verify"), out);
}

/* One line, whatever is in the name: what is no printable ASCII or UTF-8 is \xNN. */
static void
print_path(const char *path, const char *end, FILE *out)
{
	for (; *path != '\0'; path++) {
		unsigned char c = (unsigned char)*path;

		if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputs(end, out);
}

/* A row of a dry run, or how a pass ended. */
void
hactl_print_pass(json_t *o, bool color, FILE *out)
{
	const char *path = json_string_value(json_object_get(o, "path"));

	(void)color;
	if (json_object_get(o, "passes") != NULL)
		return;			/* the end: each of them was printed as it came */
	if (json_object_get(o, "what") == NULL) {
		hactl_print_any(o, 0, out);
		return;
	}
	fprintf(out, "%-8s  %-16s  ", answer_text(o, "what"), answer_text(o, "type"));
	print_path(answer_text(o, "tree"), path != NULL && path[0] != '\0' ? "/" : "", out);
	print_path(path != NULL ? path : "", "\n", out);
}
