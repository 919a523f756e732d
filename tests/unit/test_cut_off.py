"""A wait in vain names the node of a Ray cluster that cannot be reached."""

import socket

import pytest

from bootstrap.cluster import calls


def test_a_node_that_does_not_answer_is_named_and_one_that_does_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as here, socket.socket() as gone:
        gone.bind(("127.0.0.2", 0))
        nodes = [
            {"NodeManagerAddress": one.getsockname()[0], "NodeManagerPort": one.getsockname()[1]}
            for one in (here, gone)
        ]
        monkeypatch.setattr(calls.ray, "nodes", lambda: nodes)
        assert calls.cut_off(["127.0.0.1"]) == ""
        told = calls.cut_off(["127.0.0.2", "127.0.0.1", "127.0.0.2"])
    assert told == ". Node 127.0.0.2 cannot be reached (Connection refused)"
