/* hactl_setup.c - hactl setup and hactl join: a new pair from six answers.  setup makes
 * keys, certificates and configuration of both nodes, installs those of this one, and
 * writes the other node's into a bundle; join installs that.
 *
 * Nothing is written before everything is made, and no file is replaced that somebody
 * wrote, unless --force says so; the shipped examples are nobody's. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"
#include "cluster_key.h"
#include "ctl.h"
#include "fs.h"
#include "hactl_local.h"
#include "hactl_run.h"
#include "hex.h"
#include "mem.h"
#include "paths.h"
#include "setup.h"
#include "tls.h"

#define CHECK_MS 30000
#define FILE_MAX (1u << 20)

static const char usage[] =
    "usage: hactl setup [--answers FILE] [--bundle FILE] [--force] [--dry-run]\n"
    "       hactl join FILE [--fingerprint DIGITS] [--force] [--dry-run]\n"
    "options of both: --etc DIR --node NAME --json\n";

struct run {
	struct hactl_local local;
	json_t *told; /* with --json: what the text would say; else NULL */
	const char *answers, *bundle, *fingerprint, *etc, *node;
	bool force, dry_run;
	struct setup setup;
	struct bundle of[2]; /* for each node */
};

/* ---- answers ----------------------------------------------------------------------- */

static int
read_answers(struct run *r)
{
	const char *why;
	char *text;
	size_t len;
	int line;

	if (fs_read(r->answers, FILE_MAX, &text, &len) == -1) {
		fprintf(stderr, "ERROR %s: %s\n", r->answers, strerror(errno));
		return -1;
	}
	why = setup_answers(&r->setup, (struct span){text, len}, &line);
	free(text);
	if (why != NULL && line > 0)
		fprintf(stderr, "ERROR %s:%d: %s\n", r->answers, line, why);
	else if (why != NULL)
		fprintf(stderr, "ERROR %s: %s\n", r->answers, why);
	return why == NULL ? 0 : -1;
}

/* -1: the end of the input. */
static int
ask(struct setup *s, enum setup_question q)
{
	char line[512];
	const char *why;

	do {
		fprintf(stderr, "%s: ", setup_text(q));
		if (fgets(line, sizeof(line), stdin) == NULL)
			return -1;
		line[strcspn(line, "\r\n")] = '\0';
		why = setup_answer(s, q, span_of(line));
		if (why != NULL)
			fprintf(stderr, "%s\n", why);
	} while (why != NULL);
	return 0;
}

static int
get_answers(struct run *r)
{
	const char *why;

	if (r->answers != NULL) {
		if (read_answers(r) == -1)
			return -1;
	} else {
		for (int q = 0; q < SETUP_QUESTIONS; q++)
			if (ask(&r->setup, (enum setup_question)q) == -1)
				return -1;
	}
	why = setup_check(&r->setup);
	if (why != NULL)
		fprintf(stderr, "ERROR %s\n", why);
	return why == NULL ? 0 : -1;
}

static int
self_of(const struct run *r)
{
	for (int i = 0; i < 2; i++)
		if (strcmp(r->setup.node[i], r->node) == 0)
			return i;
	fprintf(stderr,
	    "ERROR this host is \"%s\": expected it to be one of the two nodes\n"
	    "HINT  hostnamectl, or --node NAME\n",
	    r->node);
	return -1;
}

/* ---- making ------------------------------------------------------------------------ */

typedef void write_fn(const struct setup *, const char *const pins[2], FILE *);

static void
write_hagent(const struct setup *s, const char *const pins[2], FILE *out)
{
	(void)pins;
	setup_write_hagent(s, out);
}

static void
write_maild(const struct setup *s, const char *const pins[2], FILE *out)
{
	(void)pins;
	setup_write_maild(s, out);
}

static const struct {
	const char *name;
	write_fn *write;
} confs[] = {
    {"hagent.conf", write_hagent},
    {"syncd.conf", setup_write_syncd},
    {"maild.conf", write_maild},
};

