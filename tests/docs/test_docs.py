"""What README, documentation and examples show runs, with small budgets; links lead somewhere; public names have a page."""

import importlib
import lzma
import pkgutil
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium import spaces
from helpers import task_env
from helpers.cases import every_case

import sb3_nbsp
from sb3_nbsp import cli
from sb3_nbsp.neurons.scores import SCORES
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).parts[0] in ("guide", "algorithms", "api")]
TEXTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
# What an example says -> what it runs with here.
SMALL_BUDGETS = {
    r"learn\([\d_]+": "learn(240",
    r"(steps_per_task\"?(?:=|: ))[\d_]+": r"\g<1>120",
    r"(gym\.make\(\"sb3_nbsp/PointGoal\w*-v0\")(?!, tasks)": r"\1, steps_per_task=120",
    r"scoring_steps=[\d_]+|\"scoring_steps\": [\d_]+": lambda found: re.sub(r"[\d_]+$", "60", found[0]),
    r"n_eval_episodes=\d+": "n_eval_episodes=1",
    r"eval_freq=[\d_]+": "eval_freq=0",
}

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)"),
    pytest.mark.filterwarnings("ignore:A task has .* env steps"),
]


def blocks(page: Path, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def with_small_budgets(code: str) -> str:
    for pattern, small in SMALL_BUDGETS.items():
        code = re.sub(pattern, small, code)
    return code


README = blocks(ROOT / "README.md")


def test_what_is_published_names_no_folder_of_the_machine_it_was_made_on():
    machine_path = runpy.run_path(str(ROOT / "examples" / "make_notebooks.py"))["MACHINE_PATH"]
    published = [path for path in DOCS.rglob("*") if path.suffix in (".json", ".csv", ".md", ".txt", ".yml", ".xz")]
    published = [path for path in published if path.relative_to(DOCS).parts[0] != "_build"]
    texts = {
        path: lzma.decompress(path.read_bytes()).decode() if path.suffix == ".xz" else path.read_text() for path in published
    }
    assert sum(text.count('"manifest.json"') for text in texts.values()) > 500
    assert [path for path, text in texts.items() if machine_path.search(text)] == []


def test_the_ten_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(README[0].replace("8_000", "300"), names)
    assert (tmp_path / "point.zip").is_file() and names["model"].num_timesteps == 300


def test_tasks_of_your_own():
    names = {"env_a": task_env("east"), "env_b": task_env("west")}
    exec("from sb3_nbsp import NBSPSAC\n" + README[1].replace("100_000", "120"), names)
    assert names["model"].learned_tasks == ["A"] and names["model"].num_timesteps == 240
    assert names["model"].skill_neurons["A"].has_chosen


EXAMPLES = [(page, number) for page in PAGES for number in range(len(blocks(page)))]


@pytest.mark.parametrize(("page", "number"), EXAMPLES, ids=[f"{page.stem}-{number}" for page, number in EXAMPLES])
def test_an_example_runs(page, number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if page.stem == "contributing":
        monkeypatch.setitem(SCORES, "variance", None)  # afterwards it is unknown again
    names: dict = {"__name__": "example"}
    exec(with_small_budgets(blocks(page)[number]), names)
    if page.parent.name == "algorithms":
        assert names["model"].learned_tasks == ["east", "west"]
        assert next(tmp_path.glob("*_point.zip")).is_file()


class Noise(gym.Env):
    """Shows and rewards noise."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), float(self.np_random.random()), False, self.steps >= 10, {}


SPACES = {
    "Discrete": spaces.Discrete(4),
    "Box": spaces.Box(-1.0, 1.0, (3,)),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
    "MultiBinary": spaces.MultiBinary(3),
    "Dict": spaces.Dict({"one": spaces.Discrete(3), "two": spaces.Box(-1.0, 1.0, (2,))}),
}


@every_case
def test_the_table_of_spaces(case):
    """A tick: two tasks are learned. A cross: refused."""
    page = (DOCS / "algorithms" / f"{case.cls.__name__.lower()}.md").read_text()
    rows = {space: (action, observation) for space, action, observation in re.findall(r"\| (\w+) \| (✔|✖) \| (✔|✖) \|", page)}
    assert set(rows) == set(SPACES)
    some_action = "Box" if rows["Box"][0] == "✔" else "Discrete"

    def learns(observation_space: str, action_space: str) -> bool:
        make = partial(Noise, SPACES[observation_space], SPACES[action_space])
        sequence = TaskSequence(tuple(Task(task, lambda render_mode: make()) for task in "ab"), 32)
        policy = "MultiInputPolicy" if observation_space == "Dict" else "MlpPolicy"
        try:
            model = case.made(TaskSequenceEnv(sequence), policy, net_arch=(8,), scoring_steps=20)
        except (AssertionError, NotImplementedError):  # SB3's way to refuse a space
            return False
        return model.learn(64).learned_tasks == ["a", "b"]

    for space, (action, observation) in rows.items():
        assert learns(space, some_action) == (observation == "✔")
        assert learns("Box", space) == (action == "✔")


def test_there_are_examples():
    assert {page.stem for page, _ in EXAMPLES} >= {"quickstart", "concepts", "tasks", "commands", "reliability", "nbspsac"}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    commands = {name for block in blocks(page, "bash") for name in re.findall(r"^sb3-nbsp ([\w-]+)", block, re.MULTILINE)}
    assert all(f"\n  {command} " in cli.USAGE for command in commands)
    targets = {name for block in blocks(page, "bash") for name in re.findall(r"^make ([\w-]+)", block, flags=re.MULTILINE)}
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_toctrees_name_every_page():
    named = set()
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.splitlines():
                if line and not line.startswith(":"):
                    *above, name = re.sub(r".*<(.*)>", r"\1", line).split("../")  # pathlib's glob knows no ".."
                    named |= set(page.parent.joinpath(*[".."] * len(above)).resolve().glob(f"{name}.md"))
    assert named == set(DOCS.rglob("*.md")) - {DOCS / "index.md"}


def documented_names() -> set[str]:
    """Full names that the pages' directives show."""
    names: set[str] = set()
    for page in PAGES:
        directives = re.finditer(r"^\.\. (?:auto|py:)(\w+):: (\S+)\n((?:   .*\n)*)", page.read_text(), flags=re.MULTILINE)
        for kind, target, options in (found.groups() for found in directives):
            members = re.search(r":members:(.*)", options) if kind == "module" else None
            if members is not None:
                chosen = members[1].replace(",", " ").split() or importlib.import_module(target).__all__
                names |= {f"{target}.{name}" for name in chosen}
            else:
                names.add(target)
    return names


def public_names() -> set[str]:
    packages = [sb3_nbsp]
    for found in pkgutil.iter_modules(sb3_nbsp.__path__, "sb3_nbsp."):
        if found.ispkg:
            packages.append(importlib.import_module(found.name))
    return {f"{package.__name__}.{name}" for package in packages for name in getattr(package, "__all__", [])}


def found_on_pages(name: str, pages: set[str]) -> bool:
    # sb3_nbsp.sac.NBSPSAC is shown as sb3_nbsp.NBSPSAC.
    package, _, short = name.rpartition(".")
    return name in pages or (f"sb3_nbsp.{short}" in pages and short in sb3_nbsp.__all__ and package != "sb3_nbsp")


def test_every_public_name_has_a_page():
    pages = documented_names()
    missing = {name for name in public_names() if not found_on_pages(name, pages)}
    assert not missing


@pytest.mark.expensive
def test_the_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("myst_nb", reason='needs pip install -e ".[docs]"')
    pytest.importorskip("furo")
    from sphinx.util.inventory import InventoryFile

    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    shown = {
        name for kind, entries in getattr(inventory, "data", inventory).items() if kind.startswith("py:") for name in entries
    }
    missing = {name for name in public_names() if not found_on_pages(name, shown)}
    assert not missing
