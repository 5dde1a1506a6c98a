#!/usr/bin/python3
"""Debian's Prometheus with pod discovery, which Debian's build lacks.

Takes the arguments of `prometheus`. Every kubernetes_sd_configs of the configuration is replaced by a file of
targets that a second process updates. They have the labels of the role `pod` that charts/platform uses, so
that its relabeling works unchanged.
"""

import json
import os
import re
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

Object = dict[str, Any]
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DATA = Path("/prometheus")
TARGETS = DATA / "targets.json"
SECONDS = 2.0


def use_file_of_targets(configuration: Path) -> Path:
    """Write a copy of the configuration that uses the file of targets, and return its path."""
    content = yaml.safe_load(configuration.read_text(encoding="utf-8"))
    for job in content["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["file_sd_configs"] = [{"files": [str(TARGETS)]}]
    written = DATA / "prometheus.yml"
    written.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return written


def pods(namespace: str) -> list[Object]:
    """Return the namespace's pods."""
    url = f"https://kubernetes.default.svc/api/v1/namespaces/{namespace}/pods"
    token = (ACCOUNT / "token").read_text()
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urlopen(request, context=trust, timeout=10) as answer:
        items: list[Object] = json.load(answer)["items"]
        return items


def targets(pod: Object) -> list[Object]:
    """Return one target per container port of a pod; none before the pod has an address."""
    address = pod["status"].get("podIP")
    metadata, prefix = pod["metadata"], "__meta_kubernetes_pod"
    labels = {
        "__meta_kubernetes_namespace": metadata["namespace"],
        f"{prefix}_name": metadata["name"],
        f"{prefix}_phase": pod["status"]["phase"],
    }
    for kind in ("annotation", "label"):
        for name, value in metadata.get(f"{kind}s", {}).items():
            labels[f"{prefix}_{kind}_{re.sub('[^a-zA-Z0-9_]', '_', name)}"] = value
    return [
        {
            "targets": [f"{address}:{port['containerPort']}"],
            "labels": labels
            | {
                f"{prefix}_container_name": container["name"],
                f"{prefix}_container_port_name": port.get("name", ""),
            },
        }
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if address
    ]


def update_targets() -> None:
    """Update the file of targets forever."""
    namespace = (ACCOUNT / "namespace").read_text()
    new = TARGETS.with_suffix(".new")
    while True:
        try:
            new.write_text(json.dumps([target for pod in pods(namespace) for target in targets(pod)]))
            new.rename(TARGETS)
        except OSError as error:
            print(f"discovery: {error}", file=sys.stderr, flush=True)
        time.sleep(SECONDS)


def main() -> None:
    option = "--config.file="
    arguments = [
        f"{option}{use_file_of_targets(Path(argument.removeprefix(option)))}"
        if argument.startswith(option)
        else argument
        for argument in sys.argv[1:]
    ]
    if os.fork() == 0:
        update_targets()
    os.execv("/usr/bin/prometheus", ["prometheus", *arguments])


if __name__ == "__main__":
    main()
