"""Free ports: each is returned once, even if its server does not listen yet."""

import pytest

from devstack import ports


def test_a_port_is_returned_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_RANGE", range(31_000, 31_020))
    given = [ports.free_port() for _ in range(10)]
    assert len(set(given)) == 10
