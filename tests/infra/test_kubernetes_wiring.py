"""The manifests agree with one another: names, ports, selectors, versions, and who may reach whom."""

import base64
import copy
import itertools
import json
import re
import shlex
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.server import security_utils as security
from support.kubernetes import (
    COMPONENTS,
    REPOSITORY,
    TREE,
    TREES,
    Document,
    Pod,
    build,
    errors,
    kubectl,
    pods,
    ray_cluster,
    selects,
    write_overlay,
)

from bootstrap import __version__
from bootstrap.cluster.connection import NODES

pytestmark = pytest.mark.mlflow

Built = Callable[[str], list[Document]]

every_tree = pytest.mark.parametrize("name", TREES)

NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
OUTSIDE = (
    {NAME: "prometheus", COMPONENT: "prometheus"},
    # KubeRay's operator as its Helm chart labels it, and as its kustomization does.
    {NAME: "kuberay-operator", COMPONENT: "kuberay-operator"},
    {NAME: "kuberay", COMPONENT: "kuberay-operator"},
)
"""The labels of whom else is let in, from whatever namespace."""
NUMBERS = itertools.count()
MODELNODES = {"ray-head", "ray-worker"}


def of_kind(documents: Sequence[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


# --- the network ---------------------------------------------------------------------------------------------------


@every_tree
def test_a_service_leads_to_ports_that_its_pods_have(name: str, built: Built):
    documents = built(name)
    for service in of_kind(documents, "Service"):
        behind = [pod for pod in pods(documents) if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)]
        assert behind, service["metadata"]["name"]
        for port, pod in itertools.product(service["spec"]["ports"], behind):
            assert pod.ports[port["targetPort"]] == port["port"]


@every_tree
def test_the_monitor_finds_a_service_that_every_node_of_ray_stands_behind(name: str, built: Built):
    documents = built(name)
    (monitor,) = of_kind(documents, "ServiceMonitor")
    (service,) = [
        one for one in of_kind(documents, "Service") if selects(monitor["spec"]["selector"], one["metadata"]["labels"])
    ]
    assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}
    selector = {"matchLabels": service["spec"]["selector"]}
    assert {pod.component for pod in pods(documents) if selects(selector, pod.labels)} == MODELNODES


@every_tree
def test_an_address_in_a_container_is_a_service_with_that_port(name: str, built: Built):
    documents = built(name)
    served = {
        (service["metadata"]["name"], port["port"])
        for service in of_kind(documents, "Service")
        for port in service["spec"]["ports"]
    }
    found = {
        (match[1], int(match[2]))
        for pod in pods(documents)
        for variable in environment(pod)
        for match in re.finditer(r"(?:://|@)([a-z][a-z0-9.-]*):(\d+)", variable.get("value", ""))
    }
    assert found == {("mlflow", 5000), ("postgres", 5432), ("s3", 8333)}
    assert found <= served


