/* hactl_ask.c - asks a daemon over its control socket, prints the answer, and gives the
 * exit code that came with it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "hactl.h"
#include "hactl_local.h"
#include "hactl_print.h"

#define TIMEOUT_MS 60000
#define QUICK_MS 5000

void
hactl_print_data(json_t *o, bool color, FILE *out)
{
	(void)color;
	hactl_print_any(o, 0, out);
}

struct printer {
	const struct verb *verb;
	const struct hactl_options *o;
	FILE *out, *err;
};

static bool
colored(const struct hactl_options *o)
{
	return !o->no_color && isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
}

static void
print_json(json_t *o, FILE *out)
{
	if (json_is_object(o) && json_object_get(o, "schema") == NULL)
		json_object_set_new(o, "schema", json_integer(1));
	json_dumpf(o, out, JSON_COMPACT);
	fputc('\n', out);
}

void
hactl_put_json(json_t *o)
{
	print_json(o, stdout);
	json_decref(o);
}

static void
on_part(json_t *part, void *arg)
{
	const struct printer *p = arg;

	if (p->o->json)
		print_json(part, p->out);
	else
		p->verb->print(part, colored(p->o), p->out);
	if (p->o->follow && fflush(p->out) == EOF)
		exit(CTL_OK);		/* nobody reads it any more */
	if (strcmp(p->verb->op, "status") == 0 && !p->o->json) {
		fflush(p->out);
		hactl_print_problems(part, p->err);
	}
}

static json_t *
request(const struct verb *v, const struct hactl_options *o, const char *operand)
{
	json_t *r = json_pack("{s:s}", "op", v->op);

	if (o->to != NULL)
		json_object_set_new(r, "node", json_string(o->to));
	if (operand != NULL)
		json_object_set_new(r, v->operand == OPERAND_NODE ? "node" : "resource",
		    json_string(operand));
	json_object_set_new(r, "dry_run", json_boolean(o->dry_run));
	json_object_set_new(r, "peer_is_off", json_boolean(o->peer_is_off));
	json_object_set_new(r, "accept_loss", json_boolean(o->accept_loss));
	json_object_set_new(r, "accept_deletes", json_boolean(o->accept_deletes));
	json_object_set_new(r, "full", json_boolean(o->full_walk));
	json_object_set_new(r, "repair", json_boolean(o->repair));
	json_object_set_new(r, "fire", json_boolean(o->fire));
	json_object_set_new(r, "follow", json_boolean(o->follow));
	if (o->lines != -1)
		json_object_set_new(r, "lines", json_integer(o->lines));
	if (o->for_s > 0)
		json_object_set_new(r, "seconds", json_integer(o->for_s));
	if (o->path != NULL)
		json_object_set_new(r, "path", json_string(o->path));
	return r;
}

static void
print_end(const struct printer *p, json_t *last, enum ctl_exit code)
{
	if (last == NULL) {
		if (code == CTL_UNKNOWN || code == CTL_DENIED)
			fprintf(p->err, "ERROR %s/%s %s\n", p->o->run_dir, p->verb->sock,
			    code == CTL_DENIED ? "may not be opened" : "does not answer");
		else if (code == CTL_TIMEOUT)
			fprintf(p->err, "ERROR timed out; the operation goes on\n"
			    "HINT  hactl status\n");
		return;
	}
	/* A pure end line says nothing more than the exit code. */
	bool has_data = p->verb->print == hactl_print_data ||
	    p->verb->print == hactl_print_sync || p->verb->print == hactl_print_split ||
	    p->verb->print == hactl_print_pass ||
	    p->verb->print == hactl_print_verify;

	if (p->o->json && (p->verb->change || has_data || code >= CTL_USAGE))
		print_json(last, p->out);
	else if (!p->o->json && json_object_get(last, "text") != NULL)
		fprintf(p->out, "%s\n", json_string_value(json_object_get(last, "text")));
	else if (!p->o->json && has_data &&
	    json_object_get(last, "error") == NULL)
		p->verb->print(last, colored(p->o), p->out);
	if (!p->o->json)
		ctl_complain(last);
}

