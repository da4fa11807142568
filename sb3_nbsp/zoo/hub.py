"""
``sb3-nbsp push`` and ``sb3-nbsp pull``: the agent of a run to the Hugging Face Hub, with its skill neurons, and back.

Names, files and download are those of rl-zoo3 on huggingface_sb3 (the package sb3-team-hf-integration). rl-zoo3's own upload
cannot be imported beside the integration of today (3.2), and its card knows neither tasks nor neurons: that part is here.
"""

import argparse
import json
import math
import shlex
import shutil
import tempfile
import zipfile
from itertools import combinations
from pathlib import Path

import rl_zoo3.load_from_hub
import yaml
from huggingface_hub import EvalResult, HfApi, ModelCardData
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_sb3 import EnvironmentName, ModelName, ModelRepoId
from rl_zoo3.utils import get_model_path

from sb3_nbsp.base.markdown import escaped
from sb3_nbsp.common.file_checks import naming_damage
from sb3_nbsp.common.save_util import check_origin
from sb3_nbsp.evaluation import SequenceResults, results_table
from sb3_nbsp.evaluation.skill_file import SKILL_NEURONS, write_skill_neurons
from sb3_nbsp.evaluation.table import markdown_table
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.zoo import commands
from sb3_nbsp.zoo.command_parser import CommandParser
from sb3_nbsp.zoo.find_agents import NO_RUN
from sb3_nbsp.zoo.opened_runs import env_kwargs_of

USE = """\
# {name} on {env}

An agent of [Stable-Baselines3](https://github.com/DLR-RM/stable-baselines3), trained with sb3_nbsp. A model's file can run
code when it is loaded: `TRUST_REMOTE_CODE` says that you trust this one.

```bash
pip install "sb3-nbsp[zoo]"
export TRUST_REMOTE_CODE=True
sb3-nbsp pull --algo {algo} --env {env} -orga {organization} -name {repository} -f logs
sb3-nbsp enjoy --algo {algo} --env {env} -f logs --no-render
```
"""
FOUND = """\
## Skill neurons

The neurons that NBSP found to carry each task's skill, and held. Silent ones put out 0 on every scored step. All scores, and
which neurons were chosen, are in `skill_neurons.json`.
"""


