"""Ports: each is given once, even before its server listens."""

import pytest

from devstack import ports


def test_a_port_is_returned_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_RANGE", range(31_000, 31_020))
    given = [ports.free_port() for _ in range(10)]
    assert len(set(given)) == 10
