"""Locust's workers as the coordinator sees them: who dispatches, who is present, and a way to reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locust.runners import STATE_MISSING, STATE_RUNNING, MasterRunner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from locust.env import Environment

LOCAL = "local"  # Locust's own name for the only node of a local run


class Fleet:
    """The workers behind one runner."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def dispatching(self) -> list[str]:
        """Return the workers whose user runs, in the order of their names."""
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner):
            return [LOCAL]
        return sorted(one.id for one in runner.clients.all if one.state == STATE_RUNNING and one.user_count)

    def present(self) -> set[str]:
        """Return the workers whose heart beats, as far as Locust knows."""
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner):
            return {LOCAL}
        return {one.id for one in runner.clients.all if one.state != STATE_MISSING}

    def send(self, kind: str, client: str, data: Mapping[str, Any]) -> None:
        """Send a message to one worker; in a local run it has been heard when this returns."""
        runner = self._environment.runner
        assert runner is not None, "A run has a runner. This is a bug."
        runner.send_message(kind, dict(data), client_id=client)
