"""A large image: loaded, pulled, pushed, and the first container from it."""

from pathlib import Path

from bench.engine import large
from bench.engine.contestants import Contestant
from bench.engine.measure import TRUE, Options, Sample, Steps, time_ms

LOADED = f"{large.NAME}:{large.TAG}"
NO_LOGIN = {"X-Registry-Auth": "e30="}


def prepare_archive(work: Path, options: Options) -> None:
    large.archive(work, options.large_megabytes)


def prepare_registry(work: Path, options: Options) -> None:
    large.reference(work, options.large_megabytes)


def load(side: Contestant, options: Options) -> Steps:
    """`docker load` of an uncompressed archive; the floor only hashes its layers."""
    image = large.archive(side.work.parent, options.large_megabytes)
    for _ in range(options.rounds):
        if side.is_floor:
            yield [Sample(side.name, "load", large.hash_layers_s(image), "s")]
            continue
        client = side.client()
        tar = {"Content-Type": "application/x-tar"}
        taken_ms = time_ms(client.send_file, "/images/load?quiet=1", image.archive, tar)
        samples = [Sample(side.name, "load", taken_ms / 1000, "s")]
        samples.append(_first_container(side, LOADED, "load"))
        taken_ms = time_ms(client.call, "DELETE", f"/images/{LOADED}?force=1")
        samples.append(Sample(side.name, "removing the image", taken_ms / 1000, "s"))
        yield samples


def pull(side: Contestant, options: Options) -> Steps:
    """`docker pull` over loopback; the floor hashes, unpacks and hashes the layers."""
    image = large.archive(side.work.parent, options.large_megabytes)
    reference = large.reference(side.work.parent, options.large_megabytes)
    for _ in range(options.rounds):
        if side.is_floor:
            yield [Sample(side.name, "pull", large.unpack_layers_s(image), "s")]
            continue
        client = side.client()
        taken_ms = time_ms(_pull, side, reference)
        samples = [Sample(side.name, "pull", taken_ms / 1000, "s")]
        samples.append(_first_container(side, reference, "pull"))
        client.call("DELETE", f"/images/{reference}?force=1")
        yield samples


def push(side: Contestant, options: Options) -> Steps:
    """`docker push` of what was pulled, to another registry that is empty."""
    work = side.work.parent
    image = large.archive(work, options.large_megabytes)
    reference = large.reference(work, options.large_megabytes)
    if not side.is_floor:
        _pull(side, reference)
    for _ in range(options.rounds):
        if side.is_floor:
            yield [Sample(side.name, "push", large.hash_blobs_s(image), "s")]
            continue
        client = side.client()
        with large.empty_registry(work) as host:
            target = f"{host}/{large.NAME}"
            query = f"repo={target}&tag={large.TAG}"
            client.call("POST", f"/images/{reference}/tag?{query}")
            path = f"/images/{target}/push?tag={large.TAG}&tlsVerify=false"
            taken_ms = time_ms(client.follow, "POST", path, NO_LOGIN)
        client.call("DELETE", f"/images/{target}:{large.TAG}?noprune=1")
        yield [Sample(side.name, "push", taken_ms / 1000, "s")]
    if not side.is_floor:
        side.client().call("DELETE", f"/images/{reference}?force=1")


def _pull(side: Contestant, reference: str) -> None:
    name, _, tag = reference.rpartition(":")
    path = f"/images/create?fromImage={name}&tag={tag}&tlsVerify=false"
    side.client().follow("POST", path, {})


def _first_container(side: Contestant, image: str, how: str) -> Sample:
    client = side.client()

    def run() -> None:
        container = client.create(image, TRUE, "none")
        client.start(container)
        status = client.wait(container)
        client.remove(container)
        if status:
            raise RuntimeError(f"the first container ended with {status}")

    return Sample(side.name, f"first container after {how}", time_ms(run))
