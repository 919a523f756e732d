"""Derive the schemas beside this file from clones of the projects that define them; README.md says what is left out.

    python tests/infra/schemas/derive.py --kuberay DIR --prometheus-operator DIR --compose-spec DIR

Each DIR is a clone, bare or not; the commits are those of `SOURCES`, so that the same clones give the same bytes.
"""

import argparse
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCES: Mapping[str, Mapping[str, Any]] = {
    "kuberay": {
        "repository": "https://github.com/ray-project/kuberay",
        "version": "v1.7.0",
        "commit": "59d663aeec13760646da3db9c1cf8cfe883e30b7",
        "files": [
            "ray-operator/config/crd/bases/ray.io_rayclusters.yaml",
            "ray-operator/config/crd/bases/ray.io_rayjobs.yaml",
        ],
    },
    "prometheus-operator": {
        "repository": "https://github.com/prometheus-operator/prometheus-operator",
        "version": "v0.93.0",
        "commit": "f8fafd475f3d132e239432ae6172de60a6cb6516",
        "files": ["example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"],
    },
    "compose-spec": {
        "repository": "https://github.com/compose-spec/compose-spec",
        "version": "main",
        "commit": "170098ba07d9f53c383a41bfd4c5166b0a4529a6",
        "files": ["schema/compose-spec.json"],
    },
}
LICENCE = "Apache-2.0"

POD_TEMPLATES = {"template", "submitterPodTemplate"}
"""Properties that hold a core/v1 PodTemplateSpec, where the validator goes on with Kubernetes' own schema."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in SOURCES:
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR", help="a clone")
    clones = vars(parser.parse_args())
    for name, source in SOURCES.items():
        texts = [_show(clones[name.replace("-", "_")], source["commit"], file) for file in source["files"]]
        derived = _compose(texts[0]) if name == "compose-spec" else _kinds([_load(text) for text in texts])
        comment = (
            f"Derived from {source['repository']} {source['version']} (commit {source['commit']}): "
            f"{', '.join(source['files'])}. Licence: {LICENCE}. What was left out: README.md."
        )
        path = HERE / f"{name}.json"
        path.write_text(json.dumps({"$comment": comment, **derived}, indent=1, sort_keys=True) + "\n")
        print(f"{path.name}: {path.stat().st_size:,} bytes")


def _show(clone: Path, commit: str, file: str) -> str:
    command = ["git", "-C", str(clone), "show", f"{commit}:{file}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _load(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _kinds(definitions: list[Any]) -> dict[str, Any]:
    """Return one schema for each kind, as `$defs`; what RayJob holds of a RayCluster refers to that."""
    kinds = {}
    for definition in definitions:
        names, group = definition["spec"]["names"], definition["spec"]["group"]
        (version,) = [one for one in definition["spec"]["versions"] if one["storage"]]
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"].pop("status", None)
        schema["properties"] |= {
            "apiVersion": {"const": f"{group}/{version['name']}"},
            "kind": {"const": names["kind"]},
            "metadata": {"x-kubernetes": "ObjectMeta"},
        }
        schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata", "spec"})
        kinds[names["kind"]] = schema
    if "RayJob" in kinds:
        job = kinds["RayJob"]["properties"]["spec"]["properties"]
        assert job["rayClusterSpec"] == kinds["RayCluster"]["properties"]["spec"]
        job["rayClusterSpec"] = {"$ref": "#/$defs/RayCluster/properties/spec"}
    return {"$defs": kinds}


def _strict(schema: Any) -> Any:
    """Return a CRD's schema as JSON Schema: no prose, no unknown key where the server would drop it."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    kept = {
        key: value
        for key, value in schema.items()
        if key not in ("description", "properties", "default", "format") and not key.startswith("x-kubernetes-")
    }
    derived = {key: _strict(value) for key, value in kept.items()}
    if "properties" in schema:
        derived["properties"] = {
            name: {"x-kubernetes": _foreign(name, one)} if _foreign(name, one) else _strict(one)
            for name, one in schema["properties"].items()
        }
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            derived["additionalProperties"] = False
    return derived


def _foreign(name: str, schema: Any) -> str:
    """Return the Kubernetes type that a property holds, where that type's own schema is the better judge."""
    if name in POD_TEMPLATES and "containers" in schema["properties"].get("spec", {}).get("properties", {}):
        return "PodTemplateSpec"
    return "Service" if name == "headService" else ""


def _compose(text: str) -> dict[str, Any]:
    """Return the specification's schema without its prose; it refuses unknown keys by itself."""

    def pruned(value: Any) -> Any:
        if isinstance(value, list):
            return [pruned(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {key: pruned(one) for key, one in value.items() if key != "description" or isinstance(one, dict)}

    return pruned(json.loads(text))


if __name__ == "__main__":
    main()