static int
add_copy(struct bundle *b, const char *name, unsigned mode, const char *data, size_t len)
{
	char *copy = mem_copy(data, len);

	if (bundle_add(b, name, mode, copy, len) == 0)
		return 0;
	free(copy);
	return -1;
}

static int
add_both(struct run *r, const char *name, unsigned mode, const char *data, size_t len)
{
	return add_copy(&r->of[0], name, mode, data, len) == 0 &&
		       add_copy(&r->of[1], name, mode, data, len) == 0
		   ? 0
		   : -1;
}

static int
add_confs(struct run *r, const char *const pins[2])
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(confs) / sizeof(confs[0]); i++) {
		char *text = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		if (f == NULL)
			return -1;
		confs[i].write(&r->setup, pins, f);
		rc = fclose(f) == 0 ? add_both(r, confs[i].name, 0644, text, len) : -1;
		free(text);
	}
	return rc;
}

static int
add_cluster_key(struct run *r)
{
	struct cluster_keys keys = {0};
	char text[CLUSTER_KEY_TEXT];
	size_t len;
	int rc;

	(void)cluster_keys_add(&keys);
	len = cluster_keys_print(&keys, text);
	rc = add_both(r, "cluster.key", 0600, text, len);
	mem_wipe(text, sizeof(text));
	cluster_keys_wipe(&keys);
	return rc;
}

/* Makes dir/NAME.crt and .key unless they are there, and adds them to each bundle given.
 */
static int
add_certificate(const char *dir, const char *subject, const char *file, const char *as,
    struct bundle *a, struct bundle *b)
{
	static const struct {
		const char *end;
		unsigned mode;
	} parts[] = {{"crt", 0644}, {"key", 0600}};
	char *crt = mem_printf("%s/%s.crt", dir, file),
	     *key = mem_printf("%s/%s.key", dir, file);
	int rc = tls_make_cert(subject, crt, key) == 0 || errno == EEXIST ? 0 : -1;

	for (int i = 0; rc == 0 && i < 2; i++) {
		char name[64], *text;
		size_t len;

		snprintf(name, sizeof(name), "%s.%s", as, parts[i].end);
		rc = fs_read(i == 0 ? crt : key, FILE_MAX, &text, &len);
		if (rc == -1)
			break;
		rc = add_copy(a, name, parts[i].mode, text, len);
		if (rc == 0 && b != NULL)
			rc = add_copy(b, name, parts[i].mode, text, len);
		mem_wipe(text, len);
		free(text);
	}
	if (rc == -1)
		fprintf(
		    stderr, "ERROR certificate of %s: %s\n", subject, strerror(errno));
	free(crt);
	free(key);
	return rc;
}

/* One that a public authority signed, and that is there already, is used. */
static int
add_mail_certificate(struct run *r, const char *tmp)
{
	char *crt = mem_printf("%s/tls/mail.crt", r->etc),
	     *dir = mem_printf("%s/tls", r->etc);
	int rc = add_certificate(access(crt, F_OK) == 0 ? dir : tmp, r->setup.cluster,
	    "mail", "tls/mail", &r->of[0], &r->of[1]);

	free(crt);
	free(dir);
	return rc;
}

static int
make_all(struct run *r, const char *tmp)
{
	char pin[2][80];
	const char *const pins[2] = {pin[0], pin[1]};

	for (int i = 0; i < 2; i++) {
		char file[8], *path, err[200], hex[65];
		struct tls_pin p;
		int rc;

		snprintf(r->of[i].node, sizeof(r->of[i].node), "%s", r->setup.node[i]);
		snprintf(file, sizeof(file), "node%d", i);
		if (add_certificate(
			tmp, r->setup.node[i], file, "syncd", &r->of[i], NULL) == -1)
			return -1;
		path = mem_printf("%s/%s.crt", tmp, file);
		rc = tls_pin_of_file(path, &p, err, sizeof(err));
		free(path);
		if (rc == -1)
			return -1;
		snprintf(
		    pin[i], sizeof(pin[i]), "sha256:%s", hex_encode(p.sha256, 32, hex));
	}
	/* They are written in this order.  A supervisor may try the daemons all the time: with
	 * the key there they must not start on the examples that were shipped. */
	return add_confs(r, pins) == -1 || add_mail_certificate(r, tmp) == -1
		   ? -1
		   : add_cluster_key(r);
}

