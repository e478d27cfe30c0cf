/* setup.c - answers in, three files out.  Every word of an answer is checked for its form
 * before it is kept, so nothing that is written needs quoting; what is left to find is
 * found by the daemons' own checks. */
#include "setup.h"

#include <arpa/inet.h>
#include <string.h>

static const struct {
	const char *name, *text;
} questions[SETUP_QUESTIONS] = {
    {"cluster", "Name of the pair and of the mail server (mail.example.org)"},
    {"node-1", "First node: its name (uname -n) and address (ha-1 192.0.2.11)"},
    {"node-2", "Second node (ha-2 192.0.2.12)"},
    {"second-path",
	"Second path between them: interface and both addresses (eth1 10.1.0.1 "
	"10.1.0.2), a serial line (/dev/ttyS0), both, or none"},
    {"vip", "Virtual address with its prefix, and interface (192.0.2.5/24 eth0)"},
    {"ping", "What answers to ping while a node is not cut off (192.0.2.1), or none"},
};

const char *
setup_name(enum setup_question q)
{
	return questions[q].name;
}

const char *
setup_text(enum setup_question q)
{
	return questions[q].text;
}

/* ---- words -------------------------------------------------------------------- */

static bool
word_of(struct span s, const char *letters, char *dst, size_t size)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') &&
		    (c < '0' || c > '9') && (c == '\0' || strchr(letters, c) == NULL))
			return false;
	}
	return s.len > 0 && s.p[0] != '-' && span_copy(s, dst, size) == 0;
}

static bool
address_of(struct span s, char dst[46])
{
	unsigned char bytes[16];
	char text[46];

	if (span_copy(s, text, sizeof(text)) == -1 ||
	    (inet_pton(AF_INET, text, bytes) != 1 &&
		inet_pton(AF_INET6, text, bytes) != 1))
		return false;
	memcpy(dst, text, sizeof(text));
	return true;
}

/* Up to max words; the number, or max + 1 when there are more. */
static size_t
words(struct span s, struct span *w, size_t max)
{
	struct span one;
	size_t n = 0;

	while (span_cut(&s, ' ', &one)) {
		one = span_trim(one);
		if (one.len == 0)
			continue;
		if (n == max)
			return max + 1;
		w[n++] = one;
	}
	return n;
}

static bool
is_none(struct span s)
{
	return s.len == 0 || span_is_nocase(s, "none");
}

/* ---- answers ------------------------------------------------------------------ */

static const char *
take_node(struct setup *s, int i, struct span *w, size_t n)
{
	if (n != 2 || !word_of(w[0], "-.", s->node[i], sizeof(s->node[i])) ||
	    !address_of(w[1], s->lan[i]))
		return "expected the node's name and a literal address";
	return NULL;
}

/* "eth1 10.1.0.1 10.1.0.2", "/dev/ttyS0", or both */
static const char *
take_second(struct setup *s, struct span *w, size_t n)
{
	static const char expected[] =
	    "expected INTERFACE ADDRESS ADDRESS, /dev/TTY, both or none";

	s->serial[0] = s->second_interface[0] = '\0';
	if (n > 0 && w[n - 1].p[0] == '/') {
		if (!word_of(w[n - 1], "/-._", s->serial, sizeof(s->serial)))
			return expected;
		n--;
	}
	if (n == 0)
		return s->serial[0] != '\0' ? NULL : expected;
	if (n != 3 ||
	    !word_of(w[0], "-._@", s->second_interface, sizeof(s->second_interface)) ||
	    !address_of(w[1], s->second[0]) || !address_of(w[2], s->second[1]))
		return expected;
	return NULL;
}

static const char *
take_vip(struct setup *s, struct span *w, size_t n)
{
	static const char expected[] = "expected ADDRESS/PREFIX INTERFACE";
	struct span rest, address;
	char text[46];
	uint64_t prefix;

	if (n != 2 || !word_of(w[1], "-._@", s->interface, sizeof(s->interface)))
		return expected;
	rest = w[0];
	if (!span_cut(&rest, '/', &address) || !address_of(address, text) ||
	    span_u64(rest, 128, &prefix) != PARSE_OK || prefix == 0 ||
	    span_copy(w[0], s->vip, sizeof(s->vip)) == -1)
		return expected;
	return NULL;
}

const char *
setup_answer(struct setup *s, enum setup_question q, struct span answer)
{
	struct span w[8];
	size_t n;

	answer = span_trim(answer);
	n = words(answer, w, 8);
	switch (q) {
	case SETUP_CLUSTER:
		return n == 1 && word_of(w[0], "-.", s->cluster, sizeof(s->cluster))
			   ? NULL
			   : "expected a host name";
	case SETUP_NODE1:
	case SETUP_NODE2:
		return take_node(s, q == SETUP_NODE2, w, n);
	case SETUP_SECOND:
		return is_none(answer) ? NULL
		       : n > 4	       ? "expected at most four words"
				       : take_second(s, w, n);
	case SETUP_VIP:
		return take_vip(s, w, n);
	case SETUP_PING:
		return is_none(answer) || (n == 1 && address_of(w[0], s->ping))
			   ? NULL
			   : "expected a literal address, or none";
	case SETUP_QUESTIONS:
		break;
	}
	return "no such question";
}

