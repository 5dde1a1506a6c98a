"""A stub of a Kubernetes cluster, with what KubernetesPodOperator needs.

Real: Airflow, the operator, its hook and the Kubernetes client, which sends HTTP requests to this server; and
the container's program, which runs as a local process with the pod's command, arguments and environment,
including Secrets.

Stubbed: the API server (no authentication, admission or validation), the scheduler and the kubelet. No image
is pulled: the program is found on the PATH of `image_env`. Volumes are local folders; arguments and variables
that begin with a mount path are rewritten to them. Resources and security contexts have no effect.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from .local_pod import Manifest, Pod


@dataclass
class PodApi:
    """The pods of a cluster with these Secrets, claims and one image."""

    secrets: Mapping[str, Mapping[str, str]]
    claims: Mapping[str, Path]
    image_env: Mapping[str, str]
    scratch: Path
    created: list[Manifest] = field(default_factory=list)
    pods: dict[str, Pod] = field(default_factory=dict)
    url: str = ""

    def create(self, manifest: Manifest) -> Manifest:
        self.created.append(json.loads(json.dumps(manifest)))
        name, spec = manifest["metadata"]["name"], manifest["spec"]
        (container,) = spec["containers"]
        folders = {}
        for volume in spec["volumes"]:
            claim = volume.get("persistentVolumeClaim")
            folder = self.claims[claim["claimName"]] if claim else self.scratch / name / volume["name"]
            folder.mkdir(parents=True, exist_ok=True)
            folders[volume["name"]] = folder
        mounts = {mount["mountPath"]: folders[mount["name"]] for mount in container["volumeMounts"]}

        def localized(value: str) -> str:
            for path, folder in mounts.items():
                if value == path or value.startswith(f"{path}/"):
                    return f"{folder}{value.removeprefix(path)}"
            return value

        env = dict(self.image_env)
        for source in container.get("envFrom", []):
            env |= self.secrets[source["secretRef"]["name"]]
        env |= {variable["name"]: localized(variable["value"]) for variable in container["env"]}
        command = [localized(part) for part in [*container["command"], *container["args"]]]
        self.pods[name] = Pod(manifest, command, env)
        return self.pods[name].as_json()

    def selected(self, selector: str) -> list[Manifest]:
        """Return the pods whose labels match a selector with the terms `a=b`, `a!=b` and `!a`."""
        return [pod.as_json() for pod in self.pods.values() if _matches(pod.manifest, selector)]

    def delete(self, name: str) -> Manifest:
        pod = self.pods.pop(name)
        pod.stop()
        return pod.as_json()


def _matches(manifest: Manifest, selector: str) -> bool:
    labels: dict[str, str] = manifest["metadata"]["labels"]

    def matches(term: str) -> bool:
        if term.startswith("!"):
            return term[1:] not in labels
        if "!=" in term:
            key, value = term.split("!=")
            return labels.get(key) != value
        key, value = term.split("=")
        return labels.get(key) == value

    return all(matches(term) for term in selector.split(",") if term)


@contextmanager
def served(api: PodApi) -> Iterator[PodApi]:
    """Serve the API on a free port of the loopback interface; finally, stop its pods."""

    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            # /api/v1/namespaces/<namespace>/<kind>[/<name>[/<subresource>]]
            _, _, _, _, _, kind, *path = url.path.split("/")
            match self.command, kind, path:
                case "GET", "events", []:
                    self.answer({"kind": "EventList", "metadata": {}, "items": []})
                case "POST", "pods", []:
                    self.answer(api.create(body), 201)
                case "GET", "pods", []:
                    items = api.selected(query.get("labelSelector", ""))
                    self.answer({"kind": "PodList", "metadata": {}, "items": items})
                case _, "pods", [name, *_] if name not in api.pods:
                    self.answer({"kind": "Status", "code": 404, "reason": "NotFound"}, 404)
                case "GET", "pods", [name]:
                    self.answer(api.pods[name].as_json())
                case "GET", "pods", [name, "log"]:
                    api.pods[name].follower.join()  # `follow`: the response ends when the container exits
                    lines = api.pods[name].log
                    if query.get("timestamps", "").lower() != "true":
                        lines = [line.partition(" ")[2] for line in lines]
                    self.answer("".join(lines))
                case "PATCH", "pods", [name]:
                    api.pods[name].manifest["metadata"]["labels"] |= body["metadata"]["labels"]
                    self.answer(api.pods[name].as_json())
                case "DELETE", "pods", [name]:
                    self.answer(api.delete(name))
                case _:
                    self.answer({"kind": "Status", "code": 405, "reason": "MethodNotAllowed"}, 405)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_request

        def answer(self, content: Manifest | str, status: int = 200) -> None:
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if content is text else "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Suppress the log of requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        for pod in api.pods.values():
            pod.stop()


def airflow_connection(api: PodApi) -> str:
    """Return the value of AIRFLOW_CONN_KUBERNETES_DEFAULT for this API."""
    kube_config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stub", "cluster": {"server": api.url}}],
        "users": [{"name": "stub", "user": {}}],
        "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
        "current-context": "stub",
    }
    return json.dumps({"conn_type": "kubernetes", "extra": {"kube_config": kube_config}})
