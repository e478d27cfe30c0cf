/* hactl_monitor.c - the command hactl check: asks for one status, runs the checks that
 * were named, or all, and gives the worst of them as the exit code. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "hactl.h"
#include "hactl_check.h"
#include "hactl_local.h"

#define QUICK_MS 5000

static void
print_result(const struct check_result *r, bool json)
{
	if (json)
		hactl_put_json(json_pack("{s:i, s:s, s:s, s:i, s:s}", "schema", 1, "check", r->name,
		    "state", check_code_name(r->code), "code", (int)r->code, "text", r->text));
	else
		printf("%-8s %-12s %s\n", check_code_name(r->code), r->name, r->text);
}

static void
print_list(bool json)
{
	const char *about;

	for (size_t i = 0; i < check_count(); i++) {
		const char *name = check_name(i, &about);

		if (json)
			hactl_put_json(json_pack("{s:i, s:s, s:s}", "schema", 1, "check", name, "about",
			    about));
		else
			printf("%-12s %s\n", name, about);
	}
}

static bool
wanted(const char *name, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(name, argv[i]) == 0)
			return true;
	return argc == 0;
}

int
hactl_check(const struct hactl_options *o, int argc, char **argv)
{
	enum ctl_exit worst = CTL_OK;
	struct check_result r;
	json_t *status;

	for (int i = 0; i < argc; i++) {
		if (check_known(argv[i]))
			continue;
		fprintf(stderr, "ERROR no check \"%s\"\nHINT  hactl check --list\n", argv[i]);
		return CTL_USAGE;
	}
	if (o->list) {
		print_list(o->json);
		return CTL_OK;
	}
	status = hactl_part(o->run_dir, "hagentd.sock", "status",
	    o->timeout_ms > 0 ? o->timeout_ms : QUICK_MS);
	for (size_t i = 0; i < check_count(); i++) {
		if (!wanted(check_name(i, NULL), argc, argv))
			continue;
		check_run(i, status, &r);
		print_result(&r, o->json);
		worst = check_worst(worst, r.code);
	}
	json_decref(status);
	return (int)worst;
}
