/* packet.h - the ARP and neighbour discovery packets that a virtual address needs,
 * as bytes behind the Ethernet header.  Pure.  RFC 826, 5227, 4861. */
#ifndef HAGENT_PACKET_H
#define HAGENT_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_MAX 128

struct packet {
	uint16_t ethertype;
	uint8_t to[6];		/* Ethernet destination */
	size_t len;
	uint8_t data[PACKET_MAX];
};

/* "addr is at mac": ARP request (reply = false) or reply with sender = target. */
void packet_garp(struct packet *, const uint8_t mac[6], const uint8_t addr[4], bool reply);
/* "who has addr": from no address, so that no cache is changed. */
void packet_arp_probe(struct packet *, const uint8_t mac[6], const uint8_t addr[4]);
/* Unsolicited neighbour advertisement with override, to all nodes. */
void packet_na(struct packet *, const uint8_t mac[6], const uint8_t addr[16]);
/* Neighbour solicitation from the unspecified address, to the solicited-node group. */
void packet_ns(struct packet *, const uint8_t addr[16]);
/* Does this received packet say that another than own_mac has the address? */
bool packet_claims4(const uint8_t *, size_t, const uint8_t addr[4], const uint8_t own_mac[6]);
/* from: the Ethernet source of the packet. */
bool packet_claims6(const uint8_t *, size_t, const uint8_t from[6], const uint8_t addr[16],
    const uint8_t own_mac[6]);

#endif
