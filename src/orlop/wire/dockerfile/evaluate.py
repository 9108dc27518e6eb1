"""Replaces variables in an instruction, each field by the rules of its kind."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from orlop.wire.dockerfile import model
from orlop.wire.dockerfile.substitute import substitute, substitute_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.dockerfile.source import Heredoc


def expand(
    instruction: model.Instruction, values: Mapping[str, str], escape: str
) -> model.Instruction:
    """*instruction* with what is known now. Commands of RUN, CMD and the like are the shell's.

    Raises:
        InvalidArgument: see `substitute`.
    """

    def one(word: str) -> str:
        return substitute(word, values, escape=escape)

    match instruction:
        case model.Env(pairs):
            return model.Env(tuple((one(name), one(value)) for name, value in pairs))
        case model.Label(pairs, literal=False):
            return model.Label(tuple((one(name), one(value)) for name, value in pairs))
        case model.Arg(pairs):
            return model.Arg(
                tuple((one(name), value if value is None else one(value)) for name, value in pairs)
            )
        case model.Expose(ports):
            words = [substitute_words(port, values, escape=escape) for port in ports]
            return model.Expose(tuple(word for part in words for word in part))
        case model.Volume(paths):
            return model.Volume(tuple(one(path) for path in paths))
        case model.User() | model.Workdir() | model.StopSignal():
            return _single(instruction, values, escape)
        case _:
            return _with_files(instruction, values, escape)


def _with_files(
    instruction: model.Instruction, values: Mapping[str, str], escape: str
) -> model.Instruction:
    match instruction:
        case model.Copy():
            return _copy(instruction, values, escape)
        case model.Run():
            mounts = tuple(_mount(mount, values, escape) for mount in instruction.mounts)
            return dataclasses.replace(instruction, mounts=mounts)
        case _:
            return instruction


def _single(
    instruction: model.User | model.Workdir | model.StopSignal,
    values: Mapping[str, str],
    escape: str,
) -> model.Instruction:
    match instruction:
        case model.User(user):
            return model.User(substitute(user, values, escape=escape))
        case model.Workdir(path):
            return model.Workdir(substitute(path, values, escape=escape))
        case model.StopSignal(signal):
            return model.StopSignal(substitute(signal, values, escape=escape))


def _copy(copy: model.Copy, values: Mapping[str, str], escape: str) -> model.Copy:
    def one(word: str) -> str:
        return substitute(word, values, escape=escape)

    return dataclasses.replace(
        copy,
        sources=tuple(one(source) for source in copy.sources),
        destination=one(copy.destination),
        chown=one(copy.chown),
        chmod=one(copy.chmod),
        exclude=tuple(one(pattern) for pattern in copy.exclude),
        checksum=one(copy.checksum),
        heredocs=tuple(_heredoc(heredoc, values) for heredoc in copy.heredocs),
    )


def _heredoc(heredoc: Heredoc, values: Mapping[str, str]) -> Heredoc:
    text = heredoc.text()
    if heredoc.expand:
        text = substitute(text, values, quotes=False)
    return dataclasses.replace(heredoc, content=text, chomp=False)


def _mount(mount: model.RunMount, values: Mapping[str, str], escape: str) -> model.RunMount:
    def one(word: str) -> str:
        return substitute(word, values, escape=escape)

    return dataclasses.replace(
        mount,
        target=one(mount.target),
        source=one(mount.source),
        id=one(mount.id),
        size=one(mount.size),
        mode=one(mount.mode),
        uid=one(mount.uid),
        gid=one(mount.gid),
    )
