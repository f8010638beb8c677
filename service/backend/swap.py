"""What the catalogue says now, instead of what it said when the service started.

Rules: one variant after the other is loaded beside what is served, compared with float32, and takes its
place in one step; requests that came before are answered by the old weights, which go when the last of
these has ended. What cannot be loaded is served as before, and counted. One reading at a time; whoever
asks for another meanwhile gets one more after it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from service.errors import NotReadyError, ServiceError, StartupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.variant import Variant
    from service.backend.clock import Clock
    from service.backend.local import LocalBackend

# What a reading of the catalogue that failed is counted under; no variant can be called so, since names
# start with a letter or a digit.
CATALOGUE: Final = "_catalogue"


class Swapping:
    """Owns the question of what is served, after the start."""

    def __init__(
        self,
        backend: LocalBackend,
        variants: tuple[Variant, ...],
        choose: Callable[[], tuple[Variant, ...]],
        *,
        clock: Clock,
        grace_s: float,
    ) -> None:
        """Change nothing yet.

        ``variants``: those that the backend starts with. ``choose``: reads the catalogue; raises
        StartupError where it cannot be served. ``grace_s``: how long a request may take from the choice
        of its variant until it is submitted.
        """
        self._backend = backend
        self._choose = choose
        self._clock = clock
        self._grace_s = grace_s
        self._known = {variant.name: variant for variant in variants}
        self._change = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def changed(self) -> None:
        """Return once something else is served than when this returned last; for one caller."""
        await self._change.wait()
        self._change.clear()

    async def reload(self) -> None:
        """Serve what the catalogue says now."""
        async with self._one_at_a_time:
            log = structlog.get_logger()
            try:
                variants = await self._read()
                changes = [await self._load(variant) for variant in variants]
            except StartupError as error:
                self._backend.load_failed(CATALOGUE)
                _say_refused("catalogue_refused", error)
                return
            except NotReadyError:
                log.info("reload_abandoned")  # the service is ending
                return
            names = {variant.name for variant in variants}
            for name in [name for name in self._known if name not in names]:
                del self._known[name]
                self._replaced(self._backend.withdraw(name))
                log.info("variant_withdrawn", variant=name)
            log.info("catalogue_read", variants=len(variants), changed=sum(changes))

    def close(self) -> None:
        """Retire nothing more."""
        for task in self._tasks:
            task.cancel()

    async def _read(self) -> tuple[Variant, ...]:
        try:
            return await asyncio.to_thread(self._choose)
        except StartupError:
            raise
        except Exception as error:
            structlog.get_logger().exception("catalogue_failed")
            raise StartupError(
                f"The catalogue cannot be read ({type(error).__name__}); the log says where."
            ) from error

    async def _load(self, variant: Variant) -> bool:
        log = structlog.get_logger()
        try:
            change = await self._backend.load(variant, is_new=self._known.get(variant.name) != variant)
        except StartupError as error:
            _say_refused("variant_load_failed", error, variant=variant.name)
            return False
        self._known[variant.name] = variant
        if change is None:
            return False
        self._replaced(change.before)
        log.info("variant_swapped", variant=variant.name)
        return True

    def _replaced(self, before: str | None) -> None:
        self._change.set()
        if before is not None:
            self._clock.call_later(self._grace_s, lambda: self._retire(before))

    def _retire(self, served_as: str) -> None:
        task = asyncio.get_running_loop().create_task(self._let_go(served_as))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _let_go(self, served_as: str) -> None:
        try:
            await self._backend.retire(served_as)
        except ServiceError:
            return  # the engine has stopped, and everything goes with it
        except Exception as error:  # noqa: BLE001 - nobody waits for this task, and memory stays held
            structlog.get_logger().error("old_weights_held", served_as=served_as, exc_info=error)
            return
        structlog.get_logger().info("old_weights_released", served_as=served_as)


def _say_refused(event: str, error: StartupError, **more: str) -> None:
    """Log the one line that says what to do; where it was raised tells an operator nothing."""
    structlog.get_logger().error(event, **more, reason=str(error))
