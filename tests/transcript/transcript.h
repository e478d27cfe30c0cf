/* transcript.h - dialogues with an engine, from text files.
 *
 *   engine imap                 first line: which engine
 *   # comment
 *   setup WORDS...              handed to the engine, before or between the lines
 *   C: text                     the client sends text and CRLF; \xNN \r \n \\ are bytes
 *   C- text                     the same without CRLF
 *   S: text                     exactly this line comes
 *   S~ pattern                  a line comes that fnmatch(3) finds to be this
 *   C2: S2: C2- S2~ ...         the same on connection 2 (opened by "open 2")
 *   eof                         the client closes its sending side ("eof 2")
 *   end                         the engine has closed the connection ("end 2")
 *
 * Everything that the server says has to be in the file.  Each file is run twice: what
 * the client says before it waits goes in as one piece, and then byte by byte. */
#ifndef TESTS_TRANSCRIPT_H
#define TESTS_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <event2/buffer.h>

#define TRANSCRIPT_CONNS 4	/* numbered from 1 */

struct engine {
	const char *name;
	void *(*new)(void);
	void (*free)(void *);
	/* false: the words were not understood, or the connection cannot be opened */
	bool (*setup)(void *, const char *words);
	bool (*open)(void *, int conn);		/* 1 is opened before the first line */
	/* Takes the bytes and works until nothing more happens. */
	void (*input)(void *, int conn, const char *, size_t);
	void (*eof)(void *, int conn);
	/* Moves what came out since the last call. */
	void (*output)(void *, int conn, struct evbuffer *);
	bool (*closed)(void *, int conn);
};

/* One table, in transcript_run.c; an engine is one file of this folder. */
extern const struct engine engine_imap, engine_pop3;
extern const struct engine engine_smtp, engine_gate_imap, engine_gate_pop3;

#endif
