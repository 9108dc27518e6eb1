"""Keys of what data is kept on: the state partition's size, swap, what is kept in the consoles."""

from __future__ import annotations

from orlop.wire.config import kinds_storage
from orlop.wire.config.row import Applies, Key

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.state.grow.partition",
        kinds_storage.GROW,
        "Whether the state partition, if it is the last one, grows to the end of a disk that has "
        "become larger.",
        "false",
        default="true",
        aliases=("growpart.mode", "rancher.resize_device"),
    ),
    Key(
        "orlop.state.grow.filesystem",
        kinds_storage.GROW,
        "Whether the state's file system grows to the end of its partition.",
        "false",
        default="true",
        aliases=("resize_rootfs",),
    ),
    Key(
        "orlop.swap.devices",
        kinds_storage.DEVICES,
        "Partitions or disks that the kernel swaps to. `mounts` may name them too, with type swap.",
        "[LABEL=swap, /dev/disk/by-id/virtio-fast]",
        default="none",
    ),
    Key(
        "orlop.swap.zram",
        kinds_storage.ZRAM,
        "How much of what does not fit into memory is kept in memory, compressed; a share of it "
        "or a size. Used before any other swap.",
        '"50%"',
        default="0: none",
    ),
    Key(
        "orlop.persist",
        kinds_storage.PATHS,
        "Directories of the consoles that are kept on the state partition, and that the user's "
        "engine can mount into containers. /root, /home, /mnt and /var are kept in any case.",
        "[/opt, /srv/data]",
        default="[/opt]",
        applies=Applies.SERVICE,
    ),
)
