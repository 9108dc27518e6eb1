"""Keys of the people who may log in."""

from __future__ import annotations

from orlop.wire.config import kinds, kinds_people, kinds_ssh
from orlop.wire.config.row import Applies, Key

_HOST_KEY = (
    '"-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIA==\\n-----END PRIVATE KEY-----\\n"'
)

KEYS: tuple[Key, ...] = (
    Key(
        "ssh_authorized_keys",
        kinds.SSH_KEYS,
        "Who may log in by SSH as `root`, and as the default user, `rancher`. Without any, and "
        "without `users`, nothing listens.",
        "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt me]",
        default="none",
    ),
    Key(
        "disable_root",
        kinds.BOOLEAN,
        "Whether `root` may not log in by SSH.",
        "true",
        default="false",
    ),
    Key(
        "password",
        kinds_people.PASSWORD,
        "Password of the default user, better as a hash: `orlop passwd` makes one.",
        "$6$saltsalt$0Z1XQnGsEvYbuXjxqxS5bL3fNxvs3n1q8BbNqGRJH5eYUzZy6zPk2e0",
        default="none: it cannot log in with one",
        secret=True,
        aliases=("rancher.password",),
    ),
    Key(
        "users[].name",
        kinds_people.USER_NAME,
        "A user. `default` is the system's own, `rancher`, which is there alone without a list; "
        "`root` is there in any case, and may be given keys and a password.",
        "alice",
    ),
    Key(
        "users[].gecos",
        kinds_people.GECOS,
        "The whole name.",
        "Alice Liddell",
        default="nothing",
    ),
    Key(
        "users[].primary_group",
        kinds_people.GROUP_NAME,
        "The first group.",
        "staff",
        default="one of the user's own name",
    ),
    Key(
        "users[].groups",
        kinds_people.NAMES,
        "More groups: `docker` may use the Docker API of the user's engine, `sudo` and `wheel` may "
        "do all with their password, `orlop` may look at the system.",
        "[docker, sudo]",
        default="none",
    ),
    Key(
        "users[].ssh_authorized_keys",
        kinds.SSH_KEYS,
        "Keys to log in with by SSH.",
        "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt me]",
        default="none",
    ),
    Key(
        "users[].hashed_passwd",
        kinds_people.HASH,
        "Hash of the password for the console and for sudo.",
        "$6$saltsalt$0Z1XQnGsEvYbuXjxqxS5bL3fNxvs3n1q8BbNqGRJH5eYUzZy6zPk2e0",
        default="none: there is no password",
        secret=True,
    ),
    Key(
        "users[].passwd",
        kinds_people.HASH,
        "The same as `hashed_passwd`, by an older name.",
        "$6$saltsalt$0Z1XQnGsEvYbuXjxqxS5bL3fNxvs3n1q8BbNqGRJH5eYUzZy6zPk2e0",
        default="none",
        secret=True,
    ),
    Key(
        "users[].lock_passwd",
        kinds.BOOLEAN,
        "Whether the password counts for nothing.",
        "true",
        default="false",
    ),
    Key(
        "users[].shell",
        kinds_people.SHELL,
        "What is run at a login.",
        "/bin/sh",
        default="/bin/sh",
    ),
    Key(
        "users[].uid",
        kinds.number(kinds_people.MIN_UID, kinds_people.MAX_UID),
        "The user's number. One that is not given is chosen once and kept.",
        "1500",
        default="the next from 1001 on",
    ),
    Key(
        "users[].sudo",
        kinds_people.SUDO,
        "What the user may do as root with `sudo`: ALL, or commands with their paths.",
        '"ALL=(ALL) NOPASSWD:ALL"',
        default="nothing",
    ),
    Key(
        "users[].homedir",
        kinds_people.HOME,
        "The home directory, which is kept on the state partition.",
        "/home/alice",
        default="/home/NAME",
    ),
    Key(
        "users[].no_create_home",
        kinds.BOOLEAN,
        "Whether no home directory is made.",
        "true",
        default="false; true for a system user",
    ),
    Key(
        "users[].system",
        kinds.BOOLEAN,
        "Whether it is no person: a number below 1000, and no home directory.",
        "true",
        default="false",
    ),
    Key(
        "groups",
        kinds_people.GROUPS,
        "Groups, with members if they are given. Groups that users name are made without.",
        "[staff, {admins: [alice]}]",
        default="docker, sudo, wheel, orlop",
    ),
    Key(
        "orlop.ssh.port",
        kinds.number(1, 65535),
        "The port that SSH listens on.",
        "2222",
        default="22",
        applies=Applies.SERVICE,
        aliases=("rancher.ssh.port",),
    ),
    Key(
        "orlop.ssh.listen_address",
        kinds.ADDRESSES,
        "The addresses that SSH listens on.",
        "[192.0.2.7]",
        default="all",
        applies=Applies.SERVICE,
        aliases=("rancher.ssh.listen_address",),
    ),
    Key(
        "orlop.ssh.password_authentication",
        kinds.BOOLEAN,
        "Whether users who have a password may log in with it over SSH; never `root`.",
        "true",
        default="false",
        applies=Applies.SERVICE,
        aliases=("ssh_pwauth",),
    ),
    Key(
        "orlop.ssh.record",
        kinds.BOOLEAN,
        "Whether what sessions with a terminal show is recorded in /var/log/sessions, for root "
        "alone; there is no sftp then.",
        "true",
        default="false",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.ssh.trusted_user_ca_keys",
        kinds_people.BARE_KEYS,
        "Authorities: whoever has a certificate of one may log in as the user it names.",
        "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt ca]",
        default="none",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.ssh.authorized_principals",
        kinds_people.PRINCIPALS,
        "For which principals a certificate lets in as which user, instead of the user's name.",
        "{root: [admins, on-call]}",
        default="the user's own name",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.ssh.revoked_keys",
        kinds_people.BARE_KEYS,
        "Keys that are refused, whoever vouches for them: of people, and of authorities.",
        "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt lost]",
        default="none",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.ssh.host_certificates",
        kinds.SSH_KEYS,
        "Certificates for the machine's own key, by which clients know it.",
        "[ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29t]",
        default="none",
        applies=Applies.SERVICE,
        aliases=tuple(f"ssh_keys.{kind}_certificate" for kind in kinds_ssh.TYPES),
    ),
    *(
        Key(
            f"orlop.ssh.host_keys.{kind}",
            kinds_ssh.host_key(kind),
            f"A private key of type {kind} by which clients know the machine, as ssh-keygen makes "
            "it, instead of one that the machine makes.",
            _HOST_KEY,
            default="the machine's own, of type ed25519",
            applies=Applies.SERVICE,
            secret=True,
            aliases=(f"ssh_keys.{kind}_private", f"rancher.ssh.keys.{kind}"),
        )
        for kind in kinds_ssh.TYPES
    ),
    Key(
        "orlop.ssh.authorized_keys_url",
        kinds_people.URL,
        "Where the keys of a user are asked for at each login, besides those given here.",
        "https://keys.example/{user}",
        default="nowhere",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.ssh.authorized_keys_cache",
        kinds.number(0, 30 * 24 * 3600),
        "For how many seconds the last answer of that URL counts while it cannot be asked.",
        "3600",
        default="86400",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.ssh.authorized_keys_command",
        kinds_people.COMMAND,
        "A program that prints the keys of a user, as sshd_config(5) has it; %u is the name.",
        '[/opt/keys, --user, "%u"]',
        default="none",
        applies=Applies.SERVICE,
    ),
)
