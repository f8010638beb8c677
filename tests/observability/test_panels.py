"""Every query of every dashboard, asked of a Prometheus that has watched real traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.deploy.panel_queries import PanelQuery, panel_queries
from tests.deploy.promql import selectors
from tests.observability.not_exported import NOT_EXPORTED
from tests.observability.prometheus_server import TEST_S

if TYPE_CHECKING:
    from tests.observability.conftest import Watched

pytestmark = [pytest.mark.observability, pytest.mark.timeout(TEST_S)]

VALUES = {"lineage_a": "english-intermediate", "lineage_b": "multilingual-intermediate"}
VALUES |= {"variant_a": "en-mnli.*", "variant_b": "multi-tlm.*"}
# A window that holds both runs, since some panels divide one arm by the other.
QUERIES = panel_queries(rate_interval="1m", values=VALUES)
# What a query needs that a healthy service on a CPU does not have.
ABSENT = {
    "gpu": "there is no GPU here",
    "dcgm": "NVIDIA's exporter does not run here",
    "alert": "no alert fires while all is well",
}


def reasons(query: PanelQuery) -> list[str]:
    """Return why a query may have no data."""
    designed = {sample for metric in NOT_EXPORTED for sample in metric.sample_names}
    read = {selector.name for selector in selectors(query.expr)} & designed
    return [ABSENT[need] for need in sorted(query.needs & ABSENT.keys())] + [
        f"the service has no {name} yet" for name in sorted(read)
    ]


@pytest.mark.parametrize("query", QUERIES, ids=[query.where for query in QUERIES])
def test_a_query_has_data_after_traffic(query: PanelQuery, watched: Watched) -> None:
    has_data = watched.prometheus.has_data(query.expr, watched.began_s, watched.ended_s)
    if not has_data and (known := reasons(query)):
        pytest.skip("; ".join(known))
    assert has_data, query.expr
