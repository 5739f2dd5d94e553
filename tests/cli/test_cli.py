from __future__ import annotations

import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import isthmus
from tests.cli.conftest import COMMAND
from tests.toy import picture, tone

FILMS = {
    "item_id": ["f1", "f2", "f3"],
    "title": ["sea storm", "jazz club", "snow hill"],
    "genres": ["ship", None, "ski"],
    "image": ["p/red.png", None, "p/blue.png"],
    "year": [1990, 2000, 2010],
}
BOOKS = {"item_id": ["b1", "b2"], "shelf": ["books", "books"], "name": ["sea storm ship", "robot"]}


@pytest.fixture
def shop(run_json, tmp_path):
    """A space of two domains, made through the command line."""
    (tmp_path / "p").mkdir()
    for colour in ("red", "blue"):
        (tmp_path / f"p/{colour}.png").write_bytes(picture(colour))
    pq.write_table(pa.table(FILMS), tmp_path / "films.parquet")
    pq.write_table(pa.table(BOOKS), tmp_path / "books.parquet")
    encoders = ("--text-encoder", "toy/words", "--image-encoder", "toy/colours")
    run_json("create", "--space", "shop", *encoders)
    films = run_json(
        "upsert",
        "films.parquet",
        "--space",
        "shop",
        "--domain",
        "films",
        "--text",
        "{title}. {genres}",
    )
    books = run_json("upsert", "books.parquet", "--space", "shop", "--domain-column", "shelf")
    assert films["added"] == 3
    assert films["encoded"] == {"text": 3, "image": 2}
    assert books["added"] == 2
    return tmp_path / "shop"


def ids(answer):
    hits = answer["hits"] if isinstance(answer, dict) else answer
    return [hit["item_id"] for hit in hits]


def test_the_whole_job(shop, run_json, tmp_path):
    again = run_json(
        "upsert",
        "films.parquet",
        "--space",
        "shop",
        "--domain",
        "films",
        "--text",
        "{title}. {genres}",
    )
    assert {k: again[k] for k in ("rows_read", "added", "changed", "unchanged", "quarantined")} == {
        "rows_read": 3,
        "added": 0,
        "changed": 0,
        "unchanged": 3,
        "quarantined": 0,
    }
    assert again["encoded"] == {"text": 0, "image": 0}

    release = run_json("publish", "--space", "shop")
    assert release["number"] == 1
    assert {row["recall"] for row in release["recall"]} == {1.0}
    run_json("publish", "--space", "shop")
    assert [r["current"] for r in run_json("releases", "--space", "shop")] == [False, True]
    assert run_json("rollback", "--space", "shop") == {"current": 1}

    answer = run_json("search", "jazz club", "--space", "shop", "-k", 2)
    assert answer["notes"] == []
    assert answer["cursor"]
    hits = answer["hits"]
    assert hits[0] | {"score": 1} == {
        "item_id": "f2",
        "domain": "films",
        "score": 1,
        "rank": 1,
        "text": "jazz club",
        "image": None,
        "attributes": {"title": "jazz club", "genres": None, "year": 2000},
    }
    assert ids(run_json("search", "--image", "p/blue.png", "--space", "shop", "-k", 1)) == ["f3"]
    assert ids(
        run_json("search", "snow hill. ski", "--image", "p/blue.png", "--space", "shop", "-k", 1)
    ) == ["f3"]
    hits = run_json(
        "search", "sea", "--space", "shop", "--domain", "films", "--where", "year > 1995"
    )
    assert set(ids(hits)) == {"f2", "f3"}
    assert ids(run_json("similar", "f1", "--space", "shop", "--domain", "books", "-k", 1)) == ["b1"]
    hits = run_json(
        "recommend",
        "--history",
        "f1",
        "--domain",
        "books",
        "--space",
        "shop",
        "-k",
        1,
    )
    assert ids(hits) == ["b1"]
    hits = run_json("recommend", "--text", "robot", "--domain", "books", "--space", "shop", "-k", 1)
    assert ids(hits) == ["b2"]
    assert run_json("count", "--space", "shop", "--where", "year >= 2000") == {"count": 2}
    assert run_json("get", "f3", "--space", "shop")["modalities"] == ["text", "image"]

    assert run_json("delete", "f2", "nobody", "--space", "shop") == {"deleted": 1}
    status = run_json("status", "--space", "shop")
    assert (status["items"], status["domains"], status["release"]) == (
        4,
        {"books": 2, "films": 2},
        1,
    )


