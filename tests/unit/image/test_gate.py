"""The gate unpacks what was packed, and nothing else: its inflate against zlib."""

import random
import subprocess
import zlib
from pathlib import Path

import pytest

from orlop.image.gate import pack
from orlop.lib.process import run

INFLATE = Path("os/boot/inflate.c").absolute()
DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include "inflate.h"
/* SIZE on the command line, the stream on stdin; the output on stdout, or status 1. The copy is as
 * long as the stream, so that the sanitizer sees a read beyond it. */
int main(int count, char **words)
{
    static uint8_t given[1 << 20];
    uint32_t size = count > 1 ? (uint32_t)strtoul(words[1], NULL, 10) : 0;
    uint32_t packed_size = (uint32_t)fread(given, 1, sizeof given, stdin);
    uint8_t *packed = malloc(packed_size + !packed_size), *output = malloc(size + !size);
    for (uint32_t i = 0; i < packed_size; i++)
        packed[i] = given[i];
    if (inflate(packed, packed_size, output, size) != 0)
        return 1;
    fwrite(output, 1, size, stdout);
    return 0;
}
"""
SAMPLES = {
    "nothing": b"",
    "one byte": b"x",
    "repeated": b"abc" * 30_000,
    "zeros": bytes(70_000),
    "text": bytes(random.Random(1).choice(b"etaoin shrdlu") for _ in range(40_000)),
    "noise": random.Random(2).randbytes(70_000),
    "program": Path("/usr/bin/busybox").read_bytes()[:200_000],
}
STRATEGIES = (
    zlib.Z_DEFAULT_STRATEGY,
    zlib.Z_FILTERED,
    zlib.Z_HUFFMAN_ONLY,
    zlib.Z_RLE,
    zlib.Z_FIXED,
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inflate")
    (folder / "driver.c").write_text(DRIVER)
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc-14", "-O1", "-I", str(INFLATE.parent), *sanitizers]
    run([*command, "-o", folder / "inflate", folder / "driver.c", INFLATE], timeout_s=120)
    return folder / "inflate"


def unpack(program: Path, packed: bytes, size: int) -> bytes | None:
    done = subprocess.run(
        [program, str(size)],
        input=packed,
        capture_output=True,
        env={"ASAN_OPTIONS": "detect_leaks=0"},
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.stdout if done.returncode == 0 else None


def deflate(data: bytes, level: int, strategy: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("name", SAMPLES)
def test_what_zlib_packs_is_unpacked(program: Path, name: str) -> None:
    data = SAMPLES[name]
    for level in (0, 1, 9):
        for strategy in STRATEGIES:
            assert unpack(program, deflate(data, level, strategy), len(data)) == data
    assert unpack(program, pack(data)[4:], len(data)) == data
    assert int.from_bytes(pack(data)[:4], "little") == len(data)


def test_another_size_is_refused(program: Path) -> None:
    data = SAMPLES["text"]
    packed = deflate(data, 9, zlib.Z_DEFAULT_STRATEGY)
    assert unpack(program, packed, len(data) - 1) is None
    assert unpack(program, packed, len(data) + 1) is None


def test_damage_is_never_more_than_a_failure(program: Path) -> None:
    """Whatever the stream says: no access beyond a buffer, which the sanitizer would end."""
    chance = random.Random(3)
    data = SAMPLES["program"][:20_000]
    packed = deflate(data, 9, zlib.Z_DEFAULT_STRATEGY)
    refused = 0
    for _ in range(60):
        damaged = bytearray(packed)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        refused += unpack(program, bytes(damaged), len(data)) is None
        assert unpack(program, packed[: chance.randrange(len(packed))], len(data)) is None
        unpack(program, chance.randbytes(300), len(data))
    assert refused
