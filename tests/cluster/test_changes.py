"""Nothing is lost when releases change and pods die while the bot works."""

import os
import random
import shlex
from functools import partial

from tests.cluster.kube import execute, helm, kubectl, run, until
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release

KILLS = 8


def test_a_changed_setting_under_load(busy_mrf1: Release) -> None:
    busy_mrf1.upgrade(consumer__batchSeconds=0.5, producer__pageRows=500)
    assert execute("mrf1-bot-0", "printenv", "PAGE_ROWS").strip() == "500"
    assert execute("deploy/mrf1-consumer-nature", "printenv", "BATCH_SECONDS").strip() == "0.5"
    busy_mrf1.must_flow()
    busy_mrf1.must_be_clean()


def test_new_images_under_load(busy_mrf1: Release) -> None:
    values: dict[str, str | float] = {}
    for service, component in (("producer", "bot"), ("consumer", "consumer-actions")):
        (pod,) = busy_mrf1.pods(component)
        image = pod["spec"]["containers"][-1]["image"]
        new = f"crmbot-{service}:next"
        dockerfile = f"FROM {image}\nLABEL crm-bot.test=next\n"
        run("docker", "build", "--quiet", f"--tag={new}", "-", stdin=dockerfile)
        run(*shlex.split(os.environ["LOAD_IMAGE"]), new)
        values |= {f"{service}__image__repository": f"crmbot-{service}", f"{service}__image__tag": "next"}
    busy_mrf1.upgrade(**values)
    for component in ("bot", "consumer-actions", "consumer-nature"):
        (pod,) = busy_mrf1.pods(component)
        assert pod["spec"]["containers"][-1]["image"].endswith(":next")
    busy_mrf1.must_flow()
    busy_mrf1.must_be_clean()


def test_pods_deleted_at_random_lose_nothing(busy_mrf1: Release) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    others = ["platform-kafka-0", "platform-postgresql-0"]
    for turn in range(KILLS):
        component = chance.choice(["bot", "consumer-actions", "consumer-nature"])
        (pod,) = busy_mrf1.pods(component)
        victim = others[turn // 4] if turn in (2, 6) else pod["metadata"]["name"]
        # Every second one is killed before it can end its work.
        kubectl("delete", "pod", victim, *(["--grace-period=1"] if turn % 2 else []))
        for other in others:
            kubectl("wait", "pod", other, "--for=condition=Ready", "--timeout=120s")
        busy_mrf1.wait()
        busy_mrf1.must_flow()
    busy_mrf1.must_be_clean()


def test_a_rollback_under_load(busy_mrf1: Release) -> None:
    before = execute("mrf1-bot-0", "printenv", "PAGE_ROWS")
    busy_mrf1.upgrade(producer__pageRows=700, consumer__batchSeconds=0.3)
    busy_mrf1.must_flow()
    helm("rollback", "mrf1", "--wait", "--timeout=5m")
    busy_mrf1.wait()
    assert execute("mrf1-bot-0", "printenv", "PAGE_ROWS") == before
    busy_mrf1.must_flow()
    busy_mrf1.must_be_clean()


def test_a_drained_node(busy_mrf1: Release) -> None:
    """Its pods are evicted, as far as their disruption budgets allow, and come back where there is room."""
    (node,) = {pod["spec"]["nodeName"] for pod in busy_mrf1.pods()}
    before = {pod["metadata"]["uid"] for pod in busy_mrf1.pods()}
    try:
        kubectl(
            *("drain", node, f"--pod-selector={busy_mrf1.selector}"),
            *("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"),
        )
    finally:
        kubectl("uncordon", node)
    busy_mrf1.wait()
    assert not before & {pod["metadata"]["uid"] for pod in busy_mrf1.pods()}
    busy_mrf1.must_flow()
    busy_mrf1.must_be_clean()


def test_consumers_scale_from_one_to_three_to_one(busy_mrf1: Release, prometheus: Prometheus) -> None:
    held = 'crmbot_consumer_partitions{mrf="mrf1", stream="actions"}'
    for partitions in ([3], [1, 1, 1], [3]):
        kubectl("scale", "deployment", "mrf1-consumer-actions", f"--replicas={len(partitions)}")
        busy_mrf1.wait()
        until(f"each consumer holds {partitions}", partial(prometheus.has, held, partitions))
        busy_mrf1.must_flow()
    busy_mrf1.must_be_clean()