def test_options_of_lists(shop, run_json):
    def search(*arguments):
        return run_json("search", *arguments, "--space", "shop")["hits"]

    sea = ("sea storm ship",)
    assert ids(search(*sea, "-k", 2, "--domain", "films"))[0] == "f1"
    assert ids(search(*sea, "--min-score", 0.99)) == ["b1"]
    assert ids(search(*sea, "--min-score", 0.99, "--all")) == ["b1"]
    assert len(search(*sea, "--min-score", -1, "--all", "-k", 1)) == 5
    assert ids(search("--like", "f1", "-k", 1)) == ["b1"]
    assert set(ids(search("--like", "f1", "--like", "f2"))) == {"b1", "b2", "f3"}
    assert ids(search("robot", "--like", "f3", "--unlike", "b1"))[0] == "b2"
    assert ids(search("--unlike", "f1"))[-1] == "b1"
    quotas = ("--quotas", "films=1", "--quotas", "books=0.5")
    assert {h["domain"] for h in search(*sea, "-k", 2, *quotas)} == {"films", "books"}
    diverse = search(*sea, "-k", 3, "--diversity", 0.5, "--num-candidates", 4)
    assert (ids(diverse)[0], len(diverse)) == ("b1", 3)
    assert ids(search(*sea, "--normalize-scores"))[0] in ("b1", "f1")

    hits = run_json(
        "similar", "f1", "--space", "shop", "--unlike", "b2", "--like", "f2", "--quotas", "books=1"
    )
    assert ids(hits) == ["b1", "f3"]
    hits = run_json(
        "similar", "f1", "--space", "shop", "--all", "--min-score", -5, "--normalize-scores"
    )
    assert set(ids(hits)) == {"f2", "f3", "b1", "b2"}
    hits = run_json("similar", "f1", "--space", "shop", "--diversity", 1, "-k", 4)
    assert set(ids(hits)) == {"f2", "f3", "b1", "b2"}
    recommend = ("recommend", "--space", "shop", "--history", "f1", "-k", 2)
    hits = run_json(*recommend, "--quotas", "films=1", "--quotas", "books=1", "--diversity", 0.3)
    assert sorted(h["domain"] for h in hits["hits"]) == ["books", "films"]

    everything = ids(search(*sea))
    rules = ("--boost", f"item_id = '{everything[4]}'=+4", "--ban", everything[1])
    ruled = search(*sea, *rules, "--pin", everything[3])
    assert ids(ruled) == [everything[at] for at in (3, 4, 0, 2)]
    assert [hit.get("rule") for hit in ruled] == ["pinned", "boosted", None, None]
    hits = run_json(*recommend, "--boost", "domain = 'books'=0.01", "--min-relevance", 0)
    assert [h["domain"] for h in hits["hits"]] == ["films", "films"]


def test_rows_of_a_page_and_users_to_tell(shop, run, run_json):
    page = run_json("recommend-rows", "--history", "f1", "--space", "shop", "-k", 2)
    assert [row["kind"] for row in page["rows"]][:1] == ["for_you"]
    shown = [hit["item_id"] for row in page["rows"] for hit in row["hits"]]
    assert len(shown) == len(set(shown))
    assert "f1" not in shown
    assert "Recommended for you" in run("recommend-rows", "--space", "shop", "-k", 2).stdout
    assert run_json("recommend-users", "f1", "--space", "shop") == []