/* ---- installing ---------------------------------------------------------------------
 */

static bool
same_text(const char *path, const char *data, size_t len)
{
	char *text;
	size_t n;
	bool same;

	if (fs_read(path, FILE_MAX, &text, &n) == -1)
		return false;
	same = n == len && memcmp(text, data, n) == 0;
	mem_wipe(text, n);
	free(text);
	return same;
}

/* What is there may be the very same, or the example that was shipped. */
static bool
may_install(const struct run *r, const struct bundle_file *f)
{
	char *path = mem_printf("%s/%s", r->etc, f->name), *text;
	char *shipped = mem_printf("%s/etc/%s", PATH_LIB, f->name);
	bool ok = access(path, F_OK) == -1 || same_text(path, f->data, f->len);
	size_t len;

	if (!ok && fs_read(shipped, FILE_MAX, &text, &len) == 0) {
		ok = same_text(path, text, len);
		free(text);
	}
	if (!ok)
		ok = hactl_may_write(path, r->force);
	free(path);
	free(shipped);
	return ok;
}

/* It was written, or would be. */
static void
tell_file(const struct run *r, const char *path, const struct bundle_file *f)
{
	if (r->told != NULL)
		json_array_append_new(json_object_get(r->told, "files"),
		    json_pack("{s:s, s:s, s:i}", "path", path, "mode",
			f->mode == 0600 ? "0600" : "0644", "bytes", (int)f->len));
	else if (r->dry_run)
		printf("WOULD  write %s %04o, %zu bytes\n", path, f->mode, f->len);
}

static int
install(const struct run *r, const struct bundle *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!may_install(r, &b->file[i]))
			return CTL_CONFLICT;
	for (size_t i = 0; i < b->n; i++) {
		const struct bundle_file *f = &b->file[i];
		char *path = mem_printf("%s/%s", r->etc, f->name);
		char *dir = mem_printf("%.*s", (int)(strrchr(path, '/') - path), path);
		int rc;

		if (r->dry_run)
			rc = 0;
		else
			rc = fs_mkdirs(dir, 0755) == -1
				 ? -1
				 : hactl_write(path, f->data, f->len, f->mode);
		if (rc == 0)
			tell_file(r, path, f);
		free(dir);
		free(path);
		if (rc == -1)
			return CTL_HALF_DONE;
	}
	return CTL_OK;
}

/* As the daemons see it. */
static int
check(const struct run *r)
{
	static const char *const daemons[] = {"hagentd", "syncd", "maild"};
	static const char *const files[] = {"hagent.conf", "syncd.conf", "maild.conf"};
	int code = CTL_OK;

	for (size_t i = 0; i < 3; i++) {
		char *path = mem_printf("%s/%s", r->etc, files[i]), *text;
		const char *argv[] = {hactl_program(daemons[i]), "-n", "-c", path,
		    i < 2 ? "-N" : NULL, r->node, NULL};
		size_t len;

		if (hactl_run(argv, CHECK_MS, &text, &len) != 0) {
			fprintf(stderr, "%s%s -n did not accept %s\n", text, daemons[i],
			    path);
			code = CTL_BAD_CONFIG;
		}
		free(text);
		free(path);
	}
	return code;
}

/* ---- setup ---------------------------------------------------------------------------
 */

