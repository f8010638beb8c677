"""The native protocol over a real socket: answers, headers, metrics."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.service.mini_catalogue import HEADS, PANX, XNLI

if TYPE_CHECKING:
    from tests.service.serving import Served

CONTEXT = "The river Danube rises in the Black Forest and flows into the Black Sea. " * 60


def test_classify_gives_a_label_and_all_probabilities(server: Served) -> None:
    one, pair = server.outputs("classify", [{"text": "a b"}, {"text": "a b", "text_pair": "c d"}])
    for output in (one, pair):
        assert tuple(output["scores"]) == XNLI
        assert sum(output["scores"].values()) == pytest.approx(1.0)
        assert output["label"] == max(output["scores"], key=output["scores"].__getitem__)
    assert pair["usage"]["tokens"] > one["usage"]["tokens"]


def test_top_k_keeps_the_best_labels_first(server: Served) -> None:
    (whole,) = server.outputs("classify", [{"text": "a b"}])
    (best,) = server.outputs("classify", [{"text": "a b"}], {"top_k": 2})
    ranked = sorted(whole["scores"], key=whole["scores"].__getitem__, reverse=True)
    assert list(best["scores"]) == ranked[:2]


def test_choose_gives_an_index_and_a_probability_a_choice(server: Served) -> None:
    (output,) = server.outputs(
        "choose", [{"context": "He fell.", "question": "Why?", "choices": ["Ice.", "Sun.", "A cat."]}]
    )
    assert len(output["scores"]) == 3
    assert output["choice"] == int(np.argmax(output["scores"]))
    assert sum(output["scores"]) == pytest.approx(1.0)


def test_tag_gives_one_tag_a_word_and_places_for_a_text(server: Served) -> None:
    words, text = server.outputs("tag", [{"tokens": ["Ada", "", "schläft"]}, {"text": "Ada  schläft ."}])
    assert [sorted(tag) for tag in words["tags"]] == [["score", "tag"]] * 3
    assert [(tag["word"], tag["start"], tag["end"]) for tag in text["tags"]] == [
        ("Ada", 0, 3),
        ("schläft", 5, 12),
        (".", 13, 14),
    ]
    assert all(tag["tag"] in PANX for tag in words["tags"] + text["tags"])


def test_long_tag_input_keeps_one_tag_a_word_over_windows(server: Served) -> None:
    (output,) = server.outputs("tag", [{"tokens": ["Donau"] * 700}])
    assert len(output["tags"]) == 700
    assert output["usage"]["windows"] > 1
    assert output["usage"]["truncated"] is False


def test_span_answers_are_cut_from_the_context_over_windows(server: Served) -> None:
    (output,) = server.outputs(
        "span", [{"question": "Where does it rise?", "context": CONTEXT}], {"top_k": 3, "max_tokens": 384}
    )
    assert output["usage"]["windows"] > 1
    assert len(output["answers"]) == 3
    for answer in output["answers"]:
        assert CONTEXT[answer["start"] : answer["end"]] == answer["text"]
    scores = [answer["score"] for answer in output["answers"]]
    assert scores == sorted(scores, reverse=True)


def test_embeddings_as_numbers_and_as_base64_are_the_same(server: Served) -> None:
    (numbers,) = server.outputs("embed", [{"text": "a b"}])
    (encoded,) = server.outputs("embed", [{"text": "a b"}], {"encoding": "base64"})
    vector = np.array(numbers["embedding"], dtype=np.float32)
    assert vector.shape == (256,)
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(encoded["embedding"]), dtype="<f4"), vector)


def test_the_catalogues_defaults_hold_where_a_request_does_not_say(server: Served) -> None:
    (low,) = server.outputs("low", [{"text": "a b"}])
    (asked,) = server.outputs("embed", [{"text": "a b"}], {"layer": 2, "normalize": True})
    assert low["embedding"] == asked["embedding"]
    assert np.linalg.norm(low["embedding"]) == pytest.approx(1.0, abs=1e-6)
    (last,) = server.outputs("low", [{"text": "a b"}], {"layer": 4, "normalize": False})
    assert last["embedding"] == server.outputs("embed", [{"text": "a b"}])[0]["embedding"]


def test_256_inputs_of_real_size_are_answered_in_order(server: Served) -> None:
    texts = [f"satz nummer {n} " * (n % 5 + 1) for n in range(256)]
    outputs = server.outputs("embed", [{"text": text} for text in texts])
    (lone,) = server.outputs("embed", [{"text": texts[200]}])
    np.testing.assert_allclose(outputs[200]["embedding"], lone["embedding"], atol=1e-4)
    assert len(outputs) == 256


def test_response_names_variant_and_revision(server: Served) -> None:
    body = server.predict("classify", [{"text": "a"}]).json()
    assert list(body) == ["variant", "revision", "outputs"]
    assert body["variant"] == "classify"
    assert body["revision"] == server.client.get("/v1/variants/classify").json()["revision"]


def test_variants_are_described_and_random_weights_say_so(server: Served) -> None:
    entries = server.client.get("/v1/variants").json()["variants"]
    assert [entry["name"] for entry in entries] == [*HEADS, "low"]
    for entry in entries:
        assert entry == server.client.get(f"/v1/variants/{entry['name']}").json()
        assert entry["synthetic"] is True
        assert "mean nothing" in entry["warning"]
    classify = entries[0]
    assert classify["labels"] == list(XNLI)
    assert classify["lineage"] == {
        "system": "english-intermediate",
        "tasks": ["mnli"],
        "languages": ["en"],
    }
    assert classify["defaults"] == {"max_tokens": 512, "pooling": "mean", "layer": None, "normalize": False}
    assert (classify["num_layers"], classify["hidden_size"], classify["dtype"]) == (4, 256, "float32")
    assert classify["bytes"]["owned"] > 0


def test_the_parts_of_server_timing_add_up_to_the_total(server: Served) -> None:
    for variant, inputs in [("classify", [{"text": "a"}]), ("tag", [{"text": "a " * 600}] * 8)]:
        header = server.predict(variant, inputs).headers["server-timing"]
        parts = {name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", header)}
        assert list(parts) == ["tokenize", "queue", "infer", "decode", "total"]
        assert all(value >= 0.0 for value in parts.values())
        assert sum(parts.values()) - parts["total"] == pytest.approx(parts["total"], abs=0.01)
        assert parts["infer"] > 0.0


@pytest.mark.parametrize("given", ["abc", "A-1.b:c/d+e=f@g_h", "x" * 128])
def test_a_valid_request_id_comes_back(server: Served, given: str) -> None:
    response = server.predict("classify", [{"text": "a"}], headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\u00e9", 'a"b', "<script>"])
def test_a_request_id_that_is_not_plain_is_replaced(server: Served, given: str) -> None:
    response = server.predict("classify", [{"text": "a"}], headers={"X-Request-ID": given.encode()})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


def test_a_deadline_that_cannot_be_met_gives_504(server: Served) -> None:
    inputs = [{"text": "ein langer Satz " * 300}] * 200
    response = server.predict("classify", inputs, headers={"X-Request-Timeout-Ms": "1"})
    assert response.status_code == 504
    assert response.json()["type"] == "urn:xlmr:problem:deadline"
    assert server.predict("classify", [{"text": "a"}]).status_code == 200


def test_metrics_count_known_traffic(server: Served) -> None:
    def read() -> dict[str, float]:
        metric = server.metrics().sum
        return {
            "ok": metric("xlmr_requests_total", variant="embed", protocol="native", outcome="ok"),
            "partial": metric("xlmr_requests_total", variant="embed", outcome="partial"),
            "rejected": metric("xlmr_requests_total", variant="embed", outcome="rejected"),
            "unknown": metric("xlmr_requests_total", variant="_unknown", outcome="rejected"),
            "durations": metric("xlmr_request_duration_seconds_count", variant="embed"),
            "infers": metric("xlmr_stage_duration_seconds_count", variant="embed", stage="infer"),
            "inputs": metric("xlmr_inputs_total", variant="embed"),
            "tokens": metric("xlmr_tokens_total", variant="embed"),
            "truncated": metric("xlmr_truncated_total", variant="embed"),
            "shape": metric("xlmr_rejected_total", reason="shape"),
            "nobody": metric("xlmr_rejected_total", reason="unknown-variant"),
            "batches": metric("xlmr_batches_total", variant="embed"),
            "batch_tokens": metric("xlmr_batch_tokens_sum"),
            "batch_sequences": metric("xlmr_batch_sequences_sum"),
        }

    before = read()
    first = server.outputs("embed", [{"text": "a b c"}, {"text": "d " * 2000}])
    second = server.outputs("embed", [{"text": "e f"}, {"text": ""}])
    server.predict("embed", [{"question": "?"}])
    server.predict("nobody", [{"text": "a"}])
    after = read()
    tokens = sum(output["usage"]["tokens"] for output in [*first, second[0]])
    assert {name: after[name] - before[name] for name in before} == {
        "ok": 1.0,
        "partial": 1.0,
        "rejected": 1.0,
        "unknown": 1.0,
        "durations": 2.0,
        "infers": 2.0,
        "inputs": 4.0,
        "tokens": float(tokens),
        "truncated": 1.0,
        "shape": 1.0,
        "nobody": 1.0,
        "batches": 2.0,
        "batch_tokens": float(tokens),
        "batch_sequences": 3.0,
    }
    metrics = server.metrics()
    assert metrics.sum("xlmr_ready") == 1.0
    assert metrics.sum("xlmr_queue_requests") == 0.0
    assert metrics.sum("xlmr_queue_tokens") == 0.0
    assert metrics.sum("xlmr_engine_busy_seconds_total") > 0.0
    info = {"variant": "embed", "head": "embed", "dtype": "float32", "lineage": "english-intermediate"}
    assert metrics.sum("xlmr_variant_info", **info) == 1.0


def test_openmetrics_is_given_where_it_is_asked_for(server: Served) -> None:
    plain = server.client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    asked = server.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")