@every_tree
def test_mlflow_lets_in_the_host_name_that_drivers_use(name: str, built: Built):
    (server,) = [pod for pod in pods(built(name)) if pod.component == "mlflow"]
    (allowed,) = [one["value"] for one in environment(server) if one["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS"]
    (head,) = [pod for pod in pods(built(name)) if pod.component == "ray-head"]
    (uri,) = [one["value"] for one in environment(head) if one["name"] == "MLFLOW_TRACKING_URI"]
    assert uri.removeprefix("http://") in allowed.split(",")


@every_tree
def test_a_policy_selects_pods_that_there_are_and_opens_ports_that_they_have(name: str, built: Built):
    documents = built(name)
    for policy in of_kind(documents, "NetworkPolicy"):
        spec, label = policy["spec"], policy["metadata"]["name"]
        chosen = [pod for pod in pods(documents) if selects(spec["podSelector"], pod.labels)]
        assert chosen and spec["policyTypes"] == ["Ingress"], label
        assert spec["podSelector"]["matchLabels"]["app.kubernetes.io/part-of"] == "bootstrap", label
        for rule in spec.get("ingress", ()):
            for port, pod in itertools.product(rule.get("ports", ()), chosen):
                assert port["port"] in pod.ports.values(), label
            for peer in rule["from"]:
                if "namespaceSelector" in peer:
                    assert any(selects(peer["podSelector"], labels) for labels in OUTSIDE), label
                else:
                    assert any(selects(peer["podSelector"], pod.labels) for pod in pods(documents)), label


def reachable(documents: Sequence[Document]) -> set[tuple[str, str, int | str]]:
    """Return who reaches which port of whom, by component, as the policies have it; `*` is every port."""
    policies = [document["spec"] for document in of_kind(documents, "NetworkPolicy")]
    found: set[tuple[str, str, int | str]] = set()
    outsiders = [Pod("", "", labels, {}) for labels in OUTSIDE]
    stranger = Pod("", "", {COMPONENT: "stranger"}, {})
    inside = pods(documents)
    for source, target in itertools.product([*inside, *outsiders, stranger], inside):
        governing = [policy for policy in policies if selects(policy["podSelector"], target.labels)]
        if not governing:
            found.add((source.component, target.component, "*"))
        for rule in itertools.chain.from_iterable(policy.get("ingress", ()) for policy in governing):
            if any(is_peer(peer, source, inside=source in inside) for peer in rule["from"]):
                ports = [port["port"] for port in rule.get("ports", ())] or ["*"]
                found |= {(source.component, target.component, port) for port in ports}
    return found


def is_peer(peer: Mapping[str, Any], pod: Pod, *, inside: bool) -> bool:
    return (inside or "namespaceSelector" in peer) and selects(peer["podSelector"], pod.labels)


REACHABLE: set[tuple[str, str, int | str]] = {
    *((source, target, "*") for source in MODELNODES for target in MODELNODES),
    *(("prometheus", target, 8080) for target in MODELNODES),
    ("kuberay-operator", "ray-head", 8265),
    ("ray-head", "mlflow", 5000),
    ("mlflow", "postgres", 5432),
    ("mlflow-upgrade", "postgres", 5432),
    ("mlflow", "s3", 8333),
}
SUBMITTER = ("ray-submitter", "ray-head", 8265)


@every_tree
def test_the_head_alone_reaches_mlflow_and_mlflow_alone_its_stores(name: str, built: Built):
    documents = built(name)
    # Nothing listens on a pod that only submits.
    found = {row for row in reachable(documents) if row[1] != "ray-submitter"}
    assert found == (REACHABLE | {SUBMITTER} if of_kind(documents, "RayJob") else REACHABLE)


@pytest.mark.parametrize("labels", OUTSIDE, ids=lambda labels: labels[NAME])
def test_everybody_outside_who_needs_to_is_let_in(labels: Mapping[str, str], built: Built):
    policies = of_kind(built("base"), "NetworkPolicy")
    rules = itertools.chain.from_iterable(policy["spec"].get("ingress", ()) for policy in policies)
    assert any(is_peer(peer, Pod("", "", labels, {}), inside=False) for rule in rules for peer in rule["from"])


def test_a_policy_that_lets_in_too_many_shows_as_reachable(built: Built):
    documents = copy.deepcopy(built("base"))
    (policy,) = [one for one in of_kind(documents, "NetworkPolicy") if one["metadata"]["name"] == "bootstrap-mlflow"]
    policy["spec"]["ingress"][0]["from"][0]["podSelector"] = {}
    assert ("ray-worker", "mlflow", 5000) in reachable(documents) - REACHABLE
    without = [one for one in documents if one["metadata"]["name"] not in ("bootstrap-deny", "bootstrap-s3")]
    assert ("stranger", "s3", "*") in reachable(without)


# --- pods ----------------------------------------------------------------------------------------------------------


def environment(pod: Pod) -> Iterator[Document]:
    for container in pod.spec["containers"]:
        yield from container.get("env", ())


@every_tree
def test_every_pod_is_confined_and_bounded(name: str, built: Built):
    documents = built(name)
    found = pods(documents)
    assert {pod.component for pod in found} >= MODELNODES | {"mlflow", "postgres", "s3"}
    for pod in found:
        inside = pod.spec["securityContext"]
        assert inside["runAsNonRoot"] and inside["runAsUser"] >= 999, pod.owner
        assert inside["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        # Kubernetes would set a variable such as MLFLOW_PORT for each Service, and MLflow reads that one.
        assert pod.spec["enableServiceLinks"] is False, pod.owner
        scaled = pod.component == "ray-head" and asks_for_nodes(documents)
        assert pod.spec["automountServiceAccountToken"] is scaled, pod.owner
        volumes = {volume["name"] for volume in pod.spec["volumes"]} | claims(documents, pod)
        for container in pod.spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, pod.owner
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}, pod.owner
            assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys(), pod.owner
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes, pod.owner
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, pod.owner
            # KubeRay makes the probes of Ray's own containers.
            if not pod.component.startswith("ray-") and not pod.owner.startswith("CronJob/"):
                assert container.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}, pod.owner


