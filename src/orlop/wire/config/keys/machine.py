"""Keys of the machine itself: its name, files, commands, kernel and disks."""

from __future__ import annotations

from orlop.wire.config import kinds
from orlop.wire.config.row import Applies, Key

KEYS: tuple[Key, ...] = (
    Key(
        "hostname",
        kinds.HOSTNAME,
        "Name of the machine.",
        "ship-1.example",
        default="by DHCP, else orlop",
    ),
    Key(
        "write_files[].path",
        kinds.FILE_PATH,
        "A file that is written at each boot: below /var and /root on the machine, anywhere else "
        "in the consoles, or in the service that `container` names.",
        "/etc/motd",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].content",
        kinds.FILE_CONTENT,
        "What is in it.",
        "Welcome",
        default="nothing",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].encoding",
        kinds.FILE_ENCODING,
        "What `content` is written in.",
        "text/plain",
        default="text/plain",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].permissions",
        kinds.FILE_MODE,
        "Who may read, write and execute it.",
        '"0644"',
        default="0644",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].owner",
        kinds.FILE_OWNER,
        "Whom it belongs to.",
        "root:root",
        default="root",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].container",
        kinds.SERVICE,
        "The system service that sees it.",
        "syslog",
        default="the consoles",
        applies=Applies.SERVICE,
    ),
    Key(
        "bootcmd",
        kinds.COMMANDS,
        "Commands at each boot, before the user's engine starts.",
        "[sysctl -w kernel.printk=4, [mkdir, -p, /var/lib/app]]",
        default="none",
        applies=Applies.BOOT,
    ),
    Key(
        "runcmd",
        kinds.COMMANDS,
        "Commands after the user's engine has started, when `orlop.runcmd` says.",
        '[docker run --detach --restart=always --name=web httpd, [touch, "/root/done"]]',
        default="none",
        applies=Applies.BOOT,
    ),
    Key(
        "timezone",
        kinds.TIME_ZONE,
        "The time zone of the consoles, and of containers that have /etc/localtime mounted.",
        "Europe/Oslo",
        default="Etc/UTC",
    ),
    Key(
        "ca_certs.trusted",
        kinds.AUTHORITIES,
        "Whom the user's engine and data sources believe besides the system's authorities, as PEM.",
        '["-----BEGIN CERTIFICATE-----\\nMIIB…\\n-----END CERTIFICATE-----\\n"]',
        default="none",
        applies=Applies.SERVICE,
        aliases=("ca-certs.trusted",),
    ),
    Key(
        "swap.size",
        kinds.SWAP_SIZE,
        "How large a swap file is kept on the state partition.",
        "512m",
        default="0: none",
    ),
    Key(
        "mounts",
        kinds.MOUNTS,
        "File systems that are mounted below /mnt, in the consoles and for the user's engine: of "
        "a disk, `tmpfs`, or a directory of the machine (type none, option bind).",
        "[[LABEL=data, /mnt/data, ext4, noatime], [tmpfs, /mnt/fast, tmpfs, size=64m]]",
        default="none",
    ),
    Key(
        "orlop.runcmd",
        kinds.choice("instance", "boot", "once"),
        "When `runcmd` is run: once on each instance, at each boot, or once in the life of the "
        "state partition.",
        "boot",
        default="instance; boot in a document with a rancher tree",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.sysctl",
        kinds.SYSCTLS,
        "Settings of the kernel, below /proc/sys. One that is taken away gets its old value back.",
        "{vm.max_map_count: 262144}",
        default="the tuning table's",
        aliases=("rancher.sysctl",),
    ),
    Key(
        "orlop.modules",
        kinds.MODULES,
        "Modules of the kernel that are loaded, with their parameters.",
        "[nbd nbds_max=64, dummy]",
        default="those of the hardware",
        aliases=("rancher.modules",),
    ),
    Key(
        "orlop.cloud.datasources",
        kinds.DATA_SOURCES,
        "Which data sources may configure the machine. An empty list: none.",
        "[nocloud, ec2]",
        default="those that the firmware, a disk or the kernel command line points to",
        aliases=("rancher.cloud_init.datasources",),
    ),
)
