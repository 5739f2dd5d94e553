"""What a message about damage says to type works when it is typed, and mends the damage."""

from __future__ import annotations

import re
import shlex
import shutil

import pytest

from isthmus import Space
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.errors import IsthmusError
from isthmus.index.settings import SpaceSettings
from tests.cli.test_train import QUICK
from tests.damage.damages import flip
from tests.retrieval.recommend.worlds import name
from tests.toy import COLOURS, ToyEncoder, item, picture, text_encoder

ITEMS = [{"item_id": f"a{n}", "title": f"red word{n}"} for n in range(6)]
EVENTS = [("u", "a1"), ("u", "a2"), ("v", "a3")]
SEARCH = ("search", "word1", "--space", "shop", "-k", 3)
HYBRID = (*SEARCH, "--hybrid")
SHOW = ("interactions", "show", "u", "--space", "shop")
ADD = ("upsert", "new.csv", "--space", "shop", "--domain", "films", "--text", "{title}")
RECOMMEND = ("recommend", "--space", "shop", "--clicks", name("films", 5, 0))
COMMAND = re.compile(r"isthmus ([^;]*?--space [^\s,;]+)")


@pytest.fixture
def shop(run, tmp_path):
    """A published space in ``shop``, and the files that were put in."""
    (tmp_path / "items.csv").write_text(
        "item_id,title\n" + "".join(f"{row['item_id']},{row['title']}\n" for row in ITEMS)
    )
    (tmp_path / "events.csv").write_text(
        "user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in EVENTS)
    )
    (tmp_path / "new.csv").write_text("item_id,title\nb1,blue word9\n")
    (tmp_path / "red.png").write_bytes(picture("red"))
    add = ("upsert", "items.csv", "--space", "shop", "--domain", "films", "--text", "{title}")
    for words in (
        ("create", "--space", "shop", "--text-encoder", "toy/words"),
        add,
        ("publish", "--space", "shop"),
        ("publish", "--space", "shop"),
        ("interactions", "add", "events.csv", "--space", "shop"),
    ):
        done = run(*words)
        assert done.returncode == 0, done.stderr
    return tmp_path / "shop"


def newest(folder, pattern):
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def type_remedies(run, message, *, alternative=0):
    """Type the commands of a message; of several joined by "or", one."""
    chosen = message.split(", or ")[alternative]
    commands = [shlex.split(words) for words in dict.fromkeys(COMMAND.findall(chosen))]
    assert commands, message
    results = []
    for words in commands:
        if "ITEMS" in words:
            words = [w if w != "ITEMS" else "items.csv" for w in words]
            words += ["--domain", "films", "--text", "{title}"]
        words = [w if w != "FILES" else "events.csv" for w in words]
        results.append(run(*words, *MORE.get(words[0], ())))
    return results


MORE = {  # what the command was typed with before
    "train": QUICK,
    "align": ("--epochs", 1),
    "learn-fusion": ("--label", "colour"),
}

