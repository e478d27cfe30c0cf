/* hactl_split.c - `hactl split show` and `hactl split resolve` for people: where the two
 * histories part, what each node did since, and what a merge did or would do. */
#include "hactl_print.h"

#include <string.h>

#include "answer.h"

/* What the parts of a report count; one that is missing or 0 is not printed.  No text:
 * how the work went, which is for programs. */
static const struct {
	const char *key, *text;
} counts[] = {
	{ "loser", "changes of the other node's mailboxes" },
	{ "winner", "changes of this node's mailboxes" },
	{ "settled", "of them dealt with by a merge before this one" },
	{ "added", "messages that come from the other node, with new UIDs" },
	{ "same", "messages that both have" },
	{ "removed", "removals carried out" },
	{ "kept", "removals not carried out: the other side changed the message" },
	{ "flags", "messages with other flags" },
	{ "damaged", "messages with one id and two contents: both are kept" },
	{ "missing", "messages whose bytes are on neither node" },
	{ "boxes_created", "mailboxes created" },
	{ "boxes_deleted", "mailboxes deleted" },
	{ "boxes_renamed", "mailboxes renamed" },
	{ "boxes_kept", "mailboxes not deleted: the other side has news in them" },
	{ "names", "mailboxes whose name gave way" },
	{ "users_added", "users added" },
	{ "users_kept", "users kept, suspended: one node had deleted them" },
	{ "users_renamed", "users under another address, suspended: somebody has theirs" },
	{ "passwords", "passwords changed" },
	{ "suspensions", "users suspended, or not any more" },
	{ "user_conflicts", "passwords or suspensions that both nodes changed: the active's stand" },
	{ "domains_added", "domains added" },
	{ "domains_deleted", "domains deleted" },
	{ "aliases_added", "targets of aliases added" },
	{ "aliases_deleted", "targets of aliases deleted" },
	{ "queued", "messages to other hosts added to the queue" },
	{ "queued_recipients", "their recipients" },
	{ "queue_delivered", "recipients that the other node had delivered to" },
	{ "queue_bounced", "recipients of which the other node had told the sender" },
	{ "queue_removed", "queued messages that an operator had removed there" },
	{ "queue_failed", "recipients that the other node had given up: the sender is told" },
	{ "queue_finished", "recipients that this node had finished" },
	{ "queue_warned", "senders that the other node had warned" },
	{ "queue_held", "queued messages held" },
	{ "queue_released", "queued messages released" },
	{ "queue_renamed", "queued messages with a new id" },
	{ "queue_unsure", "queued messages that may have been sent there" },
	{ "overtaken", "changes of users and queue that somebody else made in the meantime" },
	{ "notes_left_off", "more notes in the active's log" },
	{ "proposed", NULL },
	{ "to_propose", NULL },
	{ "looks", NULL },
	{ "conflicts_left_out", "more conflicts, which are not listed" },
};

static bool
known(const char *key)
{
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (strcmp(counts[i].key, key) == 0)
			return true;
	return false;
}

static void
print_counts(json_t *totals, FILE *out)
{
	const char *key;
	json_t *v;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (counts[i].text != NULL && answer_int(totals, counts[i].key) > 0)
			fprintf(out, "  %8lld %s\n", answer_int(totals, counts[i].key),
			    counts[i].text);
	json_object_foreach(totals, key, v)
		if (json_is_integer(v) && json_integer_value(v) > 0 && !known(key))
			fprintf(out, "  %8lld %s\n", (long long)json_integer_value(v), key);
}

/* What an operator should read, of all shards. */
static void
print_notes(json_t *shards, FILE *out)
{
	json_t *report, *c, *note;
	size_t i, n;

	json_array_foreach(shards, i, report) {
		json_array_foreach(json_object_get(report, "notes"), n, note)
			if (json_is_string(note))
				fprintf(out, "NOTE    %.400s\n", json_string_value(note));
		json_array_foreach(json_object_get(report, "conflicts"), n, c)
			fprintf(out, "NOTE    %.20s: %.200s %.200s (user %lld)\n",
			    answer_text(c, "what"), answer_text(c, "mailbox"),
			    answer_text(c, "detail"), answer_int(c, "user"));
	}
}

static void
print_merge(json_t *m, FILE *out)
{
	fprintf(out, "MERGE   %s behind LSN %lld%s\n", answer_true(m, "dry_run") ? "would be made" :
	    answer_has(m, "ended_ms") && json_object_get(m, "failed") == NULL ? "made" : "not finished",
	    answer_int(m, "fork"), answer_true(m, "dry_run") ? "; nothing was changed" : "");
	if (json_object_get(m, "failed") != NULL)
		fprintf(out, "        %.300s\n", answer_text(m, "failed"));
	print_counts(json_object_get(m, "totals"), out);
	print_notes(json_object_get(m, "shards"), out);
}

static void
print_since(const char *who, json_t *gens, FILE *out)
{
	json_t *g;
	size_t i;

	json_array_foreach(gens, i, g)
		fprintf(out, "  %-10s generation %lld %s from LSN %lld\n", who, answer_int(g, "no"),
		    answer_text(g, "kind"), answer_int(g, "start_lsn"));
}

static void
print_state(json_t *o, FILE *out)
{
	if (!answer_true(o, "split")) {
		fprintf(out, "SPLIT   no\n");
		return;
	}
	fprintf(out, "SPLIT   yes: %s is %s%s, its log ends at %lld\n", answer_text(o, "node"),
	    answer_text(o, "role"), answer_true(o, "here") ? " and stays out" : "",
	    answer_int(o, "tip_lsn"));
	if (answer_has(o, "peer_tip_lsn"))
		fprintf(out, "        the other node's log ends at %lld\n",
		    answer_int(o, "peer_tip_lsn"));
	if (answer_has(o, "fork_lsn")) {
		fprintf(out, "        they part behind LSN %lld\n", answer_int(o, "fork_lsn"));
		print_since("here", json_object_get(o, "here_since"), out);
		print_since("there", json_object_get(o, "peer_since"), out);
	}
	if (answer_true(o, "here"))
		fprintf(out, "HINT    on the active node: hactl split resolve --dry-run\n");
	else if (!answer_true(o, "merging"))
		fprintf(out, "HINT    hactl split resolve --dry-run\n");
}

void
hactl_print_split(json_t *o, bool color, FILE *out)
{
	(void)color;
	if (answer_has(o, "fork")) {
		print_merge(o, out);
		return;
	}
	if (json_object_get(o, "split") == NULL)
		return;			/* an error, which is said elsewhere */
	print_state(o, out);
	if (answer_true(o, "merging")) {
		fprintf(out, "MERGE   %s\n", answer_text(o, "step"));
		print_counts(json_object_get(o, "so_far"), out);
	}
	if (json_is_object(json_object_get(o, "last")))
		print_merge(json_object_get(o, "last"), out);
}
