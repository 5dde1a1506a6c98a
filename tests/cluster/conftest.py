"""A real cluster with the platform and two MRFs, installed by skaffold.

`make cluster-test` runs these tests. They are skipped unless CLUSTER_TESTS is set, so that no cluster is
used by accident.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cluster.airflow import Airflow
from tests.cluster.kube import ROOT, CommandError, kubectl, port_forward, run
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release

Timed = Callable[[str], AbstractContextManager[None]]
_TIMES: list[tuple[str, float]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.nodeid.startswith("tests/cluster/"):
        _TIMES.append((report.nodeid.rpartition("::")[2], report.duration))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the duration of each step that took a second or more."""
    if _TIMES:
        terminalreporter.section("steps on the cluster")
        for step, seconds in [*_TIMES, ("total", sum(seconds for _, seconds in _TIMES))]:
            if seconds >= 1:
                terminalreporter.write_line(f"{seconds:7.1f} s  {step}")


@pytest.fixture(scope="session")
def timed() -> Timed:
    """Return a context manager that records the duration of a step."""

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            _TIMES.append((name, time.monotonic() - start))

    return step


@pytest.fixture(scope="session")
def cluster(timed: Timed, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cluster, and an environment in which kubectl, helm and skaffold use only this one."""
    if not os.environ.get("CLUSTER_TESTS"):
        pytest.skip("run these tests with make cluster-test: see docs/cluster.md")
    with timed("cluster, Docker engine and base image"):
        done = subprocess.run(
            ["sh", "-c", 'variables=$(tests/cluster/cluster.sh up) && eval "$variables" && env -0'],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=900,
        )
    for line in filter(None, done.stdout.split("\0")):
        name, _, value = line.partition("=")
        os.environ[name] = value
    config = tmp_path_factory.mktemp("kube") / "config"
    context = ("--minify", "--flatten", "--raw", f"--context={os.environ['CLUSTER_CONTEXT']}")
    config.touch(mode=0o600)
    config.write_text(run("kubectl", "config", "view", *context))
    os.environ["KUBECONFIG"] = str(config)


@pytest.fixture(scope="session")
def images(cluster: None, timed: Timed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skaffold's file with the names of all images, which are built and loaded into the cluster."""
    file = tmp_path_factory.mktemp("images") / "images.json"
    with timed("images: build and load"):
        run("skaffold", "build", f"--file-output={file}", seconds=1500)
    return file


@pytest.fixture(scope="session")
def installed(images: Path, timed: Timed) -> None:
    """The platform, mrf1 and mrf2, installed from or upgraded to the working tree."""
    with timed("install the platform and two MRFs"):
        try:
            # Skaffold sets a new value of this label at each run, which would replace every pod.
            label = "--label=skaffold.dev/run-id=crm-bot"
            run("skaffold", "deploy", f"--build-artifacts={images}", label, seconds=900)
        except CommandError:
            print(kubectl("get", "pods,events"))
            raise


@pytest.fixture(scope="session")
def mrf1(installed: None) -> Release:
    return Release("mrf1")


@pytest.fixture(scope="session")
def mrf2(installed: None) -> Release:
    return Release("mrf2")


@pytest.fixture(scope="session")
def mrf1_under_load(mrf1: Release, timed: Timed) -> Release:
    """mrf1 while its bot writes 300 rows a second."""
    with timed("upgrade mrf1 to 300 rows/s"):
        mrf1.upgrade(generator__load=300)
    return mrf1


@pytest.fixture(scope="session")
def prometheus(installed: None) -> Iterator[Prometheus]:
    with port_forward("service/platform-prometheus", 9090) as url:
        yield Prometheus(url)


@pytest.fixture(scope="session")
def airflow(installed: None) -> Iterator[Airflow]:
    secret = kubectl("get", "secret", "platform-airflow", "--output=jsonpath={.data.passwords\\.json}")
    with port_forward("service/platform-airflow", 8080) as url:
        yield Airflow(url, secret)


@pytest.fixture(scope="session")
def exported_after(airflow: Airflow, mrf2: Release, timed: Timed) -> float:
    """The Unix time before a run of data2excel_mrf2, which has succeeded."""
    mrf2.wait_for_rows(1)
    start = time.time()
    with timed("run data2excel_mrf2 by Airflow's API"):
        airflow.run_dag("data2excel_mrf2")
    return start
