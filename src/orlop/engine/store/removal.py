"""Deleting images as dockerd does: names first, then the image, then what it alone needed.

Source of rules and texts: dockerd 28, daemon/images/image_delete.go and image_prune.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.engine.store.chains import chain_ids
from orlop.lib.errors import Conflict, NotFound
from orlop.wire.registry.reference import parse_reference, short_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord


@dataclass(frozen=True, slots=True)
class User:
    """A container made from an image."""

    container_id: str
    image_id: str
    running: bool


@dataclass(slots=True)
class Deletion:
    """What a request to delete did, in the order it was done."""

    untagged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    lines: list[dict[str, str]] = field(default_factory=list)
    """The answer of the API."""

    def add_untagged(self, name: str) -> None:
        self.untagged.append(name)
        self.lines.append({"Untagged": name})

    def add_deleted(self, digest: str) -> None:
        self.deleted.append(digest)
        self.lines.append({"Deleted": digest})


class _Conflict(Conflict):
    def __init__(self, image_id: str, message: str, *, hard: bool, used: bool = False) -> None:
        how = "cannot be forced" if hard else "must be forced"
        super().__init__(f"conflict: unable to delete {short_id(image_id)} ({how}) - {message}")
        self.used = used


class Remover:
    """Deletes in one store; *users* are asked for at each decision."""

    def __init__(
        self,
        store: LayeredImages,
        users: Callable[[], Iterable[User]],
        publish: Callable[[ImageRecord, str], None],
    ) -> None:
        self._store = store
        self._users = users
        self._publish = publish

    async def delete(self, reference: str, *, force: bool, prune: bool) -> Deletion:
        """Delete the name *reference*, and the image if that was its last; or the image of an id.

        With *prune* parents that nothing else needs go too.

        Raises:
            NotFound; Conflict: in use, in dockerd's words.
        """
        result = Deletion()
        async with self._store.lock:
            record = self._store.find(reference)
            if not _is_id_prefix(record.id, reference):
                if not await self._untag(record, reference, force, result):
                    return result
                await self._delete(record, result, force=force, prune=prune, quiet=True)
                return result
            references = self.references(record.id)
            if _is_single(references):
                self._check(record, force=force, ignore_references=True)
                await self._remove_references(record, references, result)
            await self._delete(record, result, force=force, prune=prune, quiet=False)
        return result

    async def delete_unused(self, record: ImageRecord) -> Deletion:
        """For prune: all its names, then the image, unless something needs it."""
        result = Deletion()
        async with self._store.lock:
            if record.id not in self._store.images:
                return result
            await self._remove_references(record, self.references(record.id), result)
            await self._delete(record, result, force=False, prune=True, quiet=True)
        return result

    def references(self, image_id: str) -> list[str]:
        """Its canonical tags and digests."""
        store = self._store
        found = [key for key, value in store.tags.items() if value == image_id]
        return found + [key for key, value in store.digests.items() if value == image_id]

    async def _untag(
        self, record: ImageRecord, reference: str, force: bool, result: Deletion
    ) -> bool:
        """Remove one name; whether the image has none left."""
        references = self.references(record.id)
        user = self._user(record.id)
        if not force and _is_single(references) and user is not None:
            raise Conflict(
                f'conflict: unable to remove repository reference "{reference}" (must force) - '
                f"container {short_id(user.container_id)} is using its referenced image "
                f"{short_id(record.id)}"
            )
        named = parse_reference(reference).with_default_tag()
        key = f"{named.name}@{named.digest}" if named.digest else str(named)
        if key not in references:
            raise NotFound(f"No such image: {named.familiar}")
        gone = [key]
        left = [item for item in references if item != key]
        if not named.digest:
            own = [item for item in left if parse_reference(item).name == named.name]
            if all("@" in item for item in own):
                gone += own
        await self._remove_references(record, gone, result)
        return not [item for item in left if item not in gone]

    async def _remove_references(
        self, record: ImageRecord, gone: Iterable[str], result: Deletion
    ) -> None:
        gone = list(gone)
        if not gone:
            return
        store = self._store
        tags = {key: value for key, value in store.tags.items() if key not in gone}
        digests = {key: value for key, value in store.digests.items() if key not in gone}
        await store.write_references(tags, digests, store.tagged_ns)
        for key in gone:
            result.add_untagged(parse_reference(key).familiar)
            self._publish(record, "untag")

    async def _delete(
        self, record: ImageRecord, result: Deletion, *, force: bool, prune: bool, quiet: bool
    ) -> None:
        while True:
            try:
                self._check(record, force=force)
            except _Conflict as conflict:
                needed = self.references(record.id) or self.children(record.id)
                if quiet and (needed or conflict.used):
                    return
                raise
            await self._remove_references(record, self.references(record.id), result)
            chains = self._own_chains(record)
            await self._store.remove_record(record)
            self._publish(record, "delete")
            result.add_deleted(record.id)
            for chain in chains:
                result.add_deleted(chain)
            parent = self._store.images.get(record.parent)
            if not prune or parent is None or parent.removed or self.references(parent.id):
                return
            record, force, quiet = parent, False, True

    def _own_chains(self, record: ImageRecord) -> list[str]:
        """Chain ids of layers that no other image has at the same place, the uppermost first."""
        others: set[str] = set()
        for other in self._store.images.values():
            if other.id != record.id and not other.removed:
                others.update(chain_ids(other.layers))
        return [chain for chain in reversed(chain_ids(record.layers)) if chain not in others]

    def _check(self, record: ImageRecord, *, force: bool, ignore_references: bool = False) -> None:
        image_id = record.id
        if self.children(image_id):
            raise _Conflict(image_id, "image has dependent child images", hard=True)
        user = self._user(image_id, running=True)
        if user is not None:
            text = f"image is being used by running container {short_id(user.container_id)}"
            raise _Conflict(image_id, text, hard=True, used=True)
        if force:
            return
        if not ignore_references and self.references(image_id):
            text = "image is referenced in multiple repositories"
            raise _Conflict(image_id, text, hard=False)
        user = self._user(image_id)
        if user is not None:
            text = f"image is being used by stopped container {short_id(user.container_id)}"
            raise _Conflict(image_id, text, hard=False, used=True)

    def children(self, image_id: str) -> list[ImageRecord]:
        """Images that were built from it here."""
        records = self._store.images.values()
        return [item for item in records if item.parent == image_id and not item.removed]

    def _user(self, image_id: str, *, running: bool = False) -> User | None:
        for user in self._users():
            if user.image_id == image_id and (user.running or not running):
                return user
        return None


def _is_id_prefix(image_id: str, text: str) -> bool:
    return image_id.startswith(text) or image_id.partition(":")[2].startswith(text)


def _is_single(references: list[str]) -> bool:
    """Whether all of *references* are one tag at most, with digests of the same repository."""
    if len(references) <= 1:
        return True
    names = {parse_reference(item).name for item in references}
    return len(names) == 1 and sum("@" not in item for item in references) <= 1
