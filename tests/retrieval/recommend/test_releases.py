"""A trained recommender is published, kept, rolled back and refused with its release."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from functools import partialmethod

import pytest

from isthmus import Experiment, Space, User
from isthmus.errors import CorruptRelease, InvalidInput, ReleaseRejected, SpaceNotFound
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.generators import CandidateGenerators, default_generators
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.user_knn import UserKNN
from isthmus.retrieval.recommend.store import (
    Description,
    load_recommender,
    parts_folder,
    parts_name,
    write_checksums,
)
from tests.retrieval.recommend.worlds import QUICK, checkerboard, name
from tests.toy import item, text_encoder

USERS = [
    User(),
    User(id="u3"),
    User(history=[name("films", 1, 0), name("books", 2, 1)]),
    User(text="filmsword5"),
]


def lists(space, users=USERS, **options):
    return [
        [(hit.item_id, hit.score) for hit in space.recommend(user, domain=domain, k=12, **options)]
        for user in users
        for domain in ("films", "books", None)
    ]


def description(space):
    return space.path / "training" / "recommender" / "recommender.json"


def tamper(space, **changes):
    """Write another description of what was trained last."""
    path = description(space)
    parts = parts_folder(path.parent)
    content = json.dumps({**json.loads(path.read_text()), **changes}).encode()
    parts = parts.rename(path.parent / parts_name(content))
    with suppress(ValueError):  # some changes are no description
        write_checksums(parts, Description.model_validate_json(content), content)
    path.write_bytes(content)


def losing(space):
    """Make the report of what was trained last say that the ranker of books loses."""
    reports = json.loads(description(space).read_text())["reports"]
    situation = reports["books"]["situations"]["cross-domain"]
    situation |= {"low": -0.3, "high": -0.1, "ranker": 0.2, "best": "popularity"}
    situation |= {"fallback": False}
    situation["generators"]["popularity"] = 0.4
    tamper(space, reports=reports, created="later")


def rankers(space):
    """Turn the rankers of what was trained last, so that it answers otherwise."""
    from safetensors.numpy import load_file, save_file

    folder = parts_folder(description(space).parent)
    for path in folder.glob("ranker-*.safetensors"):
        state = load_file(path)
        for key in state:
            if key.endswith(("/weights", "/last", "/linear")) and key.count("/") == 1:
                state[key] = -state[key]
        save_file(state, path)


def test_a_reopened_space_answers_exactly_the_same(board, copied):
    assert lists(copied()) == lists(board)


def test_it_is_kept_over_releases_without_a_training(board, copied):
    space = copied()
    before = lists(space)
    shutil.rmtree(space.path / "training")
    space.upsert([item("new", "filmsword0 brandnew", "films")])
    space.delete("new")
    assert space.publish().attached == board.releases()[0].attached
    assert space.current_release == 2
    assert lists(space) == before
    assert lists(copied()) == before


def test_rankers_are_rolled_back_with_the_release(copied):
    space = copied()
    first = lists(space)
    rankers(space)
    tamper(space, created="later")
    space.publish()
    second = lists(space)
    assert second != first
    assert lists(copied()) == second
    assert space.rollback() == 1
    assert lists(space) == first
    space.upsert([item("new", "somethingelse", "films")])
    space.delete("new")
    space.publish()
    assert lists(space) == first  # what was rolled back from does not come back by itself
    assert space.rollback(2) == 2
    assert lists(space) == second
    space.publish()
    assert lists(space) == second


def test_an_arm_of_an_experiment_is_ranked_by_its_release(copied):
    space, user = copied(), [User(id="u3")]
    first = lists(space, user)
    rankers(space)
    tamper(space, created="later")
    space.publish()
    second = lists(space, user)
    assert second != first
    for number, expected in ((1, first), (2, second)):
        test = Experiment(name="t", arms={key: {"release": number} for key in "ab"})
        assert lists(space, user, experiment=test) == expected
    assert lists(space, user) == second


def test_rules_of_a_ranker_and_what_it_explains(copied):
    space, user = copied(), User(id="u3")
    plain = [hit.item_id for hit in space.recommend(user, domain="films", k=8)]
    rules = {"pin": [plain[5]], "boost": {f"item_id = '{plain[6]}'": "+6"}, "ban": [plain[1]]}
    hits = space.recommend(user, domain="films", k=5, explain=True, **rules)
    assert [hit.item_id for hit in hits] == [plain[at] for at in (5, 6, 0, 2, 3)]
    assert [hit.rule for hit in hits] == ["pinned", "boosted", None, None, None]
    assert [hit.explanation is None for hit in hits] == [True] + [False] * 4


def test_a_newer_training_can_be_left_out(copied):
    space = copied()
    first = lists(space)
    rankers(space)
    tamper(space, created="later")
    space.publish(keep_recommender=True)
    assert lists(space) == first
    space.publish()
    assert lists(space) != first


def test_a_rebuilt_release_has_the_last_training(copied):
    space = copied()
    first = lists(space)
    space.publish(rebuild=True)
    assert lists(space) == first


def test_a_ranker_that_loses_is_refused(copied):
    space = copied()
    before = lists(space)
    losing(space)
    with pytest.raises(ReleaseRejected) as refused:
        space.publish()
    assert str(refused.value) == (
        "release 2 is kept but not current: the ranker of books loses to popularity alone "
        "in the situation 'known in other domains only' (NDCG@10 0.2000 against 0.4000, "
        f"{users_of(space)} simulated users). "
        f"Train anew with: isthmus train --space {space.path}, or keep what was published with: "
        f"isthmus publish --keep-recommender --space {space.path}"
    )
    assert space.current_release == 1
    assert lists(space) == before
    with pytest.raises(ReleaseRejected, match="the ranker of books loses to popularity alone"):
        space.rollback(2)
    with pytest.raises(ReleaseRejected):
        space.publish()
    assert space.publish(keep_recommender=True).accepted
    assert lists(space) == before


def users_of(space):
    reports = json.loads(description(space).read_text())["reports"]
    return reports["books"]["situations"]["cross-domain"]["users"]


FILES = ["recommender.json", "items.arrow", "generators.safetensors", "item_statistics.safetensors",
         "ranker-0.safetensors"]  # fmt: skip


@pytest.mark.parametrize("how", ["absent", "empty", "half"])
@pytest.mark.parametrize("file", FILES)
def test_damaged_files_are_refused_with_the_remedy(board, tmp_path, file, how):
    folder = tmp_path / "recommender"
    shutil.copytree(board.path / "training" / "recommender", folder)
    damage(part(folder, file), how)
    with pytest.raises(CorruptRelease, match="train again with: isthmus train"):
        load_recommender(folder)


def part(folder, file):
    """Return a file of a trained recommender; they lie below its description."""
    (path,) = folder.rglob(file)
    return path


def damage(path, how):
    whole = path.read_bytes()
    path.unlink()
    if how != "absent":
        path.write_bytes(b"" if how == "empty" else whole[: len(whole) // 2])


@pytest.mark.parametrize("change", [
    {"format": 99},
    {"settings": {}},
    {"generators": "none"},
    {"domains": ["films"]},
    {"rankers": {"books": {"generators": []}}},
    {"unknown": 1},
])  # fmt: skip
def test_descriptions_that_do_not_fit_are_refused(copied, change):
    space = copied()
    tamper(space, **change)
    with pytest.raises(CorruptRelease, match="train again with: isthmus train") as refused:
        load_recommender(description(space).parent)
    assert str(refused.value).count("isthmus train") == 1


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (lambda names: [*names, "magic"], "there is no 'magic'"),
        (lambda names: names[1:], "no feature 'popularity: relative score'"),
    ],
)
def test_a_ranker_of_other_generators_is_refused(copied, of, said):
    space = copied()
    rankers = json.loads(description(space).read_text())["rankers"]
    rankers["books"]["generators"] = of(sorted(rankers["books"]["generators"], key=last))
    tamper(space, rankers=rankers)
    with pytest.raises(CorruptRelease, match=said) as refused:
        load_recommender(description(space).parent)
    assert str(refused.value).endswith(f"train again with: isthmus train --space {space.path}")


def last(name):
    return name != "popularity"


@pytest.mark.parametrize("file", FILES[1:])
def test_a_damaged_training_is_not_published(copied, file):
    space = copied()
    before = lists(space)
    tamper(space, created="later")
    damage(part(description(space).parent, file), "half")
    with pytest.raises(CorruptRelease, match="train again with: isthmus train"):
        space.publish()
    assert space.current_release == 1
    assert lists(space) == before


def test_a_release_whose_recommender_is_damaged_says_so(copied):
    space = copied()
    damage(space.path / "releases" / "000001" / "recommender" / "generators.safetensors", "half")
    with pytest.raises(CorruptRelease, match="train again with: isthmus train --space"):
        copied().recommend(User())
    space.upsert([item("another", "word", "films")])
    space.publish(rebuild=True)
    assert space.recommend(User(id="u3"), domain="books", k=1)


def test_rankers_are_fine_tuned_in_another_space(board, tmp_path):
    other = checkerboard(tmp_path / "other.space", users=40)
    other.train("books", start_from=board.path, settings=QUICK)
    other.publish()
    hits = other.recommend(User(history=[name("films", 2, 0)]), domain="books", k=3)
    assert len(hits) == 3
    unusable = replace(QUICK.examples, folds=None)  # it is refused before there are examples
    less = replace(QUICK, exclude_generators=("ALS",), examples=unusable)
    with pytest.raises(InvalidInput, match="needs the candidate generators 'ALS'; train with"):
        other.train("books", start_from=board.path, settings=less)
    bare = Space.create(tmp_path / "bare.space", {"text": text_encoder()})
    with pytest.raises(InvalidInput, match="has published no ranker; train one there with"):
        other.train("books", start_from=bare.path, settings=QUICK)
    with pytest.raises(SpaceNotFound, match="nowhere is no space"):
        other.train("books", start_from=tmp_path / "nowhere", settings=QUICK)


def test_a_recommender_is_served_as_it_was_trained_whatever_the_defaults_became(
    board, copied, monkeypatch
):
    def defaults(seed=0):
        return [
            ItemKNN("inserted at the front", alpha=1.0, k=1),
            *(source for source in default_generators(seed) if source.name not in ("ALS",)),
            ALS(regularization=1.0, alpha=1.0, seed=seed),
        ]

    before = lists(board)
    monkeypatch.setattr("isthmus.retrieval.recommend.settings.default_generators", defaults)
    monkeypatch.setattr(UserKNN, "__init__", partialmethod(UserKNN.__init__, k=1))
    assert lists(copied()) == before


@pytest.mark.parametrize("fit_with", [{"k": 3}, {"k": 300}])
def test_hyperparameters_are_restored_with_the_state(fit_with):
    trained = CandidateGenerators([UserKNN(**fit_with), Popularity()])
    restored = CandidateGenerators.from_description(json.loads(json.dumps(trained.description())))
    assert restored.description() == trained.description()
    assert restored["user-KNN"] == UserKNN(**fit_with)
