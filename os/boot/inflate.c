/* Inflate for a program without a library. Source: RFC 1951; numbers in brackets are its sections.
 *
 * A code is kept as how many codes there are of each length, and the symbols in the order of their
 * codes (3.2.2): a code of a length is valid if it is less than the first one of that length plus
 * their number. That is slower than a table and takes half a screen.
 */
#include "inflate.h"

enum {
    MAX_BITS = 15,
    LITERALS = 288,
    DISTANCES = 32,
    LENGTH_CODES = 19,
    END_OF_BLOCK = 256,
    FIRST_LENGTH = 257,
};

struct stream {
    const uint8_t *packed;
    uint8_t *output;
    uint32_t packed_size, read, size, written;
    uint32_t bits, bit_count;
    int failed;
};

struct code {
    uint16_t count[MAX_BITS + 1];
    uint16_t symbol[LITERALS];
};

/* The next *count* bits, the first one lowest (3.1.1); up to 16. */
static uint32_t take(struct stream *stream, uint32_t count)
{
    while (stream->bit_count < count) {
        if (stream->read == stream->packed_size) {
            stream->failed = 1;
            return 0;
        }
        stream->bits |= (uint32_t)stream->packed[stream->read++] << stream->bit_count;
        stream->bit_count += 8;
    }
    uint32_t value = stream->bits & ((1u << count) - 1);
    stream->bits >>= count;
    stream->bit_count -= count;
    return value;
}

static void put(struct stream *stream, uint8_t byte)
{
    if (stream->written == stream->size)
        stream->failed = 1;
    else
        stream->output[stream->written++] = byte;
}

/* The code in which symbol number i has *lengths*[i] bits, 0 for none (3.2.2). */
static void make_code(struct code *code, const uint8_t *lengths, uint32_t symbols)
{
    uint16_t place[MAX_BITS + 1];
    for (uint32_t length = 0; length <= MAX_BITS; length++)
        code->count[length] = 0;
    for (uint32_t i = 0; i < symbols; i++)
        code->count[lengths[i]]++;
    code->count[0] = 0;
    place[0] = 0;
    for (uint32_t length = 1; length <= MAX_BITS; length++)
        place[length] = (uint16_t)(place[length - 1] + code->count[length - 1]);
    for (uint32_t i = 0; i < symbols; i++)
        if (lengths[i] != 0)
            code->symbol[place[lengths[i]]++] = (uint16_t)i;
}

static uint32_t take_symbol(struct stream *stream, const struct code *code)
{
    uint32_t value = 0, first = 0, place = 0;
    for (uint32_t length = 1; length <= MAX_BITS && !stream->failed; length++) {
        value |= take(stream, 1);
        uint32_t count = code->count[length];
        if (value - first < count)
            return code->symbol[place + value - first];
        place += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    stream->failed = 1;
    return END_OF_BLOCK;
}

/* Lengths and distances go by a base and more bits, of which there is one more every *step* codes
 * (3.2.5, whose two tables these are). */
static uint32_t take_range(struct stream *stream, uint32_t symbol, uint32_t step, uint32_t start)
{
    if (symbol < 2 * step)
        return start + symbol;
    uint32_t extra = symbol / step - 1;
    return start + ((step + symbol % step) << extra) + take(stream, extra);
}

static void copy(struct stream *stream, uint32_t symbol, const struct code *distances)
{
    uint32_t length = 258;
    if (symbol > FIRST_LENGTH + 28)
        stream->failed = 1;
    else if (symbol < FIRST_LENGTH + 28)
        length = take_range(stream, symbol - FIRST_LENGTH, 4, 3);
    uint32_t code = take_symbol(stream, distances);
    uint32_t distance = code < 30 ? take_range(stream, code, 2, 1) : 0;
    if (distance == 0 || distance > stream->written)
        stream->failed = 1;
    while (length-- > 0 && !stream->failed)
        put(stream, stream->output[stream->written - distance]);
}

static void take_compressed(
    struct stream *stream, const struct code *literals, const struct code *distances)
{
    while (!stream->failed) {
        uint32_t symbol = take_symbol(stream, literals);
        if (symbol == END_OF_BLOCK)
            return;
        if (symbol < END_OF_BLOCK)
            put(stream, (uint8_t)symbol);
        else
            copy(stream, symbol, distances);
    }
}

static void take_stored(struct stream *stream)
{
    stream->bits = stream->bit_count = 0; /* the rest of the byte; no more than that is taken ahead */
    uint32_t size = take(stream, 16);
    if (size != (take(stream, 16) ^ 0xffff))
        stream->failed = 1;
    while (size-- > 0 && !stream->failed)
        put(stream, (uint8_t)take(stream, 8));
}

static void make_fixed(struct code *literals, struct code *distances)
{
    uint8_t lengths[LITERALS];
    for (uint32_t i = 0; i < LITERALS; i++)
        lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_code(literals, lengths, LITERALS);
    for (uint32_t i = 0; i < DISTANCES; i++)
        lengths[i] = 5;
    make_code(distances, lengths, DISTANCES);
}

/* The codes of a block that brings its own (3.2.7). */
static void take_codes(struct stream *stream, struct code *literals, struct code *distances)
{
    static const uint8_t ORDER[LENGTH_CODES] = {
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[LITERALS + DISTANCES];
    uint32_t literal_count = take(stream, 5) + 257, distance_count = take(stream, 5) + 1;
    uint32_t length_count = take(stream, 4) + 4, done = 0;
    for (uint32_t i = 0; i < LENGTH_CODES; i++)
        lengths[ORDER[i]] = i < length_count ? (uint8_t)take(stream, 3) : 0;
    make_code(literals, lengths, LENGTH_CODES);
    while (done < literal_count + distance_count && !stream->failed) {
        uint32_t symbol = take_symbol(stream, literals), times = 1;
        uint8_t length = (uint8_t)symbol;
        if (symbol >= 16) {
            length = symbol == 16 && done > 0 ? lengths[done - 1] : 0;
            times = symbol == 16 ? 3 + take(stream, 2) : symbol == 17 ? 3 + take(stream, 3)
                                                                      : 11 + take(stream, 7);
        }
        if ((symbol == 16 && done == 0) || done + times > literal_count + distance_count)
            stream->failed = 1;
        while (times-- > 0 && !stream->failed)
            lengths[done++] = length;
    }
    if (literal_count > LITERALS - 2 || stream->failed) {
        stream->failed = 1;
        return;
    }
    make_code(literals, lengths, literal_count);
    make_code(distances, lengths + literal_count, distance_count);
}

int inflate(const uint8_t *packed, uint32_t packed_size, uint8_t *output, uint32_t size)
{
    struct stream stream = {.packed = packed, .packed_size = packed_size,
                            .output = output, .size = size};
    struct code literals, distances;
    uint32_t last = 0;
    while (!last && !stream.failed) {
        last = take(&stream, 1);
        uint32_t kind = take(&stream, 2);
        if (kind == 0) {
            take_stored(&stream);
            continue;
        }
        if (kind == 1)
            make_fixed(&literals, &distances);
        else if (kind == 2)
            take_codes(&stream, &literals, &distances);
        else
            stream.failed = 1;
        take_compressed(&stream, &literals, &distances);
    }
    return stream.failed || stream.written != size ? -1 : 0;
}