SITUATIONS = {
    "catalog manifest": ("catalog.lance/_versions/*.manifest", SEARCH),
    "catalog rows": ("catalog.lance/data/*", SEARCH),
    "text index": ("catalog.lance/_indices/*/*docs*", HYBRID),
    "interactions": ("interactions.lance/data/*", SHOW),
    "embedding cache": ("embedding_cache/*/data/*", ADD),
    "release": ("releases/000002/rows.arrow", SEARCH),
    "release manifest": ("releases/000002/manifest.json", SEARCH),
    "current": ("CURRENT", SEARCH),
    "settings": ("space.toml", SEARCH),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("how", [flip, lambda path: path.unlink()], ids=["flipped", "removed"])
def test_the_remedy_in_a_message_mends_the_damage(shop, run, situation, how):
    pattern, command = SITUATIONS[situation]
    before = run(*command)
    assert before.returncode == 0, before.stderr
    if command is ADD:
        assert run("delete", "b1", "--space", "shop").returncode == 0
    how(newest(shop, pattern))
    failed = run(*command)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    shown = failed.stderr
    for _ in range(3):  # verify says in its turn what to do about what it cannot mend
        results = type_remedies(run, shown)
        shown = " ".join(result.stdout + result.stderr for result in results)
        after = run(*command)
        if after.returncode == 0:
            break
    assert after.returncode == 0, shown
    if situation not in ("catalog rows", "embedding cache"):
        assert after.stdout == before.stdout
    verified = run("verify", "--space", "shop")
    if verified.returncode:  # the former release is still there
        assert situation.startswith("release")
        type_remedies(run, verified.stdout)
        assert run("verify", "--space", "shop").returncode == 0


@pytest.mark.parametrize("alternative", [0, 1])
@pytest.mark.parametrize("situation", ["release", "current"])
def test_each_alternative_works(shop, run, situation, alternative):
    pattern, command = SITUATIONS[situation]
    newest(shop, pattern).unlink()
    failed = run(*command)
    assert failed.returncode == 1
    (done,) = type_remedies(run, failed.stderr, alternative=alternative)
    assert done.returncode == 0, done.stderr
    assert run(*command).returncode == 0


@pytest.mark.parametrize("command", [RECOMMEND, ("publish", "--space", "shop")])
@pytest.mark.parametrize("name", ["generators.safetensors", "recommender.json"])
def test_the_remedy_of_a_damaged_recommender(board, run, tmp_path, command, name):
    shutil.copytree(board.path, tmp_path / "shop")
    shutil.rmtree(tmp_path / "shop" / "training")
    flip(newest(tmp_path / "shop", f"releases/*/recommender/{name}"))
    failed = run(*command)
    assert failed.returncode == 1
    message = " ".join(failed.stderr.split())
    shop = tmp_path / "shop"
    assert message.endswith(f"isthmus train --space {shop}, then: isthmus publish --space {shop}")
    assert message.count("isthmus train") == 1
    trained, published = type_remedies(run, message)
    assert trained.returncode == 0, trained.stderr
    assert published.returncode == 0, published.stderr
    assert run(*command).returncode == 0


def test_the_remedy_of_a_damaged_recommender_that_is_not_published(board, run, tmp_path):
    shutil.copytree(board.path, tmp_path / "shop")
    flip(newest(tmp_path / "shop", "training/recommender/**/generators.safetensors"))
    failed = run("verify", "--space", "shop")
    assert failed.returncode == 1
    (trained,) = type_remedies(run, failed.stdout)
    assert trained.returncode == 0, trained.stderr
    assert run("verify", "--space", "shop").returncode == 0


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """Spaces of text and pictures with learned weights and an alignment, published and not."""
    folder = tmp_path_factory.mktemp("aligned")
    encoders = {
        "text": ToyEncoder("text", spec="toy/words"),
        "image": ToyEncoder("image", spec="toy/colours"),
    }
    colours = list(COLOURS)
    for which in ("published", "not published"):
        space = Space.create(folder / which, encoders)
        space.upsert(
            [
                item(
                    f"i{n}",
                    f"word{n} {colours[n % 6]}",
                    image=picture(colours[n % 6], 4 + n),
                    colour=colours[n % 6],
                )
                for n in range(60)
            ]
        )
        if which == "published":
            space.publish()
        space.align(settings=AlignmentSettings(dim=6, epochs=1))
        space.learn_fusion(label="colour")
    return folder


@pytest.mark.parametrize("alternative", [0, 1])
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("published", "alignments/*/heads.safetensors"),
        ("not published", "alignments/*/alignment.json"),
        ("published", "fusion_weights.json"),
    ],
)
def test_the_remedy_of_a_damaged_alignment_or_weights(
    aligned, run, tmp_path, name, pattern, alternative
):
    shutil.copytree(aligned / name, tmp_path / "shop")
    assert run(*SEARCH).returncode == 0
    flip(newest(tmp_path / "shop", pattern))
    failed = run(*SEARCH)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    shown = failed.stderr
    if alternative:  # what verify says
        shown = run("verify", "--space", "shop").stdout
    for _ in range(2):
        results = type_remedies(run, shown)
        shown = " ".join(result.stdout + result.stderr for result in results)
        if run(*SEARCH).returncode == 0:
            break
    assert run(*SEARCH).returncode == 0, shown
    assert run("verify", "--space", "shop").returncode == 0


def test_verify_names_what_is_lost_and_exits_with_one(shop, run, run_json):
    assert run_json("verify", "--space", "shop")["sound"] is True
    flip(newest(shop, "catalog.lance/data/*"))
    failed = run("verify", "--space", "shop")
    assert failed.returncode == 1
    assert "is damaged; lost: 6 items (a0, a1, a2, a3, a4, ...); mend it with:" in failed.stdout
    assert failed.stdout.splitlines()[-1].endswith(": 1 damaged")


def test_every_flipped_byte_of_the_settings_is_read_or_has_a_remedy(tmp_path):
    Space.create(tmp_path / "shop", encoder=text_encoder())
    file = tmp_path / "shop" / "space.toml"
    content, messages = file.read_bytes(), []
    for place, byte in enumerate(content):
        file.write_bytes(content[:place] + bytes([byte ^ 1]) + content[place + 1 :])
        try:
            SpaceSettings.read(tmp_path / "shop")
        except IsthmusError as error:
            messages.append(str(error))
    remedies = ("isthmus verify --repair --space", "isthmus create --space")
    assert len(messages) > len(content) / 2
    assert [said for said in messages if not any(words in said for words in remedies)] == []
