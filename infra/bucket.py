"""Copy MLflow's artifacts between their bucket and a tar archive, for backups; runs where MLflow's S3 keys are:

    docker compose --file infra/compose.yaml exec -T mlflow python -c "$(cat infra/bucket.py)" save > bucket.tar
    docker compose --file infra/compose.yaml exec -T mlflow python -c "$(cat infra/bucket.py)" load < bucket.tar

A second argument names another bucket than `lineage`. A bucket that is missing counts as empty, since it comes with the
first object. `load` replaces objects that are there and deletes none.
"""

import os
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, BinaryIO

import boto3


def save(client: Any, bucket: str, archive: BinaryIO) -> int:
    """Write every object to the archive, under its key; return how many."""
    count = 0
    with tarfile.open(fileobj=archive, mode="w|") as tar:
        for key in keys(client, bucket):
            answer = client.get_object(Bucket=bucket, Key=key)
            member = tarfile.TarInfo(key)
            member.size, member.mtime = answer["ContentLength"], int(answer["LastModified"].timestamp())
            tar.addfile(member, answer["Body"])
            count += 1
    return count


def keys(client: Any, bucket: str) -> Iterator[str]:
    """Yield the key of every object."""
    with suppress(client.exceptions.NoSuchBucket):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            yield from (entry["Key"] for entry in page.get("Contents", ()))


def load(client: Any, bucket: str, archive: BinaryIO) -> int:
    """Write every file of the archive to the bucket; return how many."""
    count = 0
    # Where buckets do not come with their first object.
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=bucket)
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            if (content := tar.extractfile(member)) is not None:
                # A stream without a way back: the client must not even ask for one.
                client.upload_fileobj(SimpleNamespace(read=content.read), bucket, member.name)
                count += 1
    return count


def main(arguments: list[str]) -> None:
    """Do what the command line says. Exits with a message for any other."""
    if len(arguments) not in (1, 2) or arguments[0] not in ("save", "load"):
        sys.exit("usage: bucket.py save [BUCKET] > ARCHIVE, or bucket.py load [BUCKET] < ARCHIVE")
    action, bucket = arguments[0], (arguments[1:] or ["lineage"])[0]
    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    count = save(client, bucket, sys.stdout.buffer) if action == "save" else load(client, bucket, sys.stdin.buffer)
    print(f"{action}: {count} objects of the bucket {bucket}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
