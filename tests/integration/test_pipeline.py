"""The main path: every row that a running bot commits is in the warehouse once, in order."""

from functools import partial

from devstack.services import Service
from tests.integration.pipeline import Pipeline, wait_until


def is_ready(service: Service) -> bool:
    return service.get("/readyz")[0] == 200


def test_every_row_arrives_once_while_the_bot_keeps_writing(pipeline: Pipeline) -> None:
    pipeline.backfill(6_000)
    for stream in ("actions", "nature"):
        pipeline.produce(stream)
        pipeline.consume(stream)
        pipeline.consume(stream)
    pipeline.check_output("crmbot-generator", "load", "--rate", "200", "--seconds", "5")
    result = pipeline.audit()
    assert result["clean"], result
    assert sum(stream["rows_in_file"] for stream in result["streams"]) > 6_500
    assert all(stream["rows_in_file"] == stream["rows_in_warehouse"] for stream in result["streams"])
    assert pipeline.query(
        "SELECT count(*) FROM {nature} WHERE status = 'application' AND lead_id NOT IN "
        "(SELECT lead_id FROM {actions} WHERE result = 'order_placed')"
    ) == [(0,)], "every order comes with the action that placed it"


def test_every_row_has_an_offset_of_its_own(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    ((first, newest, count),) = pipeline.query(
        "SELECT min(transaction_id), max(transaction_id), count(DISTINCT (kafka_partition, kafka_offset)) "
        "FROM {actions}"
    )
    assert (first, newest, count) == (1, pipeline.in_file("actions"), pipeline.in_file("actions"))


def test_services_shut_down_cleanly_and_resume(pipeline: Pipeline) -> None:
    pipeline.backfill(2_000)
    for _ in range(2):
        producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
        pipeline.wait_for_all("actions")
        wait_until(partial(is_ready, consumer), "the consumer is ready")
        assert producer.terminate() == 0
        assert consumer.terminate() == 0
        pipeline.check_output("crmbot-generator", "load", "--rate", "300", "--seconds", "1")
    pipeline.produce("nature")
    pipeline.produce("actions")
    pipeline.consume("nature")
    pipeline.consume("actions")
    assert pipeline.audit()["clean"]


def test_the_audit_names_every_kind_of_difference(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    for stream in ("actions", "nature"):
        pipeline.produce(stream)
        pipeline.consume(stream)
    assert pipeline.audit()["clean"]
    pipeline.query("INSERT INTO {actions} SELECT * FROM {actions} WHERE transaction_id = 11")
    pipeline.query("DELETE FROM {actions} WHERE transaction_id = 12")
    pipeline.query("UPDATE {actions} SET potential_revenue = potential_revenue + 1 WHERE transaction_id = 13")
    pipeline.query("UPDATE {actions} SET transaction_id = 999999 WHERE transaction_id = 14")
    actions, nature = pipeline.audit(wait=0)["streams"]
    assert actions["counts"] == {"twice": 1, "missing": 2, "changed": 1, "extra": 1}
    assert {(e[0], e[2]) for e in actions["examples"]} == {
        ("twice", 11),
        ("missing", 12),
        ("changed", 13),
        ("missing", 14),
        ("extra", 999999),
    }
    assert nature["clean"]


def test_the_audit_detects_rows_out_of_order_and_a_broken_ledger(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    for stream in ("actions", "nature"):
        pipeline.produce(stream)
        pipeline.consume(stream)
    assert pipeline.audit()["clean"]
    pipeline.query("UPDATE {actions} SET kafka_offset = -1 - kafka_offset WHERE kafka_partition = 0")
    pipeline.query(
        "UPDATE crm_bot_ledger SET start_offset = start_offset + 1 WHERE topic = %s",
        f"crm_bot_nature_{pipeline.mrf}",
    )
    actions, nature = pipeline.audit(wait=0)["streams"]
    assert any("before an earlier row" in promise for promise in actions["broken_promises"])
    assert any("ledger's chain" in promise for promise in nature["broken_promises"])


def test_metrics_count_rows_and_lag(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    rows = pipeline.in_file("actions")
    labels = f'{{mrf="{pipeline.mrf}",stream="actions"}}'
    assert f"crmbot_producer_rows_sent_total{labels} {rows:.1f}" in producer.get("/metrics")[1]
    wait_until(
        lambda: f"crmbot_consumer_rows_loaded_total{labels} {rows:.1f}" in consumer.get("/metrics")[1],
        "the consumer has counted its rows",
    )
    no_lag = [
        f'crmbot_consumer_lag_rows{{mrf="{pipeline.mrf}",partition="{p}",stream="actions"}} 0.0'
        for p in "012"
    ]
    wait_until(lambda: all(lag in consumer.get("/metrics")[1] for lag in no_lag), "no partition has a lag")
    assert f"crmbot_consumer_lag_seconds{labels} 0.0" in consumer.get("/metrics")[1]
    assert producer.get("/healthz") == (200, "ok\n")
    assert producer.get("/readyz") == (200, "ok\n")
    assert consumer.get("/nothing")[0] == 404
