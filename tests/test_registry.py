import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from structpred import registry
from structpred.errors import ConfigError
from structpred.objectives import MaximumLikelihood
from structpred.registry import FAMILIES, Registry, nearest

GROUP = "structpred.errors"  # any module that registers nothing serves as a home


class First:
    pass


class Second:
    pass


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with entry points on the path: a dist-info folder and its modules."""

    def add(entries: str, group: str = GROUP, **modules: str) -> None:
        folder = tmp_path / "fake-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{group}]\n{entries}\n")
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))

    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield add
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_names_find_classes_and_classes_names() -> None:
    family = Registry("thing", GROUP)
    assert family.register("b")(Second) is Second
    family.register("a")(First)
    assert family["a"] is First
    assert list(family) == ["a", "b"]
    assert "a" in family
    assert "c" not in family
    assert (family.name_of(First), family.name_of(int)) == ("a", None)


def test_a_duplicate_is_refused_with_both_places() -> None:
    family = Registry("thing", GROUP)
    family.register("a")(First)
    family.register("a")(First)  # the same class again, as on reloading its module
    with pytest.raises(ConfigError) as error:
        family.register("a")(Second)
    assert str(error.value) == (
        f"the thing name 'a' is registered twice, by {__name__}:First and by {__name__}:Second; "
        "give one of them another name"
    )
    assert family["a"] is First


@pytest.mark.parametrize(
    ("word", "expected"), [("frist", "did you mean 'first'?"), ("zzz", "known names are first, second")]
)
def test_an_unknown_name_is_refused_with_the_nearest(word: str, expected: str) -> None:
    family = Registry("thing", GROUP)
    family.register("first")(First)
    family.register("second")(Second)
    with pytest.raises(ConfigError) as error:
        family[word]
    assert str(error.value) == f"there is no thing named {word!r}; {expected}"
    assert nearest("x", []) == "known names are (none)"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ml", "'maximum-likelihood'"),
        ("RML", "'rml'"),
        ("MaximumLikelihood", "'maximum-likelihood'"),
        ("max", "'max-margin' or 'maximum-likelihood'"),
        ("rlm", "'rml'"),
    ],
)
def test_abbreviations_and_other_spellings_of_a_name_come_before_typos(word: str, expected: str) -> None:
    names = ["max-margin", "maximum-likelihood", "minimum-risk", "rml"]
    assert nearest(word, names) == f"did you mean {expected}?"


def test_entry_points_of_other_packages_are_members(install: Install) -> None:
    install("far = far_away:Far", far_away="class Far: ...")
    family = Registry("thing", GROUP)
    assert "far_away" not in sys.modules
    assert family["far"].__module__ == "far_away"
    assert list(family) == ["far"]


def test_a_class_named_by_its_entry_point_alone_has_that_name(install: Install) -> None:
    install("far = far_named:Far", far_named="class Far: ...")
    family = Registry("thing", GROUP)
    import far_named  # type: ignore[import-not-found]  # written by the fixture

    assert family.name_of(far_named.Far) == "far"


def test_an_entry_point_may_name_what_a_decorator_named(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    family = Registry("thing", GROUP)
    monkeypatch.setattr(registry, "tasks", family)
    source = """
        from structpred.registry import tasks
        @tasks.register("far")
        class Far: ...
    """
    install("far = far_twice:Far", far_twice=source)
    assert list(family) == ["far"]


def test_an_entry_point_cannot_take_a_name(install: Install) -> None:
    install("a = far_rival:Rival", far_rival="class Rival: ...")
    family = Registry("thing", GROUP)
    family.register("a")(First)
    for _ in range(2):  # the second look-up must not pass because the first one failed
        with pytest.raises(ConfigError, match=f"registered twice, by {__name__}:First and by far_rival:Rival"):
            family["a"]


@pytest.mark.parametrize("source", ["raise RuntimeError('no luck')", "import no_such_module_at_all", "Other = 1"])
def test_a_broken_entry_point_warns_and_leaves_the_others(install: Install, source: str) -> None:
    install("bad = far_bad:Far\ngood = far_good:Far", far_bad=source, far_good="class Far: ...")
    family = Registry("thing", GROUP)
    family.register("own")(First)
    with pytest.warns(UserWarning, match="^the thing 'bad' offered by far_bad:Far cannot be imported: .+") as seen:
        assert list(family) == ["good", "own"]
    assert len(seen) == 1
    assert seen[0].filename == registry.__file__ or seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "good" in family, "it warns once, not at every look-up"


def test_a_home_that_fails_to_import_fails_every_time(install: Install) -> None:
    install("far = far_fine:Far", far_fine="class Far: ...", far_home="raise RuntimeError('broken home')")
    family = Registry("thing", GROUP, "far_home")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken home"):
            family["far"]


def test_families_differ_in_entry_points_and_words() -> None:
    assert len({family.group for family in FAMILIES}) == len(FAMILIES)
    assert len({family.family for family in FAMILIES}) == len(FAMILIES)
    assert all(family.group == f"structpred.{family.family.replace(' ', '_')}s" for family in FAMILIES)


def test_an_objective_of_another_package_is_no_estimator(install: Install) -> None:
    install("far = far_objective:Far", group="structpred.objectives", far_objective="class Far: ...")
    ours, theirs = registry.objectives, registry.estimators
    objectives, estimators = (Registry(each.family, each.group, GROUP) for each in (ours, theirs))
    assert "far" in objectives
    assert "far" not in estimators


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a,b", "a=b", "[a]", "a\n", None, 3, int])
def test_a_name_that_no_command_could_give_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^the name of a thing must be one word .*, but got .*; write @…"):
        Registry("thing", GROUP).register(name)


def test_only_a_class_of_the_family_can_be_registered() -> None:
    with pytest.raises(
        ConfigError, match=r"^the reward 'mine' must be a class .*Likelihood, which is an objective; reg"
    ):
        registry.rewards.register("mine")(MaximumLikelihood)
    with pytest.raises(ConfigError, match=r"^the reward 'mine' must be a class derived .* but got <function"):
        registry.rewards.register("mine")(lambda: None)  # type: ignore[type-var]  # the mistake
    assert "mine" not in registry.rewards