def test_a_file_of_users(shop, run_json, tmp_path):
    users = pa.table(
        {"user_id": ["u1", "u2"], "history": [["f1"], ["f2"]], "text": [None, "robot"]}
    )
    pq.write_table(users, tmp_path / "users.parquet")
    counts = run_json(
        "recommend-file",
        "users.parquet",
        "--out",
        "recs.parquet",
        "--domain",
        "books",
        "--space",
        "shop",
        "-k",
        2,
    )
    assert counts == {"users": 2, "rows": 4, "unknown_users": 0, "out": "recs.parquet"}
    out = pq.read_table(tmp_path / "recs.parquet")
    assert out.column_names == ["user_id", "item_id", "rank", "score"]
    assert out["user_id"].to_pylist() == ["u1", "u1", "u2", "u2"]
    assert out["item_id"].to_pylist() == ["b1", "b2", "b2", "b1"]
    assert out["rank"].to_pylist() == [1, 2, 1, 2]


def test_quarantine_lists_and_retries(shop, run, run_json, tmp_path):
    (tmp_path / "p/broken.png").write_bytes(b"nonsense")
    table = pa.table({"item_id": ["f9"], "title": ["pictured"], "image": ["p/broken.png"]})
    pq.write_table(table, tmp_path / "more.parquet")
    report = run_json("upsert", "more.parquet", "--space", "shop", "--domain", "films")
    assert report["quarantined"] == 1
    listed = run_json("quarantine", "--space", "shop")
    assert [(row["item_id"], row["attempts"]) for row in listed] == [("f9", 1)]
    assert "f9" in run("quarantine", "--space", "shop").stdout
    (tmp_path / "p/broken.png").write_bytes(picture("green"))
    assert run_json("retry-quarantine", "--space", "shop")["quarantined"] == 0
    assert run_json("quarantine", "--space", "shop") == []


def test_people_get_tables_and_pictures(shop, run, tmp_path):
    result = run("search", "sea storm", "--space", "shop", "--sheet", "sheet.png")
    assert result.returncode == 0
    assert "sea storm" in result.stdout
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width == 6 * 168
    status = run("status", "--space", "shop")
    assert "separate named vectors" in status.stdout
    assert "isthmus align --space shop" in " ".join(status.stdout.split())
    assert "fold in: isthmus publish --space shop" in " ".join(status.stdout.split())
    assert "newer than the index" in status.stdout
    report = run(
        "upsert",
        "films.parquet",
        "--space",
        "shop",
        "--domain",
        "films",
        "--text",
        "{title}. {genres}",
    )
    assert "3 rows read: 0 added, 0 changed, 3 unchanged" in report.stdout
    assert "recall@10" in run("publish", "--space", "shop").stdout
    assert "current" in run("releases", "--space", "shop").stdout
    assert "snow hill. ski" in run("get", "f3", "--space", "shop").stdout


