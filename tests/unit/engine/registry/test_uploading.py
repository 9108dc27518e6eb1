"""What is compressed for a push."""

import gzip
import hashlib
import io
from pathlib import Path

import pytest

from orlop.engine.registry.uploading import compress


@pytest.mark.parametrize("data", [b"", b"x", bytes(3 << 20), bytes(range(256)) * 9000])
def test_compress(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    results = []
    for name in ("a", "b"):
        stream, descriptor = compress(io.BytesIO(data), name)
        with stream:
            stream.seek(0)
            results.append(stream.read())
        assert descriptor.size == len(results[-1])
        assert descriptor.digest == f"sha256:{hashlib.sha256(results[-1]).hexdigest()}"

    assert results[0] == results[1]
    assert gzip.decompress(results[0]) == data
