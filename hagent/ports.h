/* ports.h - can these TCP ports be listened at?  Looking and judging are apart: what was
 * seen of a port is two errno values, and a port that could not be looked at is neither
 * free nor taken. */
#ifndef HAGENT_PORTS_H
#define HAGENT_PORTS_H

#include <stddef.h>

struct port_look {
	int port;
	int err4, err6; /* of binding it over IPv4 and IPv6; 0: it can be had */
};
struct ports {
	unsigned taken, unknown;
	int first_taken, first_unknown; /* 0: none */
	int why;			/* errno of first_unknown */
};

/* Binds and closes, listens at nothing. */
void ports_look(struct port_look *, size_t n);
/* Pure.  A family that this machine does not have takes nothing away from the other. */
void ports_judge(const struct port_look *, size_t n, struct ports *);

#endif