static void
keep_part(json_t *part, void *arg)
{
	json_t **kept = arg;

	json_decref(*kept);
	*kept = json_incref(part);
}

json_t *
hactl_part(const char *run_dir, const char *sock, const char *op, int timeout_ms)
{
	json_t *req = json_pack("{s:s}", "op", op), *part = NULL, *last = NULL;
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", run_dir, sock);
	ctl_ask(path, req, timeout_ms, keep_part, &part, &last);
	json_decref(last);
	json_decref(req);
	return part;
}

/* The daemon allowed it; the words are made of its status. */
static void
print_plan(const struct verb *v, const struct hactl_options *o, const char *operand)
{
	json_t *status = hactl_part(o->run_dir, "hagentd.sock", "status", QUICK_MS);

	if (status != NULL)
		hactl_print_plan(status, v->op, operand != NULL ? operand : o->to, stdout);
	json_decref(status);
}

void
hactl_show_loss(const struct hactl_options *o, FILE *out)
{
	json_t *status = hactl_part(o->run_dir, "hagentd.sock", "status", QUICK_MS);

	if (status != NULL)
		hactl_print_loss(status, o->to, out);
	json_decref(status);
	fflush(out);
}

static int
ask(const struct verb *v, const struct hactl_options *o, const char *operand, FILE *out, FILE *err)
{
	struct printer p = { v, o, out, err };
	json_t *req = request(v, o, operand), *last = NULL;
	char path[4096];
	enum ctl_exit code;
	/* How long a merge takes is nobody's to say. */
	bool endless = o->follow || strcmp(v->op, "split-resolve") == 0;
	int limit = o->timeout_ms > 0 ? o->timeout_ms
	    : endless ? -1 : v->change ? TIMEOUT_MS : QUICK_MS;

	snprintf(path, sizeof(path), "%s/%s", o->run_dir, v->sock);
	code = ctl_ask(path, req, limit, on_part, &p, &last);
	print_end(&p, last, code);
	if (o->dry_run && (v->change || o->fire) && code == CTL_OK && !o->json &&
	    strcmp(v->op, "reload") != 0 && strcmp(v->op, "split-resolve") != 0 &&
	    strcmp(v->op, "sync-now") != 0)
		print_plan(v, o, operand);
	json_decref(last);
	json_decref(req);
	fflush(out);
	return (int)code;
}

int
hactl_ask(const struct verb *v, const struct hactl_options *o, const char *operand)
{
	return ask(v, o, operand, stdout, stderr);
}

/* Over what is there, with one write: nothing flickers, and no old line stays. */
static void
redraw(const char *text, size_t len)
{
	char *screen = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&screen, &size);

	if (f == NULL)
		return;
	fputs("\033[H", f);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			fputs("\033[K", f);
		fputc(text[i], f);
	}
	fputs("\033[J", f);
	fclose(f);
	fwrite(screen, 1, size, stdout);
	fflush(stdout);
	free(screen);
}

static int
ask_and_redraw(const struct verb *v, const struct hactl_options *o, const char *operand)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int code;

	if (f == NULL)
		return ask(v, o, operand, stdout, stderr);
	code = ask(v, o, operand, f, f);
	fclose(f);
	redraw(text, len);
	free(text);
	return code;
}

int
hactl_watch(const struct verb *v, const struct hactl_options *o, const char *operand)
{
	struct timespec pause = { o->watch_s, 0 };

	if (isatty(STDOUT_FILENO))
		fputs("\033[2J", stdout);
	for (;;) {
		if (isatty(STDOUT_FILENO))
			ask_and_redraw(v, o, operand);
		else
			hactl_ask(v, o, operand);
		if (ferror(stdout) || nanosleep(&pause, NULL) == -1)
			return CTL_OK;
	}
}