const char *
setup_answers(struct setup *s, struct span text, int *line)
{
	bool given[SETUP_QUESTIONS] = {false};
	struct span raw, name;

	*line = 0;
	while (span_cut(&text, '\n', &raw)) {
		const char *why = "expected \"name = answer\" with a name of hactl(8)";

		++*line;
		if (raw.len > 0 && raw.p[raw.len - 1] == '\r')
			raw.len--;
		raw = span_trim(raw);
		if (raw.len == 0 || raw.p[0] == '#')
			continue;
		(void)span_cut(&raw, '=', &name);
		for (int q = 0; raw.p != NULL && q < SETUP_QUESTIONS; q++) {
			if (!span_is(span_trim(name), questions[q].name))
				continue;
			why = given[q] ? "given twice"
				       : setup_answer(s, (enum setup_question)q, raw);
			given[q] = true;
		}
		if (why != NULL)
			return why;
	}
	*line = 0;
	for (int q = 0; q < SETUP_QUESTIONS; q++)
		if (!given[q])
			return "an answer is missing";
	return NULL;
}

const char *
setup_check(const struct setup *s)
{
	if (strcmp(s->node[0], s->node[1]) == 0)
		return "both nodes have the same name";
	if (strcmp(s->lan[0], s->lan[1]) == 0 ||
	    (s->second_interface[0] != '\0' && strcmp(s->second[0], s->second[1]) == 0))
		return "both nodes have the same address";
	if ((strchr(s->lan[0], ':') == NULL) != (strchr(s->lan[1], ':') == NULL) ||
	    (strchr(s->second[0], ':') == NULL) != (strchr(s->second[1], ':') == NULL))
		return "both addresses of a path have to be of the same family";
	if (strcmp(s->second_interface, s->interface) == 0)
		return "the second path is on the interface of the first";
	return NULL;
}

/* ---- files ---------------------------------------------------------------------- */

static void
write_link(
    const struct setup *s, const char *interface, const char address[2][46], FILE *out)
{
	fprintf(out,
	    "link \"%s\" {\n\tmedium = \"udp\"\n\tinterface = \"%s\"\n\taddress = { "
	    "\"%s=%s\", \"%s=%s\" }\n}\n",
	    interface, interface, s->node[0], address[0], s->node[1], address[1]);
}

void
setup_write_hagent(const struct setup *s, FILE *out)
{
	fprintf(out,
	    "# hagent.conf, made by hactl setup.  The same file on both nodes; every\n"
	    "# other option has its default: hagent.conf(5).\n\ncluster = \"%s\"\n"
	    "node \"%s\" { }\nnode \"%s\" { }\n\n",
	    s->cluster, s->node[0], s->node[1]);
	if (s->second_interface[0] != '\0')
		write_link(s, s->second_interface, s->second, out);
	write_link(s, s->interface, s->lan, out);
	if (s->serial[0] != '\0')
		fprintf(out,
		    "link \"%s\" {\n\tmedium = \"serial\"\n\tdevice = \"%s\"\n}\n",
		    strrchr(s->serial, '/') + 1, s->serial);
	fprintf(out, "\nvip \"%s\" { interface = \"%s\" }\n", s->vip, s->interface);
	if (s->ping[0] != '\0')
		fprintf(out, "ping = { \"%s\" }\n", s->ping);
	fprintf(out,
	    "\nresource \"syncer\" { script = \"syncer\" }\nresource \"maild\" {\n"
	    "\tscript = \"maild\"\n\tdrain = true\n}\n");
}

void
setup_write_syncd(const struct setup *s, const char *const pins[2], FILE *out)
{
	fprintf(out,
	    "# syncd.conf, made by hactl setup.  The same file on both nodes; every\n"
	    "# other option has its default: syncd.conf(5).\n\ncluster = \"%s\"\n",
	    s->cluster);
	for (int i = 0; i < 2; i++) {
		fprintf(out, "node \"%s\" {\n\taddress = { ", s->node[i]);
		if (s->second_interface[0] != '\0')
			fprintf(out, "\"%s\", ", s->second[i]);
		fprintf(out, "\"%s\" }\n\tcertificate = \"%s\"\n}\n", s->lan[i], pins[i]);
	}
}

void
setup_write_maild(const struct setup *s, FILE *out)
{
	fprintf(out,
	    "# maild.conf, made by hactl setup.  The same file on both nodes; every\n"
	    "# other option has its default: maild.conf(5).\n\nhostname = \"%s\"\n",
	    s->cluster);
}
