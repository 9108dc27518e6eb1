/* Unpacking of a raw deflate stream (RFC 1951). */
#ifndef INFLATE_H
#define INFLATE_H

#include <stdint.h>

/* Unpack the *packed_size* bytes at *packed* to exactly *size* bytes at *output*. 0, or -1 if the
 * stream is damaged or has another size; nothing beyond either buffer is touched. */
int inflate(const uint8_t *packed, uint32_t packed_size, uint8_t *output, uint32_t size);

#endif
