"""No row is lost when releases change and pods are deleted while the bot writes."""

import os
import random
import shlex
from functools import partial

from tests.cluster.kube import execute, helm, kubectl, run, until
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release

KILLS = 8


def test_a_changed_setting_under_load(mrf1_under_load: Release) -> None:
    mrf1_under_load.upgrade(consumer__batchSeconds=0.5, producer__pageRows=500)
    assert execute("mrf1-bot-0", "printenv", "PAGE_ROWS").strip() == "500"
    assert execute("deploy/mrf1-consumer-nature", "printenv", "BATCH_SECONDS").strip() == "0.5"
    mrf1_under_load.wait_for_rows()
    mrf1_under_load.assert_audit_clean()


def test_new_images_under_load(mrf1_under_load: Release) -> None:
    values: dict[str, str | float] = {}
    for service, component in (("producer", "bot"), ("consumer", "consumer-actions")):
        (pod,) = mrf1_under_load.pods(component)
        image = pod["spec"]["containers"][-1]["image"]
        new = f"crmbot-{service}:next"
        dockerfile = f"FROM {image}\nLABEL crm-bot.test=next\n"
        run("docker", "build", "--quiet", f"--tag={new}", "-", stdin=dockerfile)
        run(*shlex.split(os.environ["LOAD_IMAGE"]), new)
        values |= {f"{service}__image__repository": f"crmbot-{service}", f"{service}__image__tag": "next"}
    mrf1_under_load.upgrade(**values)
    for component in ("bot", "consumer-actions", "consumer-nature"):
        (pod,) = mrf1_under_load.pods(component)
        assert pod["spec"]["containers"][-1]["image"].endswith(":next")
    mrf1_under_load.wait_for_rows()
    mrf1_under_load.assert_audit_clean()


def test_pods_deleted_at_random_lose_nothing(mrf1_under_load: Release) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    others = ["platform-kafka-0", "platform-postgresql-0"]
    for turn in range(KILLS):
        component = chance.choice(["bot", "consumer-actions", "consumer-nature"])
        (pod,) = mrf1_under_load.pods(component)
        victim = others[turn // 4] if turn in (2, 6) else pod["metadata"]["name"]
        # Every second pod is killed before it can shut down.
        kubectl("delete", "pod", victim, *(["--grace-period=1"] if turn % 2 else []))
        for other in others:
            kubectl("wait", "pod", other, "--for=condition=Ready", "--timeout=120s")
        mrf1_under_load.wait()
        mrf1_under_load.wait_for_rows()
    mrf1_under_load.assert_audit_clean()


def test_a_rollback_under_load(mrf1_under_load: Release) -> None:
    before = execute("mrf1-bot-0", "printenv", "PAGE_ROWS")
    mrf1_under_load.upgrade(producer__pageRows=700, consumer__batchSeconds=0.3)
    mrf1_under_load.wait_for_rows()
    helm("rollback", "mrf1", "--wait", "--timeout=5m")
    mrf1_under_load.wait()
    assert execute("mrf1-bot-0", "printenv", "PAGE_ROWS") == before
    mrf1_under_load.wait_for_rows()
    mrf1_under_load.assert_audit_clean()


def test_a_drained_node(mrf1_under_load: Release) -> None:
    """The node's pods are evicted, as far as their disruption budgets allow, and rescheduled."""
    (node,) = {pod["spec"]["nodeName"] for pod in mrf1_under_load.pods()}
    before = {pod["metadata"]["uid"] for pod in mrf1_under_load.pods()}
    try:
        kubectl(
            *("drain", node, f"--pod-selector={mrf1_under_load.selector}"),
            *("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"),
        )
    finally:
        kubectl("uncordon", node)
    mrf1_under_load.wait()
    assert not before & {pod["metadata"]["uid"] for pod in mrf1_under_load.pods()}
    mrf1_under_load.wait_for_rows()
    mrf1_under_load.assert_audit_clean()


def test_consumers_scale_from_one_to_three_to_one(mrf1_under_load: Release, prometheus: Prometheus) -> None:
    held = 'crmbot_consumer_partitions{mrf="mrf1", stream="actions"}'
    for partitions in ([3], [1, 1, 1], [3]):
        kubectl("scale", "deployment", "mrf1-consumer-actions", f"--replicas={len(partitions)}")
        mrf1_under_load.wait()
        until(
            f"the consumers are assigned {partitions} partitions", partial(prometheus.has, held, partitions)
        )
        mrf1_under_load.wait_for_rows()
    mrf1_under_load.assert_audit_clean()
