"""Renders the chart with helm, and looks up objects in the result."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "crm-bot"
CI_FILES = sorted(CHART.glob("ci/*-values.yaml"))
MRF_FILES = sorted(CHART.glob("mrf/*.yaml"))
DEFAULT = CHART / "ci" / "default-values.yaml"
Manifest = dict[str, Any]


def tool(name: str) -> str | None:
    """Return the path of a tool: from the variable HELM or KUBECONFORM, or else from PATH, or None."""
    return os.environ.get(name.upper()) or shutil.which(name)


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run helm, without a cluster."""
    command = tool("helm")
    assert command
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=False, timeout=60)


@cache
def text(*files: Path, **values: str) -> str:
    """Return the manifests of the release mrf1; `values` are set as JSON, with `__` for dots."""
    arguments = [f"--values={file}" for file in files]
    arguments += [f"--set-json={name.replace('__', '.')}={value}" for name, value in values.items()]
    done = helm("template", "mrf1", str(CHART), "--namespace=crm-bot", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Rendered:
    """The objects of a release."""

    def __init__(self, *files: Path, **values: str) -> None:
        self.objects: list[Manifest] = [
            document for document in yaml.safe_load_all(text(*(files or (DEFAULT,)), **values)) if document
        ]

    def kinds(self) -> set[str]:
        return {document["kind"] for document in self.objects}

    def names(self, kind: str) -> set[str]:
        return {document["metadata"]["name"] for document in self.objects if document["kind"] == kind}

    def one(self, kind: str, name: str) -> Manifest:
        """Return the object with this kind and name."""
        (found,) = (d for d in self.objects if d["kind"] == kind and d["metadata"]["name"] == name)
        return found

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Yield the name and the template (metadata, spec) of every pod."""
        for document in self.objects:
            name = document["metadata"]["name"]
            if document["kind"] == "Pod":
                yield name, document
            elif document["kind"] in ("Deployment", "StatefulSet", "Job"):
                yield name, document["spec"]["template"]
            elif document["kind"] == "CronJob":
                yield name, document["spec"]["jobTemplate"]["spec"]["template"]

    def pod(self, name: str) -> Manifest:
        """Return the spec of the pod of the object with this name."""
        spec: Manifest = dict(self.pods())[name]["spec"]
        return spec

    def container(self, pod: str, name: str) -> Manifest:
        """Return a container, or init container, of a pod."""
        spec = self.pod(pod)
        (found,) = (c for c in spec["containers"] + spec.get("initContainers", []) if c["name"] == name)
        return dict(found)


def secrets_of(container: Manifest) -> list[str]:
    """Return the Secrets that set variables of the container."""
    return [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]


def dashboard(rendered: Rendered) -> Any:  # noqa: ANN401  (JSON)
    """Return the dashboard as parsed JSON."""
    (content,) = rendered.one("ConfigMap", "mrf1-dashboard")["data"].values()
    return json.loads(content)
