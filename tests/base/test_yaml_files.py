"""YAML in which a name stands twice."""

import pytest

from sb3_nbsp.base.yaml_files import load_yaml

yaml = pytest.importorskip("yaml")


@pytest.mark.parametrize(
    ("text", "name", "first"),
    [
        ("a: 1\nb: 2\na: 3", "a", 1),
        ("methods:\n  A: {x: 1}\n  B: {x: 1}\n  A: {x: 2}", "A", 2),
        ("- {seed: 1,\n   seed: 2}", "seed", 1),
        ("a: &anchor {x: 1, 'x': 2}\nb: {<<: *anchor}", "x", 1),
    ],
)
def test_a_name_that_stands_twice_is_refused(text, name, first):
    with pytest.raises(yaml.YAMLError, match=f"got '{name}' again, which stands in line {first} already"):
        load_yaml(text)


def test_all_else_is_read_as_ever():
    text = "a: &one {x: 1, y: [1.5, null]}\nb: &two {<<: *one, x: 2}\nc: {<<: *one, <<: *two, z: text}\n1: a\n'1': b"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml(text)["c"]["z"] == "text" and load_yaml("") is None


def test_nothing_but_plain_values_is_made():
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: !!python/object/apply:os.getcwd []")
