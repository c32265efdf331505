"""Queries to a real Prometheus: right values in every odd case, its own words in errors."""

import socket
import time

import numpy as np
import pytest

from pveops.base.errors import InputError, NoAnswer, TransportError, Unreachable
from pveops.clients.metrics.catalogue import Catalogue
from pveops.clients.metrics.http import MetricsHttp
from pveops.clients.metrics.prometheus import Prometheus
from pveops.frames.metrics import matrix_frame, raw_frame, vector_frame

from .conftest import POINTS, STALE_FROM, STALE_TO, STEP_S, wave

pytestmark = pytest.mark.slow


@pytest.fixture
def server(prometheus):
    http = MetricsHttp(prometheus.url)
    yield Prometheus(http)
    http.close()


def span(prometheus):
    return prometheus.start_s * 1000, prometheus.end_s * 1000


def test_a_day_of_series_has_every_value_at_its_time(prometheus, server):
    matrix = server.range("cpu", *span(prometheus), STEP_S * 1000)
    assert matrix.samples.shape == (12, POINTS)
    for labels, row in zip(matrix.labels, matrix.samples, strict=True):
        series = int(labels["id"].removeprefix("qemu/")) - 100
        assert row.tolist() == [wave(series, point) for point in range(POINTS)]
    frame = matrix_frame(matrix)
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    assert frame.index[0].timestamp() == prometheus.start_s
    assert set(frame.columns) == {f"qemu/{100 + series} pve{series % 3}" for series in range(12)}
    assert frame.attrs["complete"]
    assert "Prometheus" in frame.attrs["source"]


def test_more_points_than_one_answer_may_hold_are_fetched_in_pieces(prometheus, server):
    start_ms, end_ms = span(prometheus)
    matrix = server.range('cpu{id="qemu/100"}', start_ms, end_ms, 5000)
    assert matrix.samples.shape == (1, (end_ms - start_ms) // 5000 + 1)
    assert matrix.samples.shape[1] > 11_000
    assert not np.isnan(matrix.samples).any()
    assert len(set(matrix.times_ms.tolist())) == matrix.samples.shape[1]
    assert matrix.samples[0, :: STEP_S // 5].tolist() == [wave(0, point) for point in range(POINTS)]


def test_raw_samples_are_those_that_were_scraped(prometheus, server):
    raw = server.raw("cpu", *span(prometheus))
    assert len(raw.series) == 12
    for one in raw.series:
        series = int(one.labels["id"].removeprefix("qemu/")) - 100
        assert one.times_ms.tolist() == [(prometheus.start_s + point * STEP_S) * 1000 for point in range(POINTS)]
        assert one.samples.tolist() == [wave(series, point) for point in range(POINTS)]


def test_zeros_are_zeros(prometheus, server):
    found = {one.labels["kind"]: one.samples for one in server.raw("zeros", *span(prometheus)).series}
    assert found["all"].tolist() == [0.0] * POINTS
    assert found["some"].tolist() == [0.0 if point % 3 else 1.5 for point in range(POINTS)]
    matrix = server.range('zeros{kind="all"}', *span(prometheus), STEP_S * 1000)
    assert matrix.samples.tolist() == [[0.0] * POINTS]


def test_a_gap_stays_a_gap(prometheus, server):
    row = server.range("gaps", *span(prometheus), STEP_S * 1000).samples[0]
    missing = np.flatnonzero(np.isnan(row))
    assert missing[-1] == STALE_TO - 1
    assert STALE_FROM <= missing[0] <= STALE_FROM + 5  # Prometheus looks back five minutes
    raw = server.raw("gaps", *span(prometheus)).series[0]
    assert raw.samples.tolist() == [point for point in range(POINTS) if not STALE_FROM <= point < STALE_TO]


def test_nan_and_infinity_and_labels_called_like_columns(prometheus, server):
    pattern = np.array(["nan", "inf", "-inf", "1"], dtype=float)
    expected = np.tile(pattern, POINTS // 4)
    matrix = server.range("odd", *span(prometheus), STEP_S * 1000)
    np.testing.assert_array_equal(matrix.samples[0], expected)
    raw = server.raw("odd", *span(prometheus))
    np.testing.assert_array_equal(raw.series[0].samples, expected)
    frame = raw_frame(raw)
    assert frame["label_value"].iloc[0] == "x"
    assert frame["label_time"].iloc[0] == "y"
    assert frame["name"].iloc[0] == 'Größe "q"'
    np.testing.assert_array_equal(frame["value"].to_numpy(), expected)


def test_a_counter_that_starts_again_has_a_rate_that_is_never_negative(prometheus, server):
    matrix = server.range("rate(restarts_total[10m])", *span(prometheus), STEP_S * 1000)
    known = matrix.samples[0][~np.isnan(matrix.samples[0])]
    assert known.min() >= 0
    assert np.median(known) == pytest.approx(1.0)


def test_one_moment_has_one_row_per_series(prometheus, server):
    frame = vector_frame(server.instant("cpu", prometheus.end_s * 1000))
    assert len(frame) == 12
    assert set(frame.columns) == {"__name__", "id", "node", "value"}
    assert server.instant("vector(7)", prometheus.end_s * 1000).samples.tolist() == [7.0]
    assert server.instant("scalar(vector(3))", prometheus.end_s * 1000).samples.tolist() == [3.0]
    with pytest.raises(InputError, match=r"gives a matrix.*\.raw\(\)"):
        server.instant("cpu[5m]")


def test_nothing_found_is_an_empty_table_not_an_error(prometheus, server):
    matrix = server.range("no_such_metric", *span(prometheus), STEP_S * 1000)
    assert matrix_frame(matrix).shape == (POINTS, 0)
    assert raw_frame(server.raw("no_such_metric", *span(prometheus))).shape[0] == 0
    assert len(vector_frame(server.instant("no_such_metric"))) == 0


def test_a_wrong_expression_is_told_in_the_words_of_the_server(prometheus, server):
    with pytest.raises(InputError, match="parse error"):
        server.range("cpu{", *span(prometheus), STEP_S * 1000)
    with pytest.raises(InputError, match="is no plain selector"):
        server.raw("rate(cpu[5m])", *span(prometheus))


def test_the_catalogue(prometheus):
    catalogue = Catalogue(prometheus.url)
    assert {"cpu", "zeros", "gaps", "odd", "restarts_total"} <= set(catalogue.names())
    assert catalogue.values("node") == ("pve0", "pve1", "pve2")
    assert catalogue.targets() == ()


def test_a_dead_server_fails_at_once_with_its_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port} gives no connection"):
            Prometheus(MetricsHttp(f"http://127.0.0.1:{port}")).instant("up")
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port} gives no connection"):
            Catalogue(f"http://127.0.0.1:{port}").names()
        assert time.monotonic() - began < 5


def test_a_silent_server_is_given_up_after_its_time():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        http = MetricsHttp(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5)
        with pytest.raises(NoAnswer, match=r"within 0\.5 s"):
            Prometheus(http).instant("up")


def test_what_is_no_prometheus_is_said(prometheus):
    with pytest.raises(TransportError, match="Is this a Prometheus"):
        Prometheus(MetricsHttp(f"{prometheus.url}/nowhere")).instant("up")
