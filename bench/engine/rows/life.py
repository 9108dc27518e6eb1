"""One container from its creation to its end: over the API, and on the command line."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial

from bench.engine.client import Client
from bench.engine.contestants import Bundle, Contestant
from bench.engine.measure import IMAGE, SLEEP, TRUE, Options, Sample, Steps, time_ms

WARM_UP = 3
DOCKER, OWN = "run --rm by docker's command", "run --rm by the engine's own command"
# As the machine starts it, but that its modules are in a checkout: without -OO, which the modules
# of the tool root's Python are not compiled for.
OUR_MAIN = "import sys; from orlop.cli.main import main; sys.exit(main(sys.argv[1:]))"
OUR_COMMAND = [sys.executable, "-S", "-c", OUR_MAIN, "docker"]


def life(side: Contestant, options: Options) -> Steps:
    """Create, start, wait for and delete a container over the API."""
    lives = {network: _life_on(side, network) for network in ("none", "bridge")}
    for run in range(-WARM_UP, options.runs):
        samples = []
        for network, live in lives.items():
            if live is not None:
                figure = f"create, start, wait, delete: network {network}"
                samples.append(Sample(side.name, figure, time_ms(live)))
        yield samples if run >= 0 else []


def _life_on(side: Contestant, network: str) -> Callable[[], None] | None:
    if side.is_floor:
        bundle = Bundle(side, TRUE)
        return (lambda: bundle.crun("run", "floor")) if network == "none" else None
    client = side.client()
    if network == "bridge" and network not in side.networks():
        network = "podman"

    def live() -> None:
        container = client.create(IMAGE, TRUE, network)
        client.start(container)
        client.wait(container)
        client.remove(container)

    return live


def command_line(side: Contestant, options: Options) -> Steps:
    """`run --rm busybox true` by docker's command, and by each engine's own."""
    if side.is_floor:
        bundle = Bundle(side, TRUE)
        calls = {OWN: lambda: bundle.crun("run", "floor")}
    else:
        words = ["run", "--rm", "--network=none", IMAGE, "true"]
        own = {"podman": ["podman"], "dockerd": ["docker"]}.get(side.name, OUR_COMMAND)
        environment = {**side.docker(), **side.environment}
        calls = {OWN: partial(_call, [*own, *words], environment)}
        if side.name != "podman":
            calls[DOCKER] = partial(_call, ["docker", *words], environment)
    for run in range(-1, max(options.runs // 2, 3)):
        samples = [Sample(side.name, figure, time_ms(call)) for figure, call in calls.items()]
        yield samples if run >= 0 else []


def _call(argv: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(argv, env=environment, check=False, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} run: {done.stderr.decode(errors='replace')[-300:]}")


def execute(side: Contestant, options: Options) -> Steps:
    """Exec in a running container: create, start, read its output to the end."""
    if side.is_floor:
        bundle = Bundle(side, SLEEP)
        bundle.crun("run", "--detach", "exec")
        once: Callable[[], None] = lambda: bundle.crun("exec", "exec", "/bin/true")  # noqa: E731
        finish: Callable[[], None] = lambda: bundle.crun("delete", "--force", "exec")  # noqa: E731
    else:
        client = side.client()
        container = client.create(IMAGE, SLEEP, "none")
        client.start(container)
        once = _executor(client, container)
        finish = lambda: client.end(container)  # noqa: E731
    for run in range(-WARM_UP, options.runs):
        taken_ms = time_ms(once)
        yield [Sample(side.name, "exec", taken_ms)] if run >= 0 else []
    finish()


def _executor(client: Client, container: str) -> Callable[[], None]:
    wanted = {"AttachStdout": True, "AttachStderr": True, "Cmd": TRUE}

    def once() -> None:
        session = client.call("POST", f"/containers/{container}/exec", wanted)["Id"]
        # The answer is the connection itself; its end is the end of the program.
        attached = Client(client.path)
        attached.call("POST", f"/exec/{session}/start", {"Detach": False, "Tty": False})
        attached.close()

    return once
