/* crc32c.h - CRC-32C (Castagnoli), by the processor where it can. */
#ifndef LIB_CRC32C_H
#define LIB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *, size_t);	/* start with 0 */
uint32_t crc32c_table(uint32_t crc, const void *, size_t);	/* for the test */

#endif
