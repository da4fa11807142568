"""Methods that were renamed: runs of an earlier name count as the method's."""

from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from sb3_nbsp.benchmark.file_names import MANIFEST
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.suite import Suite, shipped_suites


def aliases_of(suite: Mapping[str, Any]) -> dict[str, str]:
    """
    :param suite: content of a ``suite.json``
    :return: names of methods by the names that they had before; where the file is older than aliases, those of the package's
        suite of the same name
    """
    if "aliases" in suite:
        return dict(suite["aliases"])
    name = f"{suite.get('name')}.yml"
    return dict(Suite.read(name).aliases) if name in shipped_suites() else {}


def suite_with_names_of_now(suite: Mapping[str, Any]) -> dict[str, Any]:
    """
    :param suite: content of a ``suite.json``
    :return: the same with the methods' names of now
    """
    now = aliases_of(suite)
    return {
        **suite,
        "methods": [now.get(name, name) for name in suite["methods"]],
        "baselines": [now.get(name, name) for name in suite["baselines"]],
        "cells": [{**cell, "method": now.get(cell["method"], cell["method"])} for cell in suite["cells"]],
        "aliases": now,
    }


def suite_folder(folder: str, suites: Container[str]) -> str:
    """
    :param folder: of a run
    :param suites: folders with a ``suite.json``
    :return: the innermost one around the run; empty where there is none
    """
    return next((str(parent) for parent in PurePosixPath(folder).parents if str(parent) in suites), "")


def suite_around(folder: str, suites: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """
    :param folder: of a run
    :param suites: content of each ``suite.json`` by its folder
    :return: the innermost one around the run; empty where there is none
    """
    return suites.get(suite_folder(folder, suites), {})


def record_with_names_of_now(record: Record, suites: Mapping[str, dict[str, Any]]) -> Record:
    """
    :param record: a run
    :param suites: content of each ``suite.json`` by its folder; the innermost one around the run tells its aliases
    :return: the same with the names of now in its manifest
    """
    now = suite_around(record.folder, suites).get("aliases", {})
    manifest = record.manifest
    names = {key: now[manifest[key]] for key in ("method", "family") if manifest.get(key) in now}
    return replace(record, files={**record.files, MANIFEST: {**manifest, **names}}) if names else record
