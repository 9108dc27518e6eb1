"""A URL of a configuration: `orlop.config.url=`, or RancherOS's `cloud-config-url=`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import get

if TYPE_CHECKING:
    from orlop.wire.cloud.conversation import Conversation, Surroundings


def converse(around: Surroundings) -> Conversation:
    """Fetch it. The machine is the instance: another content does not make it a new one."""
    content = yield from get(around.config_url)
    return Answer("url", around.machine or "url", user_data=content, place=around.config_url)
