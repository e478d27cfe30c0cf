/* import.h - Heartbeat's three files (versions 1 to 3) turned into hagent.conf.
 *
 * Pure: texts in, text out; no file, socket or clock.  What the texts do not say
 * (addresses of interfaces, which scripts there are) comes from the environment that
 * the caller gives.  Whatever the input is, work and memory are bounded: what is over a
 * limit is noted and left out.  Each line without an equivalent gives one note that
 * says what to do instead; nothing is dropped in silence. */
#ifndef HAGENT_IMPORT_H
#define HAGENT_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "span.h"

#define IMPORT_FILE_MAX (256u << 10) /* of each of the three */
#define IMPORT_NETS_MAX 64
#define IMPORT_GIVEN_MAX 16

enum import_file { IMPORT_HA_CF, IMPORT_HARESOURCES, IMPORT_AUTHKEYS };
const char *import_file_name(enum import_file);

enum import_level {
	IMPORT_WARN,  /* works, but an administrator has to look */
	IMPORT_ERROR, /* no usable configuration can be written */
};

/* An address on an interface of this machine. */
struct import_net {
	char interface[16];
	char address[46];
	uint8_t prefix;
};
/* --address NODE[:INTERFACE]=ADDRESS */
struct import_given {
	char node[65];
	char interface[16]; /* "" any */
	char address[46];
};

struct import_env {
	const char *cluster; /* name of the pair, "" = made of the nodes' names */
	const char *node;    /* this machine's name */
	const char *key_file;
	struct import_net nets[IMPORT_NETS_MAX];
	size_t nnets;
	struct import_given given[IMPORT_GIVEN_MAX];
	size_t ngiven;
	bool (*have_script)(void *arg, const char *name); /* or path */
	/* Line 0: of the whole file.  The text is one line of printable ASCII. */
	void (*note)(
	    void *arg, enum import_level, enum import_file, int line, const char *text);
	void *arg;
};

struct import;

struct import *import_new(const struct import_env *); /* env is borrowed */
void import_free(struct import *);
/* In this order, each once; a file that there is none of may be left out. */
void import_ha_cf(struct import *, struct span text);
void import_haresources(struct import *, struct span text);
void import_authkeys(struct import *, struct span text);
/* Checks what joins the files; false: there was an error, and nothing can be written. */
bool import_finish(struct import *);
void import_write(const struct import *, FILE *);

#endif