static int
write_bundle(const struct run *r, const struct bundle *b)
{
	char *text = NULL, print[BUNDLE_PRINT];
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int rc;

	if (f == NULL)
		return -1;
	bundle_write(b, f);
	rc = fclose(f) == 0 ? hactl_write(r->bundle, text, len, 0600) : -1;
	if (rc == 0)
		bundle_fingerprint((struct span){text, len}, print);
	if (rc == 0 && r->told != NULL) {
		json_object_set_new(r->told, "bundle", json_string(r->bundle));
		json_object_set_new(r->told, "for", json_string(b->node));
		json_object_set_new(r->told, "fingerprint", json_string(print));
	} else if (rc == 0) {
		printf("%s holds the keys and files of %s, fingerprint %s\n", r->bundle,
		    b->node, print);
		fprintf(stderr,
		    "HINT  scp -p %s %s:/root/ and there: hactl join "
		    "/root/%s; then remove both\nHINT  then on both nodes: hactl "
		    "preflight && "
		    "systemctl enable --now syncd maild hagentd\n",
		    r->bundle, b->node,
		    strrchr(r->bundle, '/') == NULL ? r->bundle
						    : strrchr(r->bundle, '/') + 1);
	}
	mem_wipe(text, len);
	free(text);
	return rc;
}

/* Of a dry run; never what else is in the bundle: keys. */
static void
print_confs(const struct run *r, const struct bundle *b)
{
	for (size_t i = 0; i < b->n; i++)
		for (size_t k = 0; k < sizeof(confs) / sizeof(confs[0]); k++) {
			const struct bundle_file *f = &b->file[i];

			if (strcmp(f->name, confs[k].name) != 0)
				continue;
			if (r->told != NULL)
				json_object_set_new(
				    r->told, f->name, json_stringn(f->data, f->len));
			else
				printf("\n%.*s", (int)f->len, f->data);
		}
}

static int
make_and_install(struct run *r, int self, const char *tmp)
{
	int code;

	if (make_all(r, tmp) == -1) {
		fprintf(stderr, "ERROR keys and certificates: %s; nothing was written\n",
		    strerror(errno));
		return CTL_DENIED;
	}
	if (!r->dry_run && !hactl_may_write(r->bundle, r->force))
		return CTL_CONFLICT;
	code = install(r, &r->of[self]);
	if (code != CTL_OK)
		return code;
	if (r->dry_run) {
		print_confs(r, &r->of[self]);
		return CTL_OK;
	}
	code = check(r);
	return write_bundle(r, &r->of[1 - self]) == -1 ? CTL_HALF_DONE : code;
}

static int
setup(struct run *r)
{
	char tmp[] = "/tmp/hactl-setup.XXXXXX";
	int self, code;

	if (get_answers(r) == -1)
		return CTL_USAGE;
	self = self_of(r);
	if (self == -1)
		return CTL_USAGE;
	if (mkdtemp(tmp) == NULL) {
		fprintf(stderr, "ERROR %s: %s\n", tmp, strerror(errno));
		return CTL_DENIED;
	}
	code = make_and_install(r, self, tmp);
	(void)fs_remove_tree(tmp);
	bundle_clear(&r->of[0]);
	bundle_clear(&r->of[1]);
	return code;
}

/* ---- join -----------------------------------------------------------------------------
 */

static bool
fingerprint_is(const struct run *r, struct span text)
{
	char print[BUNDLE_PRINT], line[64];
	const char *typed = r->fingerprint;

	bundle_fingerprint(text, print);
	if (typed == NULL) {
		fprintf(stderr, "Fingerprint that hactl setup printed: ");
		if (fgets(line, sizeof(line), stdin) == NULL)
			line[0] = '\0';
		line[strcspn(line, "\r\n")] = '\0';
		typed = line;
	}
	if (strcmp(typed, print) == 0)
		return true;
	fprintf(stderr,
	    "ERROR the fingerprint is another one; nothing was written\nHINT  copy the "
	    "bundle again, and read the line that hactl setup printed\n");
	return false;
}