def push(arguments: list[str]) -> None:
    """
    Upload the last model of a run of ``sb3-nbsp train``: one commit to a repository that is made if it is missing.

    :param arguments: command line arguments
    :raises SystemExit: with status 2 if there is no such run, 1 if the Hub cannot be reached or does not take it
    """
    parser = _parser("push", "Upload a run's last model, its settings, results and skill neurons to the Hugging Face Hub.")
    parser.add_argument("-m", "--commit-message", default="Upload by sb3-nbsp push", help="message of the commit")
    parser.add_argument("--private", action="store_true", help="make a new repository a private one")
    parser.add_argument("-o", "--output", type=Path, help="write the files into this new folder and upload nothing")
    args = parser.parse_args(arguments)
    if args.output is not None and args.output.exists():
        parser.error(f"-o: expected a folder that does not exist yet, got {args.output}")
    repo_id = ModelRepoId(args.organization, args.repo_name or ModelName(args.algo, args.env))
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.output or Path(temporary)
        try:
            _, model, run = get_model_path(args.exp_id, args.folder, args.algo, args.env)
            package(args.algo, args.env, Path(model), Path(run), repo_id, folder)
        except (AssertionError, ValueError, OSError) as error:
            parser.exit(2, f"sb3-nbsp push: {error}. {NO_RUN}\n")
        if args.output is not None:
            print(f"Nothing was uploaded. Written to {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
            return
        try:
            url = _upload(folder, repo_id, args.commit_message, args.private)
        except Exception as error:  # of any library between here and the Hub
            advice = "It takes a network and `hf auth login`, or a token in HF_TOKEN, with the right to write there."
            parser.exit(1, f"sb3-nbsp push: {repo_id} was not uploaded ({type(error).__name__}: {error}). {advice}\n")
    print(f"Uploaded: {url}")


def pull(arguments: list[str]) -> None:
    """
    Download a model into the folders where ``sb3-nbsp enjoy`` and ``sb3-nbsp probe`` look for it: rl-zoo3's load_from_hub.

    :param arguments: command line arguments
    :raises SystemExit: with status 1 if it is not to be had, not trusted, or the run's folder exists already
    """
    parser = _parser("pull", "Download a model from the Hugging Face Hub into the folder of a run, for `sb3-nbsp enjoy`.")
    parser.add_argument("--force", action="store_true", help="replace the run's folder if it exists")
    args = parser.parse_args(arguments)
    # Of a model without VecNormalize rl-zoo3 expects an error of requests, which huggingface_hub no longer uses.
    rl_zoo3.load_from_hub.HTTPError = RemoteEntryNotFoundError  # type: ignore[misc, assignment]
    asked = (args.algo, args.env, args.exp_id, args.folder, args.organization, args.repo_name, args.force)
    try:
        rl_zoo3.load_from_hub.download_from_hub(*asked)
    except (OSError, ValueError) as error:
        parser.exit(1, f"sb3-nbsp pull: {error}\n")
    which = shlex.join(["--algo", args.algo, "--env", args.env.gym_id, "-f", args.folder])
    print(f"To watch it: sb3-nbsp enjoy {which} --no-render")


def package(algo: str, env: EnvironmentName, model: Path, run: Path, repo_id: str, folder: Path) -> None:
    """
    Write what is uploaded: the files that rl-zoo3's load_from_hub expects, a model card, pictures and ``skill_neurons.json``,
    which holds :meth:`~sb3_nbsp.neurons.skill_neurons.SkillNeurons.to_dict` of every task.

    :param algo: key of the algorithm
    :param env: the env's name
    :param model: the model's zip file
    :param run: folder of the run
    :param repo_id: organization/name
    :param folder: made if missing
    """
    if algo in commands.ALGORITHMS:
        check_origin(commands.ALGORITHMS[algo], model)
    folder.mkdir(parents=True, exist_ok=True)
    settings = run / env
    shutil.copy(model, folder / ModelName(algo, env).filename)
    for name in ("args.yml", "config.yml"):
        shutil.copy(settings / name, folder)
    (folder / "env_kwargs.yml").write_text(yaml.dump(env_kwargs_of(settings)))
    for file, name in ((settings / "vecnormalize.pkl", "vec_normalize.pkl"), (run / "sequence.png", "sequence.png")):
        if file.is_file():
            shutil.copy(file, folder / name)
    with naming_damage(model, "a model's file"), zipfile.ZipFile(model) as archive:
        data = json.loads(archive.read("data"))
    records = data.get("skill_neuron_records", {})
    if records:
        write_skill_neurons(records, folder)
    with zipfile.ZipFile(folder / "train_eval_metrics.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        metrics = (file for pattern in ("results.json", "evaluations.npz", "*.csv") for file in run.glob(pattern))
        for file in [*metrics, *folder.glob(SKILL_NEURONS)]:
            archive.write(file, file.name)
    skills = {task: SkillNeurons.from_dict(record) for task, record in records.items()}
    report = skill_report(skills, data["skill_fraction"]) if skills else ""
    (folder / "README.md").write_text(_card(algo, env.gym_id, repo_id, run) + report)


def skill_report(skills: dict[str, SkillNeurons], fraction: float) -> str:
    """
    :param skills: skill neurons by task
    :param fraction: share of a network's neurons that are chosen, 0 to 1
    :return: a section in Markdown: how they were found, counts by task and network, overlaps of the tasks
    """
    rows, parts = [], [FOUND]
    for task, skill in skills.items():
        parts.append(f"- {escaped(skill.table().splitlines()[0])}")
        rows += [[escaped(task), network, *map(str, counts.values())] for network, counts in skill.counts().items()]
    parts += ["", markdown_table(["task", "network", "neurons", "chosen", "silent", "silent among the chosen"], rows)]
    overlaps = [[f"{escaped(a)} and {escaped(b)}", f"{skills[a].overlap(skills[b]):.2f}"] for a, b in combinations(skills, 2)]
    if overlaps:
        chance = f"Jaccard overlap of the chosen sets, 0 to 1; two random sets have {fraction / (2 - fraction):.2f}.\n"
        parts += [chance, markdown_table(["skill neurons of", "overlap"], overlaps)]
    return "\n".join(parts)


def _card(algo: str, env_id: str, repo_id: str, run: Path) -> str:
    """Metadata that the Hub reads, how to use the model, what it can do."""
    name = rl_zoo3.ALGOS[algo].__name__
    organization, _, repository = repo_id.partition("/")
    text = USE.format(name=name, algo=algo, env=env_id, organization=organization, repository=repository)
    scores = None
    if (run / "results.json").is_file():
        results = SequenceResults.read(run)
        title = results.measure.title
        text += f"\n## {title.capitalize()}\n\n{results_table([(f'{name}, seed {results.seed}', [results])])}"
        # Where the Hub compares models, the mean over tasks stands for this one.
        mean, label = float(results.values()[-1].mean()), f"mean {title} over tasks at the end"
        if math.isfinite(mean):  # a run that was stopped may have played some tasks only
            scores = [EvalResult("reinforcement-learning", env_id, env_id, "mean_performance", mean, metric_name=label)]
    if (run / "sequence.png").is_file():
        text += "\n![On each task, while the sequence was learned](sequence.png)\n"
    tags = [env_id, "deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3", "sb3-nbsp"]
    metadata = ModelCardData(library_name="stable-baselines3", tags=tags, model_name=name, eval_results=scores)
    return f"---\n{metadata.to_yaml()}\n---\n\n{text}\n"


def _upload(folder: Path, repo_id: str, message: str, private: bool) -> str:
    """What huggingface_sb3's package_to_hub does at its end. The network begins here."""
    api = HfApi()
    url = api.create_repo(repo_id, private=private or None, exist_ok=True)
    api.upload_folder(repo_id=url.repo_id, folder_path=folder, commit_message=message)
    return str(url)


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    """The arguments that rl-zoo3 gives to its upload and to its download."""
    commands.register()
    parser = CommandParser(f"sb3-nbsp {command}", description=description)
    parser.add_argument("--algo", required=True, choices=sorted(rl_zoo3.ALGOS), metavar="ALGO", help="e.g. nbspsac")
    parser.add_argument("--env", required=True, type=EnvironmentName, help="e.g. sb3_nbsp/PointGoal-v0")
    parser.add_argument("-orga", "--organization", required=True, help="user or organization on the Hub")
    parser.add_argument("-name", "--repo-name", help="name of the repository (default: ALGO-ENV)")
    parser.add_argument("-f", "--folder", default="logs", help="where the runs are (default: logs)")
    parser.add_argument("--exp-id", type=int, default=0, help="number of the run (default: the latest; pull: a new one)")
    return parser
