/* packet.c - builds and reads ARP and neighbour discovery packets.
 *
 * Pure: bytes in, bytes out.  The readers take anything from the wire; what is not
 * exactly the answer that was asked for says "no claim".  A claim can be forged by
 * any host of the segment, as can the address itself: it can only keep this node
 * from taking the address, never make it take it. */
#include "packet.h"

#include <string.h>

#include "wire.h"

#define ETHERTYPE_ARP4 0x0806
#define ETHERTYPE_IP6 0x86dd
#define IP6_HEADER 40
#define ND_LEN 32	/* header, target, one link-layer address option */
#define ND_NS 135
#define ND_NA 136
#define NEXT_ICMP6 58

static void
arp(struct packet *p, uint16_t op, const uint8_t mac[6], const uint8_t sender[4],
    const uint8_t target[4])
{
	uint8_t *d = p->data;

	memset(p, 0, sizeof(*p));
	p->ethertype = ETHERTYPE_ARP4;
	memset(p->to, 0xff, 6);
	wire_store16(d, 1);		/* Ethernet */
	wire_store16(d + 2, 0x0800);	/* IPv4 */
	d[4] = 6;
	d[5] = 4;
	wire_store16(d + 6, op);
	memcpy(d + 8, mac, 6);
	memcpy(d + 14, sender, 4);
	if (op == 2)
		memcpy(d + 18, mac, 6);
	memcpy(d + 24, target, 4);
	p->len = 28;
}

void
packet_garp(struct packet *p, const uint8_t mac[6], const uint8_t addr[4], bool reply)
{
	arp(p, reply ? 2 : 1, mac, addr, addr);
}

void
packet_arp_probe(struct packet *p, const uint8_t mac[6], const uint8_t addr[4])
{
	static const uint8_t none[4];

	arp(p, 1, mac, none, addr);
}

static uint32_t
sum16(const uint8_t *p, size_t n)
{
	uint32_t s = 0;

	for (size_t i = 0; i + 1 < n; i += 2)
		s += wire_load16(p + i);
	return s;
}

/* The ICMPv6 checksum covers a pseudo header: both addresses, length, next header. */
static void
checksum(uint8_t *ip, uint32_t icmp_len)
{
	uint8_t *icmp = ip + IP6_HEADER;
	uint32_t s = sum16(ip + 8, 32) + icmp_len + NEXT_ICMP6 + sum16(icmp, icmp_len);

	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	wire_store16(icmp + 2, (uint16_t)~s);
}

static uint8_t *
ip6(struct packet *p, const uint8_t src[16], const uint8_t dst[16], size_t icmp_len)
{
	uint8_t *d = p->data;

	memset(p, 0, sizeof(*p));
	p->ethertype = ETHERTYPE_IP6;
	p->to[0] = p->to[1] = 0x33;
	memcpy(p->to + 2, dst + 12, 4);
	d[0] = 0x60;
	wire_store16(d + 4, (uint16_t)icmp_len);
	d[6] = NEXT_ICMP6;
	d[7] = 255;		/* RFC 4861: receivers drop anything lower */
	memcpy(d + 8, src, 16);
	memcpy(d + 24, dst, 16);
	p->len = IP6_HEADER + icmp_len;
	return d + IP6_HEADER;
}

void
packet_na(struct packet *p, const uint8_t mac[6], const uint8_t addr[16])
{
	static const uint8_t all_nodes[16] = { 0xff, 0x02, [15] = 1 };
	uint8_t *icmp = ip6(p, addr, all_nodes, ND_LEN);

	icmp[0] = ND_NA;
	icmp[4] = 0x20;		/* override */
	memcpy(icmp + 8, addr, 16);
	icmp[24] = 2;		/* target link-layer address */
	icmp[25] = 1;
	memcpy(icmp + 26, mac, 6);
	checksum(p->data, ND_LEN);
}

/* RFC 4862: a probe from no address carries no link-layer address option. */
void
packet_ns(struct packet *p, const uint8_t addr[16])
{
	static const uint8_t none[16];
	uint8_t group[16] = { 0xff, 0x02, [11] = 1, [12] = 0xff };
	uint8_t *icmp;

	memcpy(group + 13, addr + 13, 3);
	icmp = ip6(p, none, group, ND_LEN - 8);
	icmp[0] = ND_NS;
	memcpy(icmp + 8, addr, 16);
	checksum(p->data, ND_LEN - 8);
}

bool
packet_claims4(const uint8_t *p, size_t n, const uint8_t addr[4], const uint8_t own_mac[6])
{
	if (n < 28 || wire_load16(p) != 1 || wire_load16(p + 2) != 0x0800 || p[4] != 6 ||
	    p[5] != 4)
		return false;
	return memcmp(p + 14, addr, 4) == 0 && memcmp(p + 8, own_mac, 6) != 0;
}

bool
packet_claims6(const uint8_t *p, size_t n, const uint8_t from[6], const uint8_t addr[16],
    const uint8_t own_mac[6])
{
	if (n < IP6_HEADER + 24 || p[0] >> 4 != 6 || p[6] != NEXT_ICMP6 || p[7] != 255)
		return false;
	p += IP6_HEADER;
	return p[0] == ND_NA && p[1] == 0 && memcmp(p + 8, addr, 16) == 0 &&
	    memcmp(from, own_mac, 6) != 0;
}
