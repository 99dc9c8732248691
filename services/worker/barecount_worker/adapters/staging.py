"""What stages leave for each other: immutable files with digests in a folder that one attempt alone writes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from barecount_contracts import StagedOutput

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.lake import Lake

CONTROL = ".control"
"""Suffix of the staged control totals of a source: the dataset `transactions` has them as `transactions.control`."""


class Staging:
    """The folder of one attempt, made empty: whatever a crashed process with the same nonce left is gone."""

    def __init__(self, lake: Lake, folder: Path) -> None:
        self.lake = lake
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def file(self, name: str) -> Path:
        return self.folder / name

    def output(self, name: str, file: Path, records: int) -> StagedOutput:
        """A finished file, durable and described."""
        durable(file)
        return StagedOutput(name=name, files=(self.lake.relative(file),), records=records, digest=digest_of(file))

    def control(self, dataset: str, totals: Mapping[str, str]) -> StagedOutput:
        """Control totals, kept as they were when the data was read: a later delivery does not change what this run is held to."""
        file = self.file(f"{dataset}{CONTROL}.json")
        file.write_text(json.dumps(dict(totals), sort_keys=True), "utf-8")
        return self.output(dataset + CONTROL, file, len(totals))


def open_input(lake: Lake, inputs: Mapping[str, StagedOutput], name: str) -> Path:
    """The file of an earlier stage's output, checked against its digest. StageFailed when it is missing or not the same."""
    if name not in inputs:
        raise StageFailed(ErrorType.TASK_INVALID, f"the task came without the staged output '{name}'; it has {sorted(inputs)}")
    staged = inputs[name]
    try:
        if len(staged.files) != 1:
            raise ValueError(f"'{name}' has {len(staged.files)} files, a stage gives one")
        file = lake.staged(staged.files[0])
    except ValueError as error:
        raise StageFailed(ErrorType.TASK_INVALID, str(error)) from error
    if not file.exists() or digest_of(file) != staged.digest:
        state = "has other bytes than" if file.exists() else "is gone; it was"
        raise StageFailed(ErrorType.STAGED_INPUT_CHANGED, f"{staged.files[0]} {state} {staged.digest}; run the stage that made it again")
    return file


def open_control(lake: Lake, inputs: Mapping[str, StagedOutput], dataset: str) -> dict[str, str]:
    """The control totals that were staged with a dataset."""
    loaded = json.loads(open_input(lake, inputs, dataset + CONTROL).read_text("utf-8"))
    return {str(key): str(value) for key, value in loaded.items()}


def digest_of(file: Path) -> str:
    """`sha256:<hex>` of a file's bytes."""
    with file.open("rb") as opened:
        return "sha256:" + hashlib.file_digest(opened, "sha256").hexdigest()


def durable(file: Path) -> None:
    """The file and its name survive a power cut."""
    for path, flags in ((file, os.O_RDONLY), (file.parent, os.O_RDONLY)):
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
