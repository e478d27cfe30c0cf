/* hactl_loss.c - what a failover could lose, as the node knows it that shall take over.
 *
 * Nothing is called 0 that only is not known: what the silent node may have acknowledged by
 * itself since it was heard last is named as such. */
#include "hactl_print.h"

#include <string.h>

#include "answer.h"

struct loss {
	json_t *self, *peer, *data;
	const char *name;	/* of the peer */
	bool silent;		/* the peer is */
	bool complete;		/* all that was acknowledged as far as anybody knows is here */
	bool heard;		/* the peer's last position is known: */
	long long ahead;	/* records it had more; may be negative */
	char ago[32];		/* it was heard last */
};

static void
gather(json_t *s, struct loss *l)
{
	l->self = json_object_get(s, "self");
	l->peer = json_object_get(s, "peer");
	l->data = json_object_get(s, "data");
	l->name = answer_text(l->peer, "name");
	l->silent = strcmp(answer_text(l->peer, "state"), "silent") == 0;
	l->complete = answer_true(l->data, "complete");
	l->heard = answer_has(l->peer, "durable_lsn");
	l->ahead = answer_int(l->peer, "durable_lsn") - answer_int(l->self, "durable_lsn");
	answer_span(answer_int(l->peer, "silent_ms"), l->ago, sizeof(l->ago));
}

static void
print_amount(const struct loss *l, FILE *out)
{
	fprintf(out, "LOSS     ");
	if (l->complete)
		fprintf(out, "acknowledged mail 0   flag changes 0");
	else if (l->heard)
		fprintf(out, "%lld or more records of acknowledged mail and flag changes",
		    l->ahead > 0 ? l->ahead : 0);
	else
		fprintf(out, "not known, %s was not heard since hagentd started here", l->name);
}

static void
print_step(const struct loss *l, FILE *out)
{
	char span[32];

	if (l->complete && !answer_true(l->data, "insync"))
		fprintf(out, ": this node was the last that could acknowledge\n");
	else if (answer_true(l->data, "insync") && l->silent)
		fprintf(out, ": in step until %s fell silent %s ago\n", l->name, l->ago);
	else if (answer_true(l->data, "insync"))
		fprintf(out, ": in step with %s, which is heard\n", l->name);
	else if (answer_has(l->data, "in_step_ms"))
		fprintf(out, ": in step until %s ago\n", answer_span(answer_int(l->data,
		    "in_step_ms"), span, sizeof(span)));
	else
		fprintf(out, ": not in step since hagentd started here\n");
}

static void
print_positions(const struct loss *l, FILE *out)
{
	if (l->heard)
		fprintf(out, "         %s log %lld:%lld, heard %s ago   %s log %lld:%lld\n", l->name,
		    answer_int(l->peer, "generation"), answer_int(l->peer, "durable_lsn"), l->ago,
		    answer_text(l->self, "name"), answer_int(l->self, "generation"),
		    answer_int(l->self, "durable_lsn"));
	if (l->complete && l->heard && l->ahead > 0)
		fprintf(out, "         %lld records of %s were not acknowledged yet\n", l->ahead,
		    l->name);
}

static void
print_unknown(const struct loss *l, FILE *out)
{
	if (answer_true(l->data, "outdated"))
		fprintf(out, "         %s went on alone: what it acknowledged since is missing here\n",
		    l->name);
	else if (l->silent && strcmp(answer_text(l->data, "commit"), "strict") != 0)
		fprintf(out, "         not known: what %s acknowledged alone behind that\n", l->name);
}

void
hactl_print_loss(json_t *s, const char *to, FILE *out)
{
	struct loss l;

	gather(s, &l);
	if (strcmp(answer_text(l.self, "role"), "active") == 0
	    || (to != NULL && strcmp(to, answer_text(l.self, "name")) != 0))
		return;
	if (!json_is_object(l.data)) {
		fprintf(out, "LOSS     not known: this pair has no syncd, its resources keep their "
		    "data themselves\n");
		return;
	}
	if (!answer_true(l.data, "connected")) {
		fprintf(out, "LOSS     not known: syncd does not answer on %s\n",
		    answer_text(l.self, "name"));
		return;
	}
	print_amount(&l, out);
	print_step(&l, out);
	print_positions(&l, out);
	print_unknown(&l, out);
}
