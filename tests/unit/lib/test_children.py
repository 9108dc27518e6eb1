"""Starting and reaping real processes, in a process of its own each time.

The reaper collects every child of its process, so it is tried in a fresh interpreter, not in the
one that runs the tests.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"

PREAMBLE = """
import asyncio, os, signal, sys
from orlop.lib.children import Children, ExitStatus
from orlop.lib.errors import DeadlineExceeded, OrlopError

def zombies():
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
"""


def run(body: str) -> None:
    """Execute *body*, a coroutine's, with `children` started; it must not raise."""
    code = PREAMBLE + "async def main(children):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    code += """
async def whole():
    children = Children()
    children.start()
    await main(children)
    # An orphan of what was killed may end a moment later.
    async with asyncio.timeout(30):
        while zombies() is not None:
            await asyncio.sleep(0.01)
    children.close()

asyncio.run(whole())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


CASES = {
    "status and output": """
        status, output = await children.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
        assert status == ExitStatus(3), status
        assert output == b"out\\nerr\\n"
    """,
    "signal": """
        status, _ = await children.run(["/bin/sh", "-c", "kill -9 $$"])
        assert (status.code, status.signal) == (137, 9)
    """,
    "hundred at once keep their statuses": """
        async def one(code):
            status, _ = await children.run(["/bin/sh", "-c", f"exit {code}"])
            return status.code
        codes = list(range(100))
        assert await asyncio.gather(*map(one, codes)) == codes
    """,
    "timeout kills the whole session": """
        try:
            await children.run(["/bin/sh", "-c", "sleep 1000 & sleep 1000"], timeout_s=0.2)
        except DeadlineExceeded:
            pass
        else:
            raise AssertionError
    """,
    "cancelling kills and reaps": """
        task = asyncio.ensure_future(children.run(["/bin/sleep", "1000"]))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    """,
    "missing program": """
        try:
            await children.run(["/no/such/program"])
        except OrlopError as error:
            assert "No such file" in str(error)
        else:
            raise AssertionError
    """,
    "nothing is inherited but what was given": """
        reading, writing = os.pipe()
        os.set_inheritable(reading, False)
        status, output = await children.run(["/bin/ls", "/proc/self/fd"])
        assert len(output.split()) == 4, output
    """,
    "an orphan can be adopted after its death": """
        status, output = await children.run(["/bin/sh", "-c", "(sleep 0.2; exit 7) & echo $!"])
        pid = int(output)
        await asyncio.sleep(0.6)
        assert zombies() is None
        child = children.adopt(pid)
        assert (await child.wait()).code == 7
        assert children.orphans_reaped >= 1
    """,
    "an orphan can be adopted alive": """
        status, output = await children.run(["/bin/sh", "-c", "(sleep 0.3; exit 9) & echo $!"])
        child = children.adopt(int(output))
        assert (await child.wait()).code == 9
        assert not child.send_signal(9)
    """,
    "a grandchild that becomes ours after it was adopted": """
        import tempfile
        from orlop.lib import children as module
        module.read_pidfd_status = lambda pidfd: None  # as a kernel that does not tell

        async def until(condition):
            while not condition():
                await asyncio.sleep(0.01)

        directory = tempfile.mkdtemp()
        wait = 'while [ ! -e %s/%s ]; do sleep 0.01; done'
        grandchild = wait % (directory, "second") + "; exit 9"
        parent = f"({grandchild}) & echo $! > {directory}/pid; " + wait % (directory, "first")
        await children.run(["/bin/sh", "-c", f"({parent}) >/dev/null 2>&1 &"])
        written = lambda: os.path.exists(f"{directory}/pid") and open(f"{directory}/pid").read()
        await until(written)
        pid = int(written())
        parent_of = lambda: open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]
        assert parent_of() != str(os.getpid())
        child = children.adopt(pid)
        open(f"{directory}/first", "w").close()
        await until(lambda: parent_of() == str(os.getpid()))
        open(f"{directory}/second", "w").close()
        assert (await child.wait()).code == 9
    """,
    "orphans are told of before they are reaped, and nobody else": """
        told = {}
        def tell(pid, status):
            os.kill(pid, 0)  # a zombie still has its number
            told[pid] = status
        children._on_orphan = tell
        killed = "(sleep 0.2; kill -9 $(exec sh -c 'echo $PPID')) & echo $!"
        both = "(sleep 0.1; exit 7) & echo $!; " + killed
        status, output = await children.run(["/bin/sh", "-c", both])
        first, second = map(int, output.split())
        async with asyncio.timeout(30):
            while len(told) < 2:
                await asyncio.sleep(0.01)
        assert told == {first: ExitStatus(7), second: ExitStatus(137, 9)}, told
        assert (await children.adopt(first).wait()).code == 7
    """,
    "descriptors may be given crosswise": """
        first, second = os.pipe(), os.pipe()
        child = children.spawn(
            ["/bin/sh", "-c", "echo one >&%d; echo two >&%d" % (first[1], second[1])],
            fds={first[1]: second[1], second[1]: first[1]},
        )
        assert (await child.wait()).ok
        assert os.read(first[0], 100) == b"two\\n"
        assert os.read(second[0], 100) == b"one\\n"
    """,
    "who reaps no longer is left no orphans": """
        import ctypes
        def is_subreaper():
            found = ctypes.c_int()
            assert ctypes.CDLL(None).prctl(37, ctypes.byref(found), 0, 0, 0) == 0
            return bool(found)
        assert is_subreaper()
        children.close()
        assert not is_subreaper()
    """,
}


@pytest.mark.parametrize("name", CASES)
def test_children(name: str) -> None:
    run(CASES[name])
