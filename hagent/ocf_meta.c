/* ocf_meta.c - the metadata of an OCF agent, by expat.
 *
 * The text comes from a program of root's, but programs have mistakes: depth, count and
 * length are bounded, a declaration of an entity ends the reading, and an external part
 * is never asked for.  The result is written only when the whole text was read. */
#include "ocf_meta.h"

#include <expat.h>
#include <limits.h>
#include <string.h>

#define DEPTH_MAX 16
#define TIMEOUT_S_MAX 86400

struct reading {
	XML_Parser parser;
	struct ocf_meta meta;
	unsigned depth;
	bool root, in_param;
	const char *why;
};

const char *
ocf_type_name(enum ocf_type t)
{
	return t == OCF_INTEGER	  ? "an integer"
	       : t == OCF_BOOLEAN ? "a boolean"
				  : "a text";
}

static void
fail(struct reading *r, const char *why)
{
	if (r->why == NULL)
		r->why = why;
	XML_StopParser(r->parser, XML_FALSE);
}

static const char *
attribute(const char **atts, const char *name)
{
	for (; atts[0] != NULL; atts += 2)
		if (strcmp(atts[0], name) == 0)
			return atts[1];
	return "";
}

static bool
is_true(const char *s)
{
	static const char *const words[] = {"1", "true", "yes", "on", NULL};

	for (size_t i = 0; words[i] != NULL; i++)
		if (span_is_nocase(span_of(s), words[i]))
			return true;
	return false;
}

/* "20", "20s", "20000ms", "2m"; 0 when it is none of these. */
static int
time_ms(const char *s)
{
	static const struct {
		const char *unit;
		int ms;
	} units[] = {{"", 1000}, {"s", 1000}, {"sec", 1000}, {"ms", 1}, {"msec", 1},
	    {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"hr", 3600000}};
	size_t digits = strspn(s, "0123456789");
	uint64_t n;

	if (span_u64((struct span){s, digits}, INT_MAX, &n) != PARSE_OK)
		return 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(s + digits, units[i].unit) == 0 &&
		    n <= (uint64_t)TIMEOUT_S_MAX * 1000 / (uint64_t)units[i].ms)
			return (int)n * units[i].ms;
	return 0;
}

static void
take_param(struct reading *r, const char **atts)
{
	const char *name = attribute(atts, "name");
	struct ocf_meta *m = &r->meta;
	struct ocf_param *p;

	if (name[0] == '\0' || strlen(name) >= OCF_NAME_MAX) {
		fail(r, "a parameter without a name, or with one that is too long");
		return;
	}
	if (ocf_meta_param(m, span_of(name)) != NULL) {
		fail(r, "a parameter stands there twice");
		return;
	}
	if (m->nparams == OCF_PARAMS_MAX) {
		fail(r, "too many parameters");
		return;
	}
	p = &m->params[m->nparams++];
	memcpy(p->name, name, strlen(name) + 1);
	p->type = OCF_STRING;
	p->required = is_true(attribute(atts, "required"));
	r->in_param = true;
}

static void
take_content(struct reading *r, const char **atts)
{
	struct ocf_param *p = &r->meta.params[r->meta.nparams - 1];
	const char *type = attribute(atts, "type");

	if (strcmp(type, "integer") == 0)
		p->type = OCF_INTEGER;
	else if (strcmp(type, "boolean") == 0)
		p->type = OCF_BOOLEAN;
	/* Who has a default needs no value, whatever "required" says. */
	if (attribute(atts, "default")[0] != '\0')
		p->required = false;
}

/* The longest of several monitors. */
static void
take_action(struct reading *r, const char **atts)
{
	const char *name = attribute(atts, "name");
	int ms = time_ms(attribute(atts, "timeout"));
	int *to = strcmp(name, "start") == 0	 ? &r->meta.start_ms
		  : strcmp(name, "stop") == 0	 ? &r->meta.stop_ms
		  : strcmp(name, "monitor") == 0 ? &r->meta.monitor_ms
						 : NULL;

	if (to != NULL && ms > *to)
		*to = ms;
}

static void XMLCALL
on_open(void *arg, const char *name, const char **atts)
{
	struct reading *r = arg;

	if (++r->depth > DEPTH_MAX)
		fail(r, "it is nested too deep");
	else if (r->depth == 1 && strcmp(name, "resource-agent") != 0)
		fail(r, "it is no resource-agent");
	else if (strcmp(name, "parameter") == 0)
		take_param(r, atts);
	else if (strcmp(name, "content") == 0 && r->in_param)
		take_content(r, atts);
	else if (strcmp(name, "action") == 0)
		take_action(r, atts);
	r->root = true;
}

static void XMLCALL
on_close(void *arg, const char *name)
{
	struct reading *r = arg;

	r->depth--;
	if (strcmp(name, "parameter") == 0)
		r->in_param = false;
}

static void XMLCALL
on_entity(void *arg, const char *name, int is_parameter, const char *value, int len,
    const char *base, const char *system, const char *public, const char *notation)
{
	(void)name;
	(void)is_parameter;
	(void)value;
	(void)len;
	(void)base;
	(void)system;
	(void)public;
	(void)notation;
	fail(arg, "it declares entities");
}

int
ocf_meta_read(struct span xml, struct ocf_meta *out, const char **why)
{
	struct reading r = {.parser = XML_ParserCreate("UTF-8")};
	bool ok;

	*why = "no memory";
	if (r.parser == NULL || xml.len > INT_MAX) {
		XML_ParserFree(r.parser);
		return -1;
	}
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_open, on_close);
	XML_SetEntityDeclHandler(r.parser, on_entity);
	ok =
	    XML_Parse(r.parser, xml.p, (int)xml.len, 1) == XML_STATUS_OK && r.why == NULL;
	*why = r.why != NULL ? r.why : XML_ErrorString(XML_GetErrorCode(r.parser));
	XML_ParserFree(r.parser);
	if (!ok)
		return -1;
	*out = r.meta;
	return 0;
}

const struct ocf_param *
ocf_meta_param(const struct ocf_meta *m, struct span name)
{
	for (size_t i = 0; i < m->nparams; i++)
		if (span_is(name, m->params[i].name))
			return &m->params[i];
	return NULL;
}

bool
ocf_value_fits(enum ocf_type t, const char *value)
{
	/* As ocf-shellfuncs reads them, who takes every other word for "no". */
	static const char *const words[] = {"1", "yes", "true", "on", "ja", "YES", "TRUE",
	    "True", "ON", "0", "no", "false", "off", "nein", "NO", "FALSE", "False",
	    "OFF", NULL};
	uint64_t n;

	if (t == OCF_INTEGER)
		return span_u64(span_of(value[0] == '-' ? value + 1 : value), INT64_MAX,
			   &n) == PARSE_OK;
	for (size_t i = 0; t == OCF_BOOLEAN && words[i] != NULL; i++)
		if (strcmp(value, words[i]) == 0)
			return true;
	return t == OCF_STRING;
}
