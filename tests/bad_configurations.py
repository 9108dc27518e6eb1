"""Documents that must never be in force, not even in part; for tests of every layer."""

BAD_DOCUMENTS = {
    "yaml": b"hostname: bad\nx: [1\n",
    "tab": b"hostname: bad\n\torlop: {}\n",
    "type": b"hostname: bad\nssh_authorized_keys: {a: 1}\n",
    "key": b"hostname: bad\nhostnam: x\n",
    "duplicate": b"hostname: bad\nhostname: worse\n",
    "list": b"- hostname: bad\n",
    "text": b"hostname\n",
    "number": b"42\n",
    "two": b"hostname: bad\n---\nhostname: worse\n",
    "long": b"hostname: bad\n" + b"# filler\n" * 200_000,
    "long-line": b"hostname: " + b"a" * (10 << 20),
    "values": b"hostname: bad\nx: [" + b"a," * 150_000 + b"]\n",
    "bomb": b"hostname: bad\na: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10)) for c in range(98, 106)
    ),
    "cycle": b"hostname: bad\na: &a {b: *a}\n",
    "deep": b"hostname: bad\na: " + b"[" * 50_000,
    "deep-map": b"hostname: bad\n" + b"".join(b" " * n + b"a:\n" for n in range(200)),
    "binary": bytes(range(256)) * 16,
    "nul": b"hostname: bad\nx: \x00\n",
    "utf-16": "hostname: bad\n".encode("utf-16"),
    "tag": b"hostname: !!python/name:os.system bad\n",
    "merge-key": b"hostname: bad\n<<: {}\n",
}  # fmt: skip
"""Each sets `hostname`, where it can, to something that must never be in force."""
