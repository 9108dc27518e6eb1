"""The variables of links."""

from __future__ import annotations

from orlop.engine.network.link_environment import link_variables


def test_ports_and_variables_of_the_other_end() -> None:
    found = dict(
        link_variables(
            "/web/my-db", "172.17.0.2", ("5432/tcp",), {"PATH": "/bin", "HOME": "/", "USER": "me"}
        )
    )
    assert found == {
        "MY_DB_PORT": "tcp://172.17.0.2:5432",
        "MY_DB_PORT_5432_TCP": "tcp://172.17.0.2:5432",
        "MY_DB_PORT_5432_TCP_ADDR": "172.17.0.2",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_NAME": "/web/my-db",
        "MY_DB_ENV_USER": "me",
    }


def test_without_ports_there_is_the_name_alone() -> None:
    assert dict(link_variables("/web/db", "172.17.0.2", (), {})) == {"DB_NAME": "/web/db"}


def test_ports_in_succession_are_a_range_too() -> None:
    ports = ("82/tcp", "80/tcp", "81/tcp", "53/udp", "90/tcp")
    found = dict(link_variables("/web/db", "10.0.0.2", ports, {}))
    # TCP comes first, whatever the numbers are.
    assert found["DB_PORT"] == "tcp://10.0.0.2:80"
    assert found["DB_PORT_80_TCP_START"] == "tcp://10.0.0.2:80"
    assert found["DB_PORT_80_TCP_PORT_START"] == "80"
    assert found["DB_PORT_80_TCP_END"] == "tcp://10.0.0.2:82"
    assert found["DB_PORT_80_TCP_PORT_END"] == "82"
    assert found["DB_PORT_53_UDP_PROTO"] == "udp"
    assert "DB_PORT_90_TCP_START" not in found