REFUSED = {
    "no space": (("status", "--space", "nowhere"), "nowhere is no space"),
    "no file": (
        ("upsert", "nothing.csv", "--space", "shop", "--domain", "d"),
        "no file matches 'nothing.csv'",
    ),
    "no domain": (
        ("upsert", "films.parquet", "--space", "shop"),
        "give --domain NAME or --domain-column",
    ),
    "no column": (
        ("upsert", "books.parquet", "--space", "shop", "--domain", "d", "--text", "{titel}"),
        "'titel'",
    ),
    "no item": (("similar", "zz", "--space", "shop"), "no item 'zz'"),
    "no history item": (
        ("recommend", "--history", "zz", "--domain", "books", "--space", "shop"),
        "no item 'zz'",
    ),
    "bad filter": (
        ("search", "x", "--space", "shop", "--where", "foo > 1"),
        "The columns are: item_id",
    ),
    "unknown domain": (
        ("search", "x", "--space", "shop", "--domain", "music"),
        "no domain 'music'",
    ),
    "no release": (("rollback", "7", "--space", "shop"), "no release 7"),
    "exists": (("create", "--space", "shop", "--encoder", "toy/both"), "shop exists already"),
    "unknown encoder": (("create", "--space", "other", "--encoder", "magic/wand"), "magic"),
    "no picture": (("search", "--image", "none.png", "--space", "shop"), "no image file none.png"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_so_in_one_line_and_exits_with_1(name, shop, run):
    arguments, message = REFUSED[name]
    result = run(*arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.startswith("isthmus: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


MISRANKED = {
    "bad diversity": (
        ("search", "x", "--space", "shop", "--diversity", "2"),
        "diversity is 2.0; give a number from 0 to 1",
    ),
    "few candidates": (
        ("similar", "f1", "--space", "shop", "--diversity", "0.5", "--num-candidates", "3"),
        "num_candidates is 3, but k is 10",
    ),
    "all of nothing": (("search", "x", "--space", "shop", "--all"), "give a k, or a min_score"),
    "no example": (("search", "--space", "shop", "--like", "zz"), "no item 'zz'"),
    "no counterexample": (("similar", "f1", "--space", "shop", "--unlike", "zz"), "no item 'zz'"),
    "half a quota": (
        ("search", "x", "--space", "shop", "--quotas", "films"),
        "--quotas films: write DOMAIN=3 for places or DOMAIN=0.5 for a share",
    ),
    "half a boost": (
        ("search", "x", "--space", "shop", "--boost", "year > 2000"),
        "--boost year > 2000: write PREDICATE=2 for a factor or PREDICATE=+5 for places",
    ),
    "two quotas": (
        ("search", "x", "--space", "shop", "--quotas", "films=1", "--quotas", "films=2"),
        "'films' is given twice",
    ),
    "large quota": (
        ("similar", "f1", "--space", "shop", "--quotas", "films=11"),
        "the quotas ask for 11 places, but k is 10",
    ),
    "quota of nothing": (
        ("search", "x", "--space", "shop", "--quotas", "music=1"),
        "no domain 'music'",
    ),
}


def test_invalid_options_of_lists_are_refused_in_one_line(shop, run):
    for name, (arguments, message) in MISRANKED.items():
        result = run(*arguments)
        assert result.returncode == 1, name
        assert result.stderr.startswith("isthmus: "), name
        assert message in result.stderr, name
        assert (len(result.stderr.strip().splitlines()), result.stdout) == (1, ""), name


@pytest.mark.parametrize(
    "verb",
    [("search", "x"), ("similar", "f1"), ("learn-fusion",), ("retry-quarantine",), ("rollback",)],
)
def test_verbs_that_search_or_encode_have_a_device(verb, shop, run):
    refused = run(*verb, "--space", "shop", "--device", "tpu")
    assert refused.returncode == 1
    assert "'tpu'" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "x"),
        ("search", "--space", "s"),
        ("search", "x", "--space", "s", "-k", "0"),
        ("search", "x", "--space", "s", "--min-score", "high"),
        ("search", "x", "--space", "s", "--diversity", "0.5", "--num-candidates", "0"),
        ("recommend-file", "u.parquet", "--domain", "d", "--space", "s"),
        ("recommend", "--user", "u", "--processes", 2, "--space", "s"),
        ("create", "--space", "s", "--encoder", "toy/both", "--audio-encoder", "toy/sounds"),
        ("fly",),
        ("upsert", "--space", "s"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, run):
    assert run(*arguments).returncode == 2


def test_invalid_rows_are_refused_by_number_or_skipped(shop, run, run_json, tmp_path):
    (tmp_path / "bad.csv").write_text("item_id,title\nn1,fine\n,lost\nn1,twice\n")
    arguments = ("upsert", "bad.csv", "--space", "shop", "--domain", "films")
    result = run(*arguments)
    assert result.returncode == 1
    assert "line 3: no item id" in result.stderr
    assert "line 4: item id 'n1' stands in line 2 already" in result.stderr
    report = run_json(*arguments, "--skip-invalid")
    assert (report["rows_read"], report["added"], report["invalid"]) == (3, 1, 2)


def start(arguments, environment, folder, **pipes):
    """Start a job that Ctrl-C interrupts, which a process in the background ignores."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [COMMAND, *arguments],
        env=environment,
        cwd=folder,
        text=True,
        stderr=subprocess.PIPE,
        **pipes,
    )


def interrupted(job):
    """Press Ctrl-C until the job ends: Python drops an interrupt that falls into a destructor."""
    while True:
        job.send_signal(signal.SIGINT)
        try:
            return job.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            continue


def test_compacting_goes_on_in_the_background_until_it_is_interrupted(shop, environment, tmp_path):
    before = len(list((shop / "catalog.lance/_versions").iterdir()))
    arguments = ["compact", "--keep-days", "0", "--every", "1", "--space", "shop"]
    with start(arguments, environment, tmp_path, stdout=subprocess.PIPE) as job:
        assert job.stdout.readline().startswith("table catalog.lance")
        assert "interrupted" in interrupted(job)
    assert job.returncode == 130
    assert len(list((shop / "catalog.lance/_versions").iterdir())) < before


def test_an_interrupted_job_says_so_and_goes_on_where_it_stopped(run_json, environment, tmp_path):
    rows = 3_000
    table = pa.table({"item_id": range(rows), "text": [f"word{n}" for n in range(rows)]})
    pq.write_table(table, tmp_path / "many.parquet")
    run_json("create", "--space", "s", "--encoder", "toy/slow")
    arguments = ["upsert", "many.parquet", "--space", "s", "--domain", "d"]
    job = start(arguments, environment, tmp_path)
    cache = tmp_path / "s/embedding_cache"
    while not any(cache.glob("*/_checksums/2")):  # a piece of 1,024 texts is stored
        time.sleep(0.05)
    said = interrupted(job)
    assert job.returncode == 130
    assert "interrupted; what was finished is stored" in said
    report = run_json(*arguments)
    assert report["added"] == rows
    assert report["encoded"]["text"] in (rows - 1_024, rows - 2_048)


def test_the_package_is_a_command_too():
    outputs = {
        subprocess.check_output([*command, "--version"], text=True)
        for command in ([COMMAND], [sys.executable, "-m", "isthmus"])
    }
    assert outputs == {f"isthmus {isthmus.__version__}\n"}


def test_a_process_reads_the_named_command_and_knows_the_others():
    """What the process says of a command is what it says where all commands are read."""
    command = [sys.executable, "-m", "isthmus"]
    mistaken = subprocess.run([*command, "serch"], capture_output=True, text=True, check=False)
    assert mistaken.returncode == 2
    assert "Did you mean 'search'" in mistaken.stderr
    for arguments, option in (
        (["search", "--help"], "--rerank"),
        (["map", "--help"], "--table"),
        (["users", "add", "--help"], "--skip-invalid"),
    ):
        assert option in subprocess.check_output([*command, *arguments], text=True)


def test_a_search_loads_nothing_that_fetches_or_trains():
    script = (
        "import sys, isthmus.space, isthmus.retrieval.search.searcher\n"
        "print(sorted({'httpcore', 'torch', 'lance', 'faiss', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_importing_and_helping_load_nothing_heavy(run):
    script = (
        "import sys, isthmus, isthmus.cli.main\n"
        "heavy = {'torch', 'lance', 'faiss', 'numpy', 'pyarrow', 'transformers', 'open_clip'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
    result = run("--help")
    assert result.returncode == 0
    for verb in (
        "create",
        "upsert",
        "delete",
        "publish",
        "status",
        "search",
        "similar",
        "recommend",
    ):
        assert verb in result.stdout


def test_audio_from_the_command_line(run, run_json, tmp_path):
    for name in ("low", "high"):
        (tmp_path / f"{name}.wav").write_bytes(tone(name))
    (tmp_path / "bad.wav").write_bytes(b"nonsense")
    clips = ["low.wav", "high.wav", "bad.wav"]
    pq.write_table(pa.table({"item_id": ["l", "h", "b"], "clip": clips}), tmp_path / "s.parquet")
    run_json("create", "--space", "s", "--encoder", "toy/sounds")
    report = run_json("upsert", "s.parquet", "--space", "s", "--domain", "songs", "--audio", "clip")
    assert (report["added"], report["quarantined"]) == (3, 1)
    assert report["encoded"] == {"text": 0, "audio": 2}
    (failure,) = run_json("quarantine", "--space", "s")
    assert (failure["item_id"], failure["modality"]) == ("b", "audio")
    (tmp_path / "query.wav").write_bytes(tone("high", 16_000))
    (hit,) = run_json("search", "--audio", "query.wav", "--space", "s", "-k", 1)["hits"]
    assert (hit["item_id"], hit["audio"]) == ("h", str(tmp_path / "high.wav"))
    assert ids(run_json("search", "low", "--space", "s", "-k", 1)) == ["l"]
    assert "joint" in run("status", "--space", "s").stdout
    refused = run("search", "--audio", "bad.wav", "--space", "s")
    assert (refused.returncode, refused.stderr.strip()) == (
        1,
        "isthmus: not audio in a known format",
    )
    run_json(
        "create", "--space", "t", "--text-encoder", "toy/words", "--audio-encoder", "toy/sounds"
    )
    assert list(run_json("status", "--space", "t")["named_vectors"]) == ["text", "audio"]


def test_scenarios(shop, run, run_json):
    rules = ("--boost", "year > 2000=2", "--ban", "f1", "--exclude-shown-for", "7d")
    stored = run_json("scenarios", "set", "home", "--space", "shop", *rules)
    assert stored == {
        "scenario": "home",
        "ban": ["f1"],
        "boost": {"year > 2000": 2},
        "exclude_shown_for": "7d",
    }
    assert run_json("scenarios", "list", "--space", "shop") == {
        "home": {name: value for name, value in stored.items() if name != "scenario"}
    }
    shown = run("scenarios", "list", "--space", "shop")
    assert shown.stdout.splitlines() == [
        "home: ban = ['f1'], exclude_shown_for = '7d', boost = {'year > 2000': 2}"
    ]
    hits = run_json("recommend", "--space", "shop", "--scenario", "home")["hits"]
    assert "f1" not in ids(hits)
    assert len(hits) == 4
    assert run_json("scenarios", "delete", "home", "--space", "shop") == {"deleted": "home"}
    failed = run("recommend", "--space", "shop", "--scenario", "home")
    assert (failed.returncode, "no scenario 'home'" in failed.stderr) == (1, True)


def test_a_logged_list_is_listed_and_evaluated(shop, run, run_json, tmp_path):
    user = ("recommend", "--space", "shop", "--user", "ann", "-k", 2)
    answer = run_json(*user, "--log", "--explore", 0.2)
    (row,) = run_json("recommendations", "--space", "shop", "--user", "ann")
    assert row["recommendation_id"] == answer["recommendation_id"]
    assert row["item_id"] == ids(answer["hits"])
    shown = run("recommendations", "--space", "shop")
    assert row["recommendation_id"] in shown.stdout
    failed = run("evaluate", "--space", "shop", "--log")
    assert (failed.returncode, "no event of the kind 'click'" in failed.stderr) == (1, True)
    failed = run("evaluate", "--space", "shop", "--ab", "boots")
    assert (failed.returncode, "no list of the experiment 'boots'" in failed.stderr) == (1, True)
    from isthmus import Space
    from tests.toy import joint_encoder

    space = Space.open(tmp_path / "shop", encoder=joint_encoder())
    event = {"event_id": "e1", "user_id": "ann", "item_id": row["item_id"][0], "event": "click"}
    space.record_events([{**event, "recommendation_id": row["recommendation_id"]}])
    found = run_json("evaluate", "--space", "shop", "--log")
    assert (found["lists"], found["places"], found["rewards"]) == (1, 2, 1)
    shown = run("evaluate", "--space", "shop", "--log").stdout
    assert "doubly robust" in shown
    assert "1 lists of 1 users, 2 places, 1 successes" in shown
