"""Requests that reach out to registries: pull, push, login, what a registry has, search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.api.router import Route
from orlop.lib.errors import Forbidden, InvalidArgument, NotFound, NotImplementedYet, OrlopError

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine
    from orlop.engine.registry.service import RegistryService
    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord
    from orlop.wire.registry.auth_config import AuthConfig
    from orlop.wire.registry.progress import Message
    from orlop.wire.registry.reference import Reference

SEARCH_FILTERS = frozenset({"is-automated", "is-official", "stars"})
DEFAULT_SEARCH_LIMIT = 25
MAX_SEARCH_LIMIT = 100
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""
    handlers = _Handlers(engine)
    return [
        Route("POST", "/images/create", handlers.create),
        Route("POST", "/images/{name:path}/push", handlers.push),
        Route("POST", "/auth", handlers.auth),
        Route("GET", "/distribution/{name:path}/json", handlers.distribution),
        Route("GET", "/images/search", handlers.search),
    ]


class ProgressStream:
    """The answer of a pull or push: begun by its first message, as an error before it has a
    status of its own."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def show(self, message: Message) -> None:
        """Send one message."""
        from orlop.wire.registry import progress

        if not self._exchange.responded:
            await self._exchange.begin_stream("application/json")
        await self._exchange.write(progress.encode(message))

    async def fail(self, error: OrlopError) -> None:
        """Tell of *error*: in the stream if it has begun, else by raising it."""
        from orlop.wire.registry import progress

        if not self._exchange.responded:
            raise error
        await self.show(progress.error(str(error)))
        await self._exchange.end()

    async def end(self) -> None:
        """All went well."""
        if not self._exchange.responded:
            await self._exchange.begin_stream("application/json")
        await self._exchange.end()


class _Handlers:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._made: RegistryService | None = None

    def _service(self) -> tuple[RegistryService, LayeredImages]:
        store = self._engine.layered
        if store is None:
            raise NotImplementedYet(
                "this engine runs the images of the system, and cannot change them"
            )
        if self._made is None:
            # One for all requests: it bounds how many workers there are at a time.
            from orlop.engine.registry.service import RegistryService

            registries = self._engine.settings.registries
            self._made = RegistryService(self._engine.children, store, registries)
        return self._made, store

    async def create(self, exchange: Exchange) -> None:
        """Pull with `fromImage`, else import."""
        if exchange.text("fromImage"):
            await self.pull(exchange)
            return
        from orlop.engine.api.image_make import import_image

        await import_image(self._engine, exchange)

    async def pull(self, exchange: Exchange) -> None:
        from orlop.wire.registry.platform import host_platform, parse_platform
        from orlop.wire.registry.reference import parse_reference

        service, _ = self._service()
        name = exchange.text("fromImage").removesuffix(":")
        reference = parse_reference(name).with_tag_or_digest(exchange.text("tag"))
        _check_name(reference)
        wanted = exchange.text("platform")
        if wanted:
            parse_platform(wanted, host_platform(""))
        stream = ProgressStream(exchange)
        exchange.cancel_on_disconnect()
        try:
            await service.pull(reference, wanted, _credentials(exchange), stream.show)
        except OrlopError as error:
            await stream.fail(error)
            return
        self._publish("pull", reference)
        await stream.end()

    async def push(self, exchange: Exchange) -> None:
        from orlop.wire.registry import progress
        from orlop.wire.registry.reference import parse_reference

        service, store = self._service()
        named = parse_reference(exchange.parameters["name"])
        tag = exchange.text("tag")
        reference = named.with_tag(tag) if tag else named
        if reference.digest:
            raise InvalidArgument("cannot push a digest reference")
        stream = ProgressStream(exchange)
        exchange.cancel_on_disconnect()
        text = f"The push refers to repository [{reference.name}]"
        try:
            await stream.show(progress.status(text))
            images = _images_to_push(store, reference)
            await service.push(reference, images, _credentials(exchange), stream.show)
        except OrlopError as error:
            await stream.fail(error)
            return
        self._publish("push", reference)
        await stream.end()

    async def auth(self, exchange: Exchange) -> None:
        from urllib.parse import urlsplit

        from orlop.wire.registry.auth_config import parse_auth_config
        from orlop.wire.registry.reference import LEGACY_DOMAIN

        service, _ = self._service()
        credentials = parse_auth_config(await exchange.json())
        address = credentials.server_address
        if "://" not in address:
            address = f"https://{address}" if address else f"https://{LEGACY_DOMAIN}"
        try:
            domain = urlsplit(address).netloc
        except ValueError as error:
            raise InvalidArgument(f"unable to parse server address: {error}") from error
        if not domain or "@" in domain:
            raise InvalidArgument(f"unable to parse server address: {address[:200]}")
        exchange.cancel_on_disconnect()
        await exchange.respond_json(200, await service.login(domain, credentials))

    async def distribution(self, exchange: Exchange) -> None:
        from orlop.wire.registry.reference import is_identifier, parse_reference

        service, _ = self._service()
        name = exchange.parameters["name"]
        if is_identifier(name):
            raise OrlopError("no manifest found for full image ID")
        reference = parse_reference(name)
        exchange.cancel_on_disconnect()
        result = await service.inspect(reference, _credentials(exchange))
        await exchange.respond_json(200, result)

    async def search(self, exchange: Exchange) -> None:
        from orlop.engine.api.filters import parse_filters

        service, _ = self._service()
        limit = _search_limit(exchange.text("limit"))
        filters = parse_filters(exchange.text("filters"), SEARCH_FILTERS)
        automated = _flag(filters.get("is-automated", frozenset()), "is-automated")
        official = _flag(filters.get("is-official", frozenset()), "is-official")
        stars = _stars(filters.get("stars", frozenset()))
        domain, term = _split_term(exchange.text("term"), service.search_domain)
        if automated:
            await exchange.respond_json(200, [])
            return
        exchange.cancel_on_disconnect()
        found = await service.search(domain, term, limit, _credentials(exchange))
        results = [
            {
                "star_count": item["star_count"],
                "is_official": item["is_official"],
                "name": item["name"],
                "is_automated": False,
                "description": item["description"],
            }
            for item in found
            if (official is None or item["is_official"] is official) and item["star_count"] >= stars
        ]
        await exchange.respond_json(200, results)

    def _publish(self, action: str, reference: Reference) -> None:
        """Events name the image as it was asked for."""
        attributes = {"name": reference.familiar_name}
        try:
            image = self._engine.images.get(reference.familiar)
            attributes = {**dict(image.labels), **attributes}
        except OrlopError:
            pass  # all tags of a name, of which none is `latest`
        self._engine.events.publish("image", action, reference.familiar, attributes)


