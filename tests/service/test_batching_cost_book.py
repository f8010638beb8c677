"""Which cost model a lane gets: its shape's own, or a first guess from another depth."""

from __future__ import annotations

import pytest

from service.batching.cost import CostModel, Load, Measurement, Shape
from service.batching.cost_book import CostBook
from service.domain import Lane

FULL = Shape(architecture="m", dtype="float32", layer=12, device="cpu")
TRUE = (1e-3, 1e-5, 1e-9)


def shape_of(lane: Lane) -> Shape:
    dtype = "int8" if lane.variant == "small" else "float32"
    return Shape(architecture="m", dtype=dtype, layer=12 if lane.layer is None else lane.layer, device="cpu")


def fitted() -> CostModel:
    loads = [Load.of([length] * count) for length in (8, 64, 512) for count in (1, 4, 16)]
    return CostModel.fit(
        [
            Measurement(load=load, seconds=TRUE[0] + TRUE[1] * load.num_tokens + TRUE[2] * load.num_squares)
            for load in loads
        ]
    )


@pytest.fixture
def book() -> CostBook:
    return CostBook(shape_of, max_batch_tokens=999)


LOAD = Load.of([100, 100])


def test_a_lower_layer_costs_its_share_of_the_layers_until_it_is_measured(book: CostBook) -> None:
    book.calibrate(FULL, fitted(), max_batch_tokens=512)
    full = book.predict(Lane(variant="v"), LOAD)
    assert book.predict(Lane(variant="v", layer=3), LOAD) == pytest.approx(full / 4)
    assert book.predict(Lane(variant="v", layer=0), LOAD) == pytest.approx(full / 12)
    assert book.budget(Lane(variant="v", layer=3)) == 512
    before = book.predict(Lane(variant="v"), LOAD)
    for _ in range(200):
        book.learn(Lane(variant="v", layer=3), Measurement(load=LOAD, seconds=full))
    # What is learnt of layer 3 is its own; the first guess keeps a trace of its weight.
    assert book.predict(Lane(variant="v", layer=3), LOAD) == pytest.approx(full, rel=0.2)
    assert book.predict(Lane(variant="v"), LOAD) == before


def test_the_nearest_depth_is_asked(book: CostBook) -> None:
    book.calibrate(FULL, fitted(), max_batch_tokens=512)
    book.calibrate(shape_of(Lane(variant="v", layer=4)), fitted().scaled(10), max_batch_tokens=64)
    at_four = book.predict(Lane(variant="v", layer=4), LOAD)
    assert book.predict(Lane(variant="v", layer=2), LOAD) == pytest.approx(at_four / 2)
    assert book.budget(Lane(variant="v", layer=2)) == 64


def test_another_dtype_tells_nothing(book: CostBook) -> None:
    book.calibrate(FULL, fitted(), max_batch_tokens=512)
    assert book.predict(Lane(variant="small"), LOAD) == 0.0
    assert book.budget(Lane(variant="small")) == 999
    assert len(book.statistics()) == 2