def asks_for_nodes(documents: Sequence[Document]) -> bool:
    return any(ray_cluster(document).get("enableInTreeAutoscaling", False) for document in documents)


def claims(documents: Sequence[Document], pod: Pod) -> set[str]:
    """Return the volumes that a StatefulSet claims for its pods."""
    return {
        claim["metadata"]["name"]
        for document in of_kind(documents, "StatefulSet")
        if pod.owner == f"StatefulSet/{document['metadata']['name']}"
        for claim in document["spec"]["volumeClaimTemplates"]
    }


@every_tree
def test_every_node_of_ray_mounts_the_one_store(name: str, built: Built):
    documents = built(name)
    (claim,) = of_kind(documents, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods(documents):
        if pod.component in MODELNODES:
            (store,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "store"]
            assert store["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
            assert {"name": "store", "mountPath": "/store"} in pod.spec["containers"][0]["volumeMounts"]


@every_tree
def test_a_budget_covers_pods_that_there_are_by_a_count_that_kubernetes_can_make(name: str, built: Built):
    documents = built(name)
    for budget in of_kind(documents, "PodDisruptionBudget"):
        covered = [pod for pod in pods(documents) if selects(budget["spec"]["selector"], pod.labels)]
        assert covered
        # Kubernetes asks a pod's owner for its scale to count who may be missing; RayCluster has none.
        if any(pod.component.startswith("ray-") for pod in covered):
            assert isinstance(budget["spec"]["minAvailable"], int) and "maxUnavailable" not in budget["spec"]


# --- secrets -------------------------------------------------------------------------------------------------------

SECRET_NAMES = re.compile("PASSWORD|TOKEN|SECRET|ACCESS_KEY")
EXAMPLE = (TREE / "base" / "secrets.example.env").read_text()


def made_secret() -> Document:
    """Return the Secret that the command in secrets.example.env makes."""
    comment = [line[1:].strip() for line in EXAMPLE.splitlines() if line.startswith("#   ")]
    command = "\n".join(comment).replace("kubectl create", f"{kubectl()} create --dry-run=client --output=json")
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@every_tree
def test_a_secret_comes_from_the_one_that_a_person_makes_and_stands_nowhere_else(name: str, built: Built):
    documents, secret = built(name), made_secret()
    assert not errors(secret)
    assert not of_kind(documents, "Secret")
    named = [
        variable for pod in pods(documents) for variable in environment(pod) if SECRET_NAMES.search(variable["name"])
    ]
    assert {variable["valueFrom"]["secretKeyRef"]["key"] for variable in named} == set(secret["data"])
    for variable in named:
        assert variable["valueFrom"]["secretKeyRef"]["name"] == secret["metadata"]["name"]
        assert "value" not in variable


def test_the_example_of_secrets_names_what_the_command_makes_and_holds_none():
    lines = [line for line in EXAMPLE.splitlines() if not line.startswith("#")]
    secret = made_secret()
    assert lines == [f"{name}=" for name in sorted(secret["data"])]
    # 24 bytes of chance for each.
    values = [base64.b64decode(value) for value in secret["data"].values()]
    assert len(set(values)) == len(values) and all(re.fullmatch(rb"[0-9a-f]{48}", value) for value in values)


@every_tree
def test_a_secret_is_in_no_address(name: str, built: Built):
    for pod in pods(built(name)):
        for variable in environment(pod):
            assert "$(" not in variable.get("value", ""), variable["name"]
            assert not re.search(r"://[^/@]*:[^/@]*@", variable.get("value", "")), variable["name"]


# --- versions and components ---------------------------------------------------------------------------------------


@every_tree
def test_versions_are_those_of_constraints(name: str, built: Built, versions: Mapping[str, str]):
    documents = built(name)
    (cluster,) = filter(None, map(ray_cluster, documents))
    assert cluster["rayVersion"] == versions["ray"]
    images = {container["image"] for pod in pods(documents) for container in pod.spec["containers"]}
    gpu = {f"bootstrap-gpu:{__version__}"} if asks_for_gpus(workers(documents)) else set()
    ours = {image for image in images if image.startswith("bootstrap")}
    assert ours == {f"bootstrap-cpu:{__version__}", f"bootstrap-mlflow:{versions['mlflow']}"} | gpu
    assert all(re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", image) for image in images - ours)


def test_compose_and_kubernetes_run_the_same_services(built: Built):
    """A tag of one image differs nowhere, or what is tested on one machine is not what a cluster runs."""
    tags: dict[str, set[str]] = {}
    images = [container["image"] for pod in pods(built("overlays/everything")) for container in pod.spec["containers"]]
    for file in sorted((REPOSITORY / "infra").glob("compose*.yaml")):
        images += [one["image"] for one in yaml.safe_load(file.read_text())["services"].values() if "image" in one]
    for image in images:
        name, _, tag = image.partition(":")
        if not name.startswith("bootstrap"):
            tags.setdefault(name, set()).add(tag)
    assert tags.keys() >= {"postgres", "chrislusf/seaweedfs"}
    assert not {name: sorted(found) for name, found in tags.items() if len(found) > 1}


def groups(documents: Sequence[Document]) -> list[Document]:
    (cluster,) = filter(None, map(ray_cluster, documents))
    return cluster["workerGroupSpecs"]


def workers(documents: Sequence[Document]) -> Document:
    return groups(documents)[0]


@every_tree
def test_samplers_have_nodes_like_those_of_learners_and_each_node_offers_its_role(name: str, built: Built):
    found = copy.deepcopy(groups(built(name)))
    if name not in ("overlays/samplers", "overlays/everything"):
        assert [group["groupName"] for group in found] == ["workers"] and found[0]["rayStartParams"] == {}
        return
    assert [group["groupName"] for group in found] == ["learners", "samplers"]
    for group in found:
        # Ray reads JSON, behind quotes for a shell.
        (offered,) = shlex.split(group["rayStartParams"].pop("resources"))
        assert json.loads(offered) == {group.pop("groupName"): 1000}
    assert found[0] == found[1] and set(NODES.values()) == {"learners", "samplers"}


def asks_for_gpus(group: Document) -> bool:
    (container,) = group["template"]["spec"]["containers"]
    return "nvidia.com/gpu" in container["resources"]["limits"]


@pytest.mark.parametrize("name", TREES)
def test_gpu_alone_asks_for_gpus_and_leaves_their_number_to_the_operator(name: str, built: Built):
    group = workers(built(name))
    assert asks_for_gpus(group) is (name in ("overlays/gpu", "overlays/everything"))
    assert "num-gpus" not in group["rayStartParams"]


@pytest.mark.parametrize("name", ["overlays/spot", "overlays/everything"])
def test_spot_sends_workers_to_spot_nodes_and_keeps_the_head_off_them(name: str, built: Built):
    documents = built(name)
    head, worker = (next(pod for pod in pods(documents) if pod.component == one) for one in ("ray-head", "ray-worker"))
    (of_head,) = node_terms(head)
    wanted = [rule for term in node_terms(worker) for rule in term["matchExpressions"]]
    assert [(rule["key"], rule["values"]) for rule in wanted] == [
        (rule["key"], rule["values"]) for rule in of_head["matchExpressions"]
    ]
    assert {rule["operator"] for rule in wanted} == {"In"}
    assert {rule["operator"] for rule in of_head["matchExpressions"]} == {"NotIn"}
    tolerated = {one["key"] for one in worker.spec["tolerations"]}
    assert tolerated >= {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"}
    assert ("nvidia.com/gpu" in tolerated) is (name == "overlays/everything")
    # Ray drains a node for 30 s at most.
    assert 30 < worker.spec["terminationGracePeriodSeconds"] < 60


def node_terms(pod: Pod) -> list[Document]:
    rule = pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return rule["nodeSelectorTerms"]


@every_tree
def test_workers_are_as_many_as_their_bounds_allow(name: str, built: Built):
    group, scaled = workers(built(name)), asks_for_nodes(built(name))
    assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert (group["minReplicas"] < group["maxReplicas"]) is scaled


@pytest.mark.parametrize("name", ["overlays/job", "overlays/everything"])
def test_job_brings_the_cluster_that_the_other_components_describe(name: str, built: Built, tree: Path):
    documents = built(name)
    assert not of_kind(documents, "RayCluster")
    (job,) = of_kind(documents, "RayJob")
    others = [component for component in COMPONENTS if component != "job"] if name != "overlays/job" else []
    standing = standing_cluster(tree, built, others)
    # The operator refuses a strategy for upgrades in a RayJob's cluster.
    assert standing["spec"].pop("upgradeStrategy") == {"type": "Recreate"}
    assert job["spec"]["rayClusterSpec"] == standing["spec"]
    # The operator appends a suffix, and a Service's name ends at 63 characters.
    assert len(job["metadata"]["name"]) <= 47


def standing_cluster(tree: Path, built: Built, components: Sequence[str]) -> Document:
    documents = build(write_overlay(tree, "standing", components)) if components else built("base")
    (cluster,) = of_kind(documents, "RayCluster")
    return copy.deepcopy(cluster)


@pytest.mark.parametrize("name", ["overlays/job", "overlays/everything"])
def test_the_job_runs_a_recipe_that_is_in_the_image_on_the_store(name: str, built: Built):
    (job,) = of_kind(built(name), "RayJob")
    words = job["spec"]["entrypoint"].split()
    assert words[:4] == ["python", "-m", "bootstrap", "run"]
    recipe = words[4].removeprefix("/opt/bootstrap/")
    assert (REPOSITORY / recipe).is_file() and recipe != words[4]
    assert words[5:] == ["--store", "/store/runs"]
    assert job["spec"]["shutdownAfterJobFinishes"]
    # Spot nodes are taken away without a fault of the run; otherwise a second try fails as the first one did.
    assert job["spec"]["backoffLimit"] == (3 if name == "overlays/everything" else 0)


def commented(tree: Path, file: Path, key: str, components: Sequence[str]) -> Path:
    """Write an overlay with the list that a comment of the file gives under the key; return its folder."""
    lines = file.read_text().splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#   "), lines[lines.index(f"#   {key}:") :])
    overlay = write_overlay(tree, f"commented-{next(NUMBERS)}", components)
    with (overlay / "kustomization.yaml").open("a") as text:
        text.write("\n".join(line[4:] for line in comment) + "\n")
    return overlay


def test_one_list_of_images_gives_every_node_a_new_version(tree: Path):
    overlay = commented(tree, TREE / "base" / "kustomization.yaml", "images", COMPONENTS)
    images = {container["image"] for pod in pods(build(overlay)) for container in pod.spec["containers"]}
    assert {image for image in images if "bootstrap" in image} == {
        f"REGISTRY/bootstrap-{name}:2" for name in ("cpu", "gpu", "mlflow")
    }


def test_the_overlay_of_the_readme_takes_the_base_and_images_of_ones_own(tree: Path):
    text = (REPOSITORY / "infra" / "README.md").read_text()
    (written,) = re.findall(r"<<END\n(.*?)^    END$", text, re.MULTILINE | re.DOTALL)
    folder = tree / "overlays" / "own"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(textwrap.dedent(written))
    documents = build(folder)
    assert not [wrong for document in documents for wrong in errors(document)]
    images = {container["image"] for pod in pods(documents) for container in pod.spec["containers"]}
    assert {image for image in images if "bootstrap" in image} == {
        "REGISTRY/bootstrap-cpu:1",
        "REGISTRY/bootstrap-mlflow:1",
    }


def test_the_readme_names_what_there_is(built: Built):
    text = (REPOSITORY / "infra" / "README.md").read_text()
    named = set(re.findall(r"\b(cronjob|raycluster|deploy|service)/([a-z0-9-]+)", text))
    kinds = {"cronjob": "CronJob", "raycluster": "RayCluster", "deploy": "Deployment", "service": "Service"}
    # The operator makes the head's Service.
    for kind, name in named - {("service", "bootstrap-head-svc")}:
        assert name in {one["metadata"]["name"] for one in of_kind(built("base"), kinds[kind])}, f"{kind}/{name}"
    assert len(named) == 5


PATCHES = {
    "mlflow.yaml": ("NetworkPolicy", "bootstrap-mlflow", "kubernetes.io/metadata.name: ingress-nginx"),
    "monitoring.yaml": ("ServiceMonitor", "ray-metrics", "release: kube-prometheus-stack"),
}


@pytest.mark.parametrize("file", PATCHES)
def test_patches_in_a_comment_change_what_they_say(file: str, tree: Path):
    kind, name, named = PATCHES[file]
    documents = build(commented(tree, TREE / "base" / file, "patches", []))
    assert not [wrong for document in documents for wrong in errors(document)]
    (patched,) = [one for one in of_kind(documents, kind) if one["metadata"]["name"] == name]
    assert named in yaml.safe_dump(patched)


def test_a_published_mlflow_lets_its_own_page_change_something(tree: Path, monkeypatch: pytest.MonkeyPatch):
    documents = build(commented(tree, TREE / "base" / "mlflow.yaml", "patches", []))
    (server,) = [pod for pod in pods(documents) if pod.component == "mlflow"]
    settings = {variable["name"]: variable.get("value") for variable in environment(server)}
    assert settings.keys() >= {"MLFLOW_BACKEND_STORE_URI", "AWS_ACCESS_KEY_ID"}, "the patch replaced what it adds to"
    for variable in ("MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"):
        monkeypatch.setenv(variable, settings[variable])
    hosts, origins = security.get_allowed_hosts_from_env(), security.get_allowed_origins_from_env()
    assert security.is_allowed_host_header(hosts, "mlflow:5000")
    assert security.is_allowed_host_header(hosts, "mlflow.example.org")
    assert not security.is_allowed_host_header(hosts, "other.example.org")
    assert not security.should_block_cors_request("https://mlflow.example.org", "POST", origins)
    assert security.should_block_cors_request("https://other.example.org", "POST", origins)


@every_tree
def test_nodes_of_ray_can_write_to_the_store_and_to_temporary_folders_alone(name: str, built: Built):
    """A run without `--store` is refused: its lineage would lie in a home folder that ends with the pod."""
    for pod in pods(built(name)):
        if pod.component in MODELNODES:
            for container in pod.spec["containers"]:
                assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/store", "/tmp"}
            caches = {variable["name"]: variable["value"] for variable in environment(pod) if "value" in variable}
            assert caches["HF_HOME"] == "/store/.huggingface" and caches["MPLCONFIGDIR"].startswith("/tmp/")