def _credentials(exchange: Exchange) -> AuthConfig:
    from orlop.wire.registry.auth_config import decode_auth_header

    return decode_auth_header(exchange.headers.get("x-registry-auth", ""))


def _check_name(reference: Reference) -> None:
    if reference.familiar_name == "scratch":
        raise Forbidden("'scratch' is a reserved name")


def _images_to_push(store: LayeredImages, reference: Reference) -> list[dict[str, Any]]:
    """What `pushing` is told: the image of a tag, or one for each tag of the name."""
    prefix = f"{reference.name}:"
    tags = {
        key.removeprefix(prefix): image_id
        for key, image_id in sorted(store.tags.items())
        if key.startswith(prefix)
    }
    if not tags:
        raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
    if reference.tag:
        if reference.tag not in tags:
            raise NotFound(f"tag does not exist: {reference.familiar}")
        tags = {reference.tag: tags[reference.tag]}
    return [
        _image_to_push(store, store.images[image_id], tag, reference.domain)
        for tag, image_id in tags.items()
    ]


def _image_to_push(
    store: LayeredImages, record: ImageRecord, tag: str, domain: str
) -> dict[str, Any]:
    layers = []
    pins = [record.id, *record.layers]
    described = record.manifest
    if described is not None and len(described.layers) != len(record.layers):
        described = None
    for place, diff_id in enumerate(record.layers):
        blob = described.layers[place] if described is not None else None
        is_kept = blob is not None and (
            blob.digest in store.layers or store.directory.has_blob(blob.digest, blob.size)
        )
        if blob is not None:
            pins.append(blob.digest)
        layers.append(
            {
                "diff_id": diff_id,
                "digest": blob.digest if blob is not None else "",
                "size": blob.size if blob is not None else 0,
                "media_type": blob.media_type if blob is not None else "",
                "path": str(store.blob_path(blob.digest)) if blob is not None and is_kept else "",
                "tar": str(store.blob_path(store.layer(diff_id).diff_id)),
                "sources": _sources(store, blob.digest, domain) if blob is not None else [],
            }
        )
    manifest = None
    if described is not None:
        pins.append(described.digest)
        manifest = {
            "digest": described.digest,
            "media_type": described.media_type,
            "path": str(store.blob_path(described.digest)),
        }
    return {
        "id": record.id,
        "tag": tag,
        "config": {"digest": record.id, "path": str(store.blob_path(record.id))},
        "manifest": manifest,
        "layers": layers,
        "pins": pins,
    }


def _sources(store: LayeredImages, digest: str, domain: str) -> list[str]:
    """Repositories of *domain* from which an image with the blob *digest* came."""
    having = {
        record.id
        for record in store.images.values()
        if record.manifest is not None
        and any(blob.digest == digest for blob in record.manifest.layers)
    }
    prefix = f"{domain}/"
    return sorted(
        {
            key.partition("@")[0].removeprefix(prefix)
            for key, image_id in store.digests.items()
            if image_id in having and key.startswith(prefix)
        }
    )


def _search_limit(text: str) -> int:
    if not text:
        return DEFAULT_SEARCH_LIMIT
    if not text.isdigit():
        raise InvalidArgument(f'invalid limit specified: parsing "{text[:40]}": invalid syntax')
    limit = int(text[:9]) or DEFAULT_SEARCH_LIMIT
    if not 1 <= limit <= MAX_SEARCH_LIMIT:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {MAX_SEARCH_LIMIT}]")
    return limit


def _flag(values: frozenset[str], name: str) -> bool | None:
    if not values:
        return None
    found = {_BOOLEANS.get(value.lower()) for value in values}
    if len(found) != 1 or None in found:
        raise InvalidArgument(f"invalid filter '{name}={sorted(values)}'")
    return found.pop()


def _stars(values: frozenset[str]) -> int:
    for value in values:
        if not value.isdigit():
            raise InvalidArgument(f"invalid filter 'stars={value[:40]}'")
    return max((int(value[:9]) for value in values), default=0)


def _split_term(text: str, default_domain: str) -> tuple[str, str]:
    """The registry to search, empty for Docker's own index, and what for."""
    if "://" in text:
        raise InvalidArgument(
            f"invalid repository name: repository name ({text[:200]}) should not have a scheme"
        )
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        domain = "" if first in ("docker.io", "index.docker.io") else first
        return domain, rest if domain else rest.removeprefix("library/")
    return default_domain, text if default_domain else text.removeprefix("library/")
