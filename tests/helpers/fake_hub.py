"""
Commands of sb3-nbsp, one after another, with a folder standing for the Hugging Face Hub.

    python tests/helpers/fake_hub.py FOLDER push --algo nbspsac ... then pull --algo nbspsac ...

The exit status is that of all commands, 99 where they differ. Only what would open a connection is exchanged: HfApi's two
calls and huggingface_hub's download of one file.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import huggingface_hub
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.utils import validate_repo_id

from sb3_nbsp import cli

HUB = Path(sys.argv[1])


def create_repo(self: Any, repo_id: str, *, private: bool | None, exist_ok: bool) -> huggingface_hub.RepoUrl:
    validate_repo_id(repo_id)
    (HUB / repo_id).mkdir(parents=True, exist_ok=exist_ok)
    return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")


def upload_folder(self: Any, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
    huggingface_hub.ModelCard.load(folder_path / "README.md").data.to_dict()  # the Hub refuses broken metadata
    shutil.copytree(folder_path, HUB / repo_id, dirs_exist_ok=True)
    (HUB / "commits.json").write_text(json.dumps([repo_id, commit_message]))


def hf_hub_download(repo_id: str, filename: str, **kwargs: Any) -> str:
    file = HUB / repo_id / filename
    if not file.is_file():
        raise RemoteEntryNotFoundError(f"404: {filename}", response=Mock(headers={}))
    return str(file)


def run(arguments: list[str]) -> int:
    sys.argv = ["sb3-nbsp", *arguments]
    try:
        return cli.main()
    except SystemExit as stop:
        return stop.code


def main(arguments: list[str]) -> int:
    statuses, command = [], []
    for argument in [*arguments, "then"]:
        if argument != "then":
            command.append(argument)
            continue
        statuses.append(run(command))
        command = []
    return statuses[0] if len(set(statuses)) == 1 else 99


huggingface_hub.HfApi.create_repo = create_repo
huggingface_hub.HfApi.upload_folder = upload_folder
huggingface_hub.hf_hub_download = hf_hub_download

if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
