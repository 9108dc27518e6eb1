"""What sshd is told: sshd_config(5), and what it names, from the machine's configuration. Pure.

Algorithms are OpenSSH's own defaults without what is there for older peers only. The build has no
code for what is not named here: PAM, Kerberos, X11.
"""

from collections.abc import Mapping

from orlop.services.settings import integer_setting, list_setting, map_setting, text_setting

RUN = "/run/ssh"
STATE = "/var/lib/orlop/ssh"
HOST_KEY = f"{STATE}/ssh_host_ed25519_key"
GIVEN_KEYS = "/etc/ssh/host_key"
"""Where PID 1 has keys of the configuration appear, with the type at the end."""

CONFIG = f"{RUN}/sshd_config"
ASK = "/usr/lib/orlop/ssh-keys"
"""Our program that asks a URL for keys: `orlop.services.ssh_keys`."""

SESSION = "/usr/lib/orlop/session"
"""Our program that sessions are recorded by: `orlop.services.session`."""

PEOPLE = "/run/orlop/people"
"""Where PID 1 keeps the keys of users, a file for each."""

ALGORITHMS = {
    "KexAlgorithms": "mlkem768x25519-sha256,sntrup761x25519-sha512,"
    "sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,"
    "ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521",
    "Ciphers": "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,"
    "aes256-ctr,aes192-ctr,aes128-ctr",
    "MACs": "umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com",
}

_ALWAYS = f"""\
AuthorizedKeysFile {PEOPLE}/keys/%u .ssh/authorized_keys
StrictModes yes
KbdInteractiveAuthentication no
HostbasedAuthentication no
PermitEmptyPasswords no
X11Forwarding no
PermitUserEnvironment no
PrintMotd no
UseDNS no
MaxAuthTries 4
LoginGraceTime 60
MaxStartups 10:30:60
PerSourcePenalties yes
ClientAliveInterval 60
ClientAliveCountMax 5
SyslogFacility AUTHPRIV
LogLevel INFO
Subsystem sftp internal-sftp
PidFile none
"""
_ROOT = f"""\
Match User root
	AuthorizedKeysFile {PEOPLE}/keys/%u {STATE}/authorized_keys .ssh/authorized_keys
"""
_LISTS = {"trusted_user_ca_keys": "TrustedUserCAKeys", "revoked_keys": "RevokedKeys"}


def files(settings: Mapping[str, object]) -> dict[str, str]:
    """The texts by path that the configuration *settings* makes."""
    lines = [f"Port {integer_setting(settings, 'port', 22)}"]
    lines += [f"ListenAddress {address}" for address in list_setting(settings, "listen_address")]
    given = map_setting(settings, "host_keys")
    lines += [f"HostKey {GIVEN_KEYS}_{kind}" for kind in given]
    # Without a key that it can read sshd would not start: the own one is there in any case.
    lines.append(f"HostKey {HOST_KEY}")
    lines += [f"{name} {value}" for name, value in ALGORITHMS.items()]
    texts: dict[str, str] = {}
    for number, text in enumerate(list_setting(settings, "host_certificates")):
        texts[path := f"{RUN}/host_certificate_{number}"] = f"{text}\n"
        lines.append(f"HostCertificate {path}")
    for key, option in _LISTS.items():
        if found := list_setting(settings, key):
            texts[path := f"{RUN}/{key}"] = "".join(f"{line}\n" for line in found)
            lines.append(f"{option} {path}")
    lines += _sources(settings)
    if settings.get("record") is True:
        lines.append(f"ForceCommand {SESSION}")
    permits = settings.get("password_authentication") is True
    lines.append(f"PasswordAuthentication {'yes' if permits else 'no'}")
    root = "no" if settings.get("disable_root") is True else "prohibit-password"
    lines.append(f"PermitRootLogin {root}")
    text = "".join(f"{line}\n" for line in lines) + _ALWAYS + _principals(settings, texts) + _ROOT
    return {CONFIG: text, **texts}


def _principals(settings: Mapping[str, object], texts: dict[str, str]) -> str:
    """For users who are listed; for others it is their own name, as sshd has it without a file."""
    principals = map_setting(settings, "authorized_principals")
    blocks = ""
    for name in principals:
        path = f"{RUN}/principals/{name}"
        texts[path] = "".join(f"{item}\n" for item in list_setting(principals, name))
        blocks += f"Match User {name}\n\tAuthorizedPrincipalsFile {path}\n"
    return blocks


def _sources(settings: Mapping[str, object]) -> list[str]:
    """Where keys are asked for at a login: a program of the machine's owner, or ours for a URL."""
    command = list_setting(settings, "authorized_keys_command")
    if not command and text_setting(settings, "authorized_keys_url"):
        command = [ASK, "%u"]
    if not command:
        return []
    return [f"AuthorizedKeysCommand {' '.join(command)}", "AuthorizedKeysCommandUser sshkeys"]
