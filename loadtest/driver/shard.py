"""The part of a schedule that one worker sends: every n-th arrival, its requests encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.driver.dispatcher import Shard
from loadtest.driver.wire import encode_body, encode_request, predict_path

if TYPE_CHECKING:
    from loadtest.driver.plan import Plan
    from loadtest.driver.wire import Target
    from loadtest.trace.schedule import Trace


def make_shard(trace: Trace, plan: Plan, target: Target, shard: int, num_shards: int) -> Shard:
    """Return the arrivals with ``i mod num_shards == shard``; an item that comes twice is encoded once."""
    arrivals = trace.arrivals[shard::num_shards]
    requests: dict[str, bytes] = {}
    for item_id in {arrival.item for arrival in arrivals}:
        item = trace.items[item_id]
        body = encode_body([item.input], plan.parameters(item.task, item.parameters))
        requests[item_id] = encode_request(target, predict_path(plan.variants[item.task]), body)
    return Shard(
        indices=[arrival.i for arrival in arrivals],
        times_us=[arrival.t_us for arrival in arrivals],
        requests=[requests[arrival.item] for arrival in arrivals],
        names=[trace.items[arrival.item].task for arrival in arrivals],
    )


def places(max_inflight: int | None, num_shards: int, shard: int) -> int | None:
    """Return a shard's part of a bound on outstanding requests; the parts add up to the bound."""
    if max_inflight is None:
        return None
    return max_inflight // num_shards + (shard < max_inflight % num_shards)
