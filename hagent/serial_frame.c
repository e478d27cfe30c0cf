/* serial_frame.c - frames on a serial line: COBS and CRC-16, zero bytes between.
 *
 * The decoder takes one byte at a time, holds at most SERIAL_MAX of them, and finds
 * the next frame after any damage at the next zero byte.  The CRC only keeps line
 * noise from costing a MAC; it protects against nobody. */
#include <errno.h>
#include <string.h>

#include "frame.h"
#include "wire.h"

/* CRC-16/CCITT-FALSE */
static uint16_t
crc16(const uint8_t *p, size_t len)
{
	uint16_t crc = 0xffff;

	for (size_t i = 0; i < len; i++) {
		crc = (uint16_t)(crc ^ p[i] << 8);
		for (int k = 0; k < 8; k++)
			crc = (uint16_t)((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

/* Each code byte says how far the next zero is; 255 says: 254 bytes, no zero. */
static size_t
cobs_encode(const uint8_t *src, size_t len, uint8_t *dst)
{
	size_t code_at = 0, n = 1;
	uint8_t code = 1;

	for (size_t i = 0; i < len; i++) {
		if (src[i] != 0) {
			dst[n++] = src[i];
			code++;
		}
		if (src[i] == 0 || code == 0xff) {
			dst[code_at] = code;
			code_at = n++;
			code = 1;
		}
	}
	dst[code_at] = code;
	return n;
}

/* In place is fine: the output never overtakes the input. */
static size_t
cobs_decode(const uint8_t *src, size_t len, uint8_t *dst)
{
	size_t n = 0, i = 0;

	while (i < len) {
		uint8_t code = src[i++];

		if (code == 0 || i + code - 1 > len)
			return 0;
		for (uint8_t k = 1; k < code; k++)
			dst[n++] = src[i++];
		if (code != 0xff && i < len)
			dst[n++] = 0;
	}
	return n;
}

int
serial_wrap(const uint8_t *frame, size_t len, uint8_t *dst, size_t size)
{
	uint8_t raw[FRAME_MAX + 2];
	size_t n;

	/* Two delimiters, one code byte for each 254 bytes and one more. */
	if (len > FRAME_MAX || size < len + 2 + 2 + (len + 2) / 254 + 1) {
		errno = EMSGSIZE;
		return -1;
	}
	memcpy(raw, frame, len);
	wire_store16(raw + len, crc16(frame, len));
	dst[0] = 0;		/* ends whatever noise stood before */
	n = cobs_encode(raw, len + 2, dst + 1) + 1;
	dst[n++] = 0;
	return (int)n;
}

/* The first read of a live line begins in the middle of a frame: skip it. */
void
serial_in_init(struct serial_in *in)
{
	memset(in, 0, sizeof(*in));
	in->skip = true;
}

static size_t
whole(struct serial_in *in, uint8_t out[FRAME_MAX])
{
	size_t n = cobs_decode(in->buf, in->len, in->buf);

	if (n < 3 || n - 2 > FRAME_MAX || crc16(in->buf, n - 2) != wire_load16(in->buf + n - 2)) {
		in->bad++;
		return 0;
	}
	memcpy(out, in->buf, n - 2);
	return n - 2;
}

size_t
serial_feed(struct serial_in *in, uint8_t byte, uint8_t out[FRAME_MAX])
{
	size_t n = 0;

	if (byte == 0) {
		if (in->skip)
			in->skip = false;
		else if (in->len > 0)
			n = whole(in, out);
		in->len = 0;
		return n;
	}
	if (in->skip)
		return 0;
	if (in->len == sizeof(in->buf)) {
		in->bad++;
		in->skip = true;
		return 0;
	}
	in->buf[in->len++] = byte;
	return 0;
}