static int
join_text(struct run *r, struct span text)
{
	const char *why = bundle_read(text, &r->of[0]);
	int code;

	if (why != NULL) {
		fprintf(stderr, "ERROR %s: %s\n", r->bundle, why);
		return CTL_BAD_CONFIG;
	}
	if (strcmp(r->of[0].node, r->node) != 0) {
		fprintf(stderr, "ERROR it is for node %s, and this is %s\n",
		    r->of[0].node, r->node);
		return CTL_CONFLICT;
	}
	if (!fingerprint_is(r, text))
		return CTL_REFUSED;
	code = install(r, &r->of[0]);
	if (code != CTL_OK || r->dry_run)
		return code;
	code = check(r);
	if (code == CTL_OK && unlink(r->bundle) == 0) {
		if (r->told != NULL)
			json_object_set_new(r->told, "removed", json_string(r->bundle));
		else
			printf("installed; %s is removed\n", r->bundle);
	}
	if (r->told == NULL)
		fprintf(stderr,
		    "HINT  hactl preflight && systemctl enable --now syncd maild hagentd\n");
	return code;
}

static int
join(struct run *r)
{
	char *text;
	size_t len;
	int code;

	if (fs_read(r->bundle, BUNDLE_MAX, &text, &len) == -1) {
		fprintf(stderr, "ERROR %s: %s\n", r->bundle, strerror(errno));
		return CTL_NOT_FOUND;
	}
	code = join_text(r, (struct span){text, len});
	bundle_clear(&r->of[0]);
	mem_wipe(text, len);
	free(text);
	return code;
}

/* ---- options
 * --------------------------------------------------------------------------- */

enum { O_ANSWERS = 256, O_BUNDLE, O_PRINT, O_ETC, O_NODE, O_FORCE, O_DRY };

static int
set_option(struct run *r, int ch, bool joining)
{
	switch (ch) {
	case O_ANSWERS:
		r->answers = optarg;
		return joining ? -1 : 0;
	case O_BUNDLE:
		r->bundle = optarg;
		return joining ? -1 : 0;
	case O_PRINT:
		r->fingerprint = optarg;
		return joining ? 0 : -1;
	case O_ETC:
		r->etc = optarg;
		return 0;
	case O_NODE:
		r->node = optarg;
		return 0;
	case O_FORCE:
		r->force = true;
		return 0;
	case O_DRY:
		r->dry_run = true;
		return 0;
	default:
		return -1;
	}
}

static int
run(int argc, char **argv, bool joining)
{
	static const struct option longs[] = {
	    {"answers", required_argument, NULL, O_ANSWERS},
	    {"bundle", required_argument, NULL, O_BUNDLE},
	    {"fingerprint", required_argument, NULL, O_PRINT},
	    {"etc", required_argument, NULL, O_ETC},
	    {"node", required_argument, NULL, O_NODE},
	    {"force", no_argument, NULL, O_FORCE},
	    {"dry-run", no_argument, NULL, O_DRY},
	    LOCAL_OPTIONS,
	    {NULL, 0, NULL, 0},
	};
	static struct run r; /* two bundles are large */
	char host[256] = "", *own;
	int ch, code;

	r = (struct run){.etc = PATH_ETC, .node = host};
	(void)gethostname(host, sizeof(host) - 1);
	while ((ch = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (ch == 'h')
			return fputs(usage, stdout), CTL_OK;
		if (!hactl_local_option(&r.local, ch) && set_option(&r, ch, joining) == -1)
			return fputs(usage, stderr), CTL_USAGE;
	}
	if (argc - optind != joining)
		return fputs(usage, stderr), CTL_USAGE;
	umask(077);
	own = mem_printf("%s/join.bundle", r.etc);
	if (joining)
		r.bundle = argv[optind];
	else if (r.bundle == NULL)
		r.bundle = own;
	if (r.local.json)
		r.told = json_pack("{s:i, s:b, s:[]}", "schema", 1, "written", !r.dry_run, "files");
	code = joining ? join(&r) : setup(&r);
	if (r.told != NULL && code < CTL_USAGE)
		hactl_put_json(json_incref(r.told));
	json_decref(r.told);
	free(own);
	return code;
}

int
hactl_setup(int argc, char **argv)
{
	return run(argc, argv, false);
}

int
hactl_join(int argc, char **argv)
{
	return run(argc, argv, true);
}
