"""A stage that is never run twice: its artifact, its counts, and the seconds that this run or a killed one measured."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bootstrap.canonical import json_file
from bootstrap.stages.context import Context, Meter
from bootstrap.store.artifacts import Artifact

METER_FILE = "meter.json"


def once(
    context: Context,
    kind: str,
    inputs: Mapping[str, Any],
    make: Callable[[Meter], Mapping[str, bytes]],
    *,
    meter: Meter,
) -> Artifact:
    """Return the artifact of `kind` made from `inputs`, and add its work to `meter`.

    `make`: does the work where the store lacks it, counts it in the meter given, and returns the artifact's files.
    """
    artifact = context.store.find(kind, inputs)
    if artifact is None:
        counts = context.meter()
        files = make(counts)
        keep_measured(context, inputs, counts)
        artifact = context.store.put(kind, inputs, {**files, METER_FILE: json_file(counts.to_json(measured=False))})
        context.made.add(artifact.id)
    meter.add(artifact.json(METER_FILE))
    add_measured(context, inputs, meter)
    return artifact


def keep_measured(context: Context, inputs: Mapping[str, Any], counts: Meter) -> None:
    """Keep the seconds of a stage; before its artifact, so that a run killed in between still knows them."""
    context.store.put_work("measured", inputs, {"measured.json": json.dumps(counts.measured()).encode()})


def add_measured(context: Context, inputs: Mapping[str, Any], meter: Meter) -> None:
    """Add the seconds of a finished stage, if the generation is not committed yet."""
    if (measured := context.store.find_work("measured", inputs)) is not None:
        meter.add(measured.json("measured.json"))
