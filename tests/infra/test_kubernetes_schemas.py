"""Every manifest obeys its kind's schema, and the schemas refuse what is misspelt."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.kubernetes import SCHEMAS, TREES, Document, build, errors

pytestmark = pytest.mark.slow

Built = Callable[[str], list[Document]]


@pytest.mark.parametrize("name", TREES)
def test_every_manifest_obeys_its_schema(name: str, built: Built):
    found = {f"{doc['kind']}/{doc['metadata']['name']}": errors(doc) for doc in built(name)}
    assert len(found) >= 19
    assert not {name: wrong for name, wrong in found.items() if wrong}


WORKERS = ("spec", "workerGroupSpecs", 0)
CLUSTER = ("spec", "rayClusterSpec")
WRONG = [
    # kind, where, what stands there instead, what the validator has to name
    ("RayCluster", ("spec", "rayVersoin"), "2.60.0", "rayVersoin"),
    ("RayCluster", ("spec", "rayVersion"), 2.6, "spec.rayVersion"),
    ("RayCluster", ("spec", "authOptions", "mode"), "password", "spec.authOptions.mode"),
    ("RayCluster", ("spec", "upgradeStrategy", "type"), "Rolling", "spec.upgradeStrategy.type"),
    ("RayCluster", (*WORKERS, "replica"), 3, "replica"),
    ("RayCluster", (*WORKERS, "replicas"), "three", "workerGroupSpecs.0.replicas"),
    ("RayCluster", ("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0, "rayStartParams.num-cpus"),
    ("RayCluster", (*WORKERS, "template", "spec", "container"), [], "container"),
    ("RayCluster", (*WORKERS, "template", "spec", "containers", 0, "imagePullPolcy"), "Always", "imagePullPolcy"),
    ("RayCluster", (*WORKERS, "template", "spec", "volumes", 0, "name"), 1, "volumes.0.name"),
    ("RayCluster", ("metadata", "lables"), {}, "lables"),
    ("RayCluster", ("status",), {}, "status"),
    ("RayJob", ("spec", "backoffLimits"), 1, "backoffLimits"),
    ("RayJob", ("spec", "backoffLimit"), "1", "spec.backoffLimit"),
    ("RayJob", (*CLUSTER, "workerGroupSpecs", 0, "groupname"), "x", "groupname"),
    ("RayJob", (*CLUSTER, "autoscalerOptions", "idleTimeoutSecond"), 1, "idleTimeoutSecond"),
    ("RayJob", ("spec", "submitterPodTemplate", "spec", "containers", 0, "imagee"), "x", "imagee"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "15s", "intervall"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "port"), 8080, "endpoints.0.port"),
    ("Deployment", ("spec", "template", "spec", "containers", 0, "readinesProbe"), {}, "readinesProbe"),
    ("Deployment", ("spec", "replicas"), "one", "spec.replicas"),
    ("StatefulSet", ("spec", "volumeClaimTemplate"), [], "volumeClaimTemplate"),
    ("StatefulSet", ("spec", "template", "spec", "securityContext", "fsGroup"), "999", "securityContext.fsGroup"),
    ("Service", ("spec", "ports", 0, "targetport"), 1, "targetport"),
    ("Service", ("spec", "ports", 0, "port"), "5000", "ports.0.port"),
    ("NetworkPolicy", ("spec", "ingres"), [], "ingres"),
    ("NetworkPolicy", ("spec", "policyTypes"), "Ingress", "spec.policyTypes"),
    ("PodDisruptionBudget", ("spec", "minAvailble"), 1, "minAvailble"),
    ("PodDisruptionBudget", ("spec", "selector"), "all", "spec.selector"),
    ("PersistentVolumeClaim", ("spec", "accessMode"), "ReadWriteMany", "accessMode"),
    ("PersistentVolumeClaim", ("spec", "accessModes"), "ReadWriteMany", "spec.accessModes"),
    ("CronJob", ("spec", "jobTemplate", "spec", "backofLimit"), 0, "backofLimit"),
    ("CronJob", ("spec", "suspend"), "yes", "spec.suspend"),
]


@pytest.mark.parametrize(
    ("kind", "place", "value", "named"), WRONG, ids=[f"{kind}-{named}" for kind, *_, named in WRONG]
)
def test_a_wrong_key_or_type_is_named(kind: str, place: tuple[str | int, ...], value: Any, named: str, built: Built):
    tree = "base" if kind == "RayCluster" else "overlays/everything"
    document = copy.deepcopy(next(doc for doc in built(tree) if doc["kind"] == kind))
    assert not errors(document)
    put(document, place, value)
    (reason,) = errors(document)
    print(f"{kind}: {reason}")
    assert named in reason


def put(document: Document, place: tuple[str | int, ...], value: Any) -> None:
    inner: Any = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value


def test_every_kind_of_the_trees_is_among_the_wrong_ones(built: Built):
    kinds = {document["kind"] for name in TREES for document in built(name)}
    assert kinds == {kind for kind, *_ in WRONG}


@pytest.mark.parametrize("api_version", ["ray.io/v1alpha1", "v2"])
def test_a_kind_without_a_schema_is_an_error(api_version: str, built: Built):
    cluster = next(doc for doc in built("base") if doc["kind"] == "RayCluster")
    (reason,) = errors({**cluster, "apiVersion": api_version})
    assert "Couldn't find schema for kind RayCluster" in reason


WRONG_KUSTOMIZATIONS = [
    ("resources:", "resuorces:", "resuorces"),
    ("components/gpu", "components/gqu", "components/gqu"),
]


@pytest.mark.parametrize(("right", "wrong", "named"), WRONG_KUSTOMIZATIONS)
def test_a_wrong_key_or_path_in_a_kustomization_stops_the_build(right: str, wrong: str, named: str, tree: Path):
    file = tree / "overlays" / "gpu" / "kustomization.yaml"
    text = file.read_text()
    folder = tree / "overlays" / re.sub(r"\W", "-", wrong)
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text.replace(right, wrong))
    with pytest.raises(AssertionError, match=named):
        build(folder)


def test_a_component_refuses_a_cluster_whose_workers_it_does_not_know(tree: Path):
    renamed, on_top = tree / "overlays" / "renamed", tree / "overlays" / "renamed-gpu"
    renamed.mkdir()
    (renamed / "kustomization.yaml").write_text(
        """
resources: [../../base]
patches:
  - target: {kind: RayCluster}
    patch: '[{"op": "replace", "path": "/spec/workerGroupSpecs/0/groupName", "value": "others"}]'
"""
    )
    on_top.mkdir()
    (on_top / "kustomization.yaml").write_text("resources: [../renamed]\ncomponents: [../../components/gpu]\n")
    build(renamed)
    with pytest.raises(AssertionError, match="groupName"):
        build(on_top)


@pytest.mark.parametrize("name", ["kuberay", "prometheus-operator", "compose-spec"])
def test_a_derived_schema_is_small_and_names_its_source_and_licence(name: str):
    text = (SCHEMAS / f"{name}.json").read_text()
    assert len(text) < 100_000
    assert re.search(
        r'"\$comment": "Derived from https://github\.com/\S+ \S+ \(commit [0-9a-f]{40}\).*Apache-2\.0', text
    )
