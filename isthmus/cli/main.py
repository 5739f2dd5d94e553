"""The ``isthmus`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.interactions import app as interactions
from isthmus.errors import IsthmusError

app = typer.Typer(
    name="isthmus",
    help="Join catalogues into one vector space; search it and recommend across domains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(interactions)

SpaceOption = Annotated[Path, typer.Option("--space", "-s", help="Folder of the space.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
KOption = Annotated[int, typer.Option("-k", min=1, help="How many items.")]
DomainsOption = Annotated[
    list[str] | None, typer.Option("--domain", help="Only this domain; may be repeated.")
]
WhereOption = Annotated[str | None, typer.Option("--where", help="SQL predicate over attributes.")]
MinScoreOption = Annotated[float | None, typer.Option("--min-score", help="Least score of a hit.")]
AllOption = Annotated[
    bool, typer.Option("--all", help="All that reach --min-score, however many; not -k of them.")
]
LikeOption = Annotated[
    list[str] | None, typer.Option("--like", metavar="ID", help="Item to be like; repeat it.")
]
UnlikeOption = Annotated[
    list[str] | None, typer.Option("--unlike", metavar="ID", help="Item to be unlike; repeat it.")
]
DiversityOption = Annotated[
    float, typer.Option(help="From 0, relevance alone, to 1, items unlike each other.")
]
CandidatesOption = Annotated[
    int | None, typer.Option(min=1, help="Of how many items a diverse list is chosen.")
]
QuotaOption = Annotated[
    list[str] | None,
    typer.Option(
        "--quota",
        metavar="DOMAIN=N",
        help="Places of a domain: a number (films=3) or a share (films=0.5); repeat it.",
    ),
]
CalibrateOption = Annotated[
    bool,
    typer.Option(
        "--calibrate", help="Rank by how far an item stands out in its domain, so that none swamps."
    ),
]
SheetOption = Annotated[Path | None, typer.Option("--sheet", help="Also draw the result, a PNG.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or all (GPUs).")
]
WaitOption = Annotated[float, typer.Option("--wait", help="Seconds to wait for another writer.")]
RecallOption = Annotated[
    float | None, typer.Option(help="Recall@10 to reach, in place of the space's.")
]
LatencyOption = Annotated[
    float | None, typer.Option("--latency-ms", help="Largest p99 of a single query, in ms.")
]
MemoryOption = Annotated[
    str | None, typer.Option("--memory", help="Largest size of a block's index, such as 4GiB.")
]

INTERRUPTED = 130


def main() -> None:
    """Run the command; what goes wrong becomes one line on standard error and exit code 1."""
    try:
        app()
    except (IsthmusError, OSError) as error:
        sys.exit(_complain(str(error)))
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _complain("interrupted; what was finished is stored, run the same command to go on")
        raise


def _complain(message: str) -> int:
    typer.secho(f"isthmus: {' '.join(message.split())}", err=True, fg="red")
    return 1


def _open(space: Path, **options: Any) -> Any:
    from isthmus.retrieval.space import Space

    return Space.open(space, **options)


@app.command()
def create(
    space: Annotated[Path, typer.Argument(help="Folder to make.")],
    encoder: Annotated[str, typer.Option(help="Encoder of every modality.")] = "local",
    text_encoder: Annotated[str | None, typer.Option(help="Encoder of text alone.")] = None,
    image_encoder: Annotated[str | None, typer.Option(help="Encoder of images alone.")] = None,
    recall: Annotated[float, typer.Option(help="Recall@10 a release must reach.")] = 0.95,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make an empty space."""
    from isthmus.cli.show import show_stats
    from isthmus.retrieval.space import Space

    made = Space.create(
        space,
        encoder,
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        recall=recall,
        device=device,
        precision=precision,
    )
    show_stats(made.stats(), as_json=as_json)


@app.command()
def add(
    files: Annotated[list[str], typer.Argument(help="Files, globs or folders of items.")],
    space: SpaceOption,
    id: Annotated[str, typer.Option(help="Column or template of the item id.")] = "item_id",
    domain: Annotated[str | None, typer.Option(help="Domain of every item.")] = None,
    domain_column: Annotated[str | None, typer.Option(help="Column of the domain.")] = None,
    text: Annotated[str | None, typer.Option(help='Text template: "{title}. {genres}".')] = None,
    image: Annotated[str | None, typer.Option(help="Column of the image.")] = None,
    skip_invalid: Annotated[bool, typer.Option(help="Leave invalid rows out.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) images.")] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Add new items and replace changed ones; only unseen contents are encoded."""
    from isthmus.cli.show import show_report

    report = _open(space, device=device, wait_s=wait).upsert(
        files,
        id=id,
        domain=domain,
        domain_column=domain_column,
        text=text,
        image=image,
        skip_invalid=skip_invalid,
        http=http,
        progress=True,
    )
    show_report(report.as_dict(), as_json=as_json)


@app.command()
def delete(
    item_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Item ids.")],
    space: SpaceOption,
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Delete items, at once."""
    from isthmus.cli.show import show_line

    deleted = _open(space, wait_s=wait).delete(item_ids)
    show_line({"asked": len(item_ids), "deleted": deleted}, as_json=as_json)


@app.command()
def publish(
    space: SpaceOption,
    recall: RecallOption = None,
    latency_ms: LatencyOption = None,
    memory: MemoryOption = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Plan and train anew.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="The same from the catalog alone: mends damage.")
    ] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Build a release, measure it, and make it current."""
    from isthmus.cli.show import show_release

    manifest = _open(space, device=device, wait_s=wait).publish(
        recall=recall,
        latency_ms=latency_ms,
        memory=memory,
        retrain=retrain,
        rebuild=rebuild,
        progress=True,
    )
    show_release(manifest.model_dump(), as_json=as_json)


@app.command()
def plan(
    space: SpaceOption,
    rows: Annotated[
        float | None, typer.Option(help="Plan for so many vectors, such as 1e9.")
    ] = None,
    recall: RecallOption = None,
    latency_ms: LatencyOption = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure index recipes on a sample, and build nothing."""
    from isthmus.cli.show import show_plans
    from isthmus.index.plan import require_possible

    plans = _open(space, device=device).plan(
        rows=None if rows is None else round(rows),
        recall=recall,
        latency_ms=latency_ms,
        memory=memory,
        progress=True,
    )
    show_plans([one.model_dump() for one in plans], as_json=as_json)
    for one in plans:
        require_possible(one)


@app.command()
def releases(space: SpaceOption, as_json: JsonOption = False) -> None:
    """List the kept releases."""
    from isthmus.cli.show import show_releases

    opened = _open(space)
    manifests = [m.model_dump(exclude={"files"}) for m in opened.releases()]
    show_releases(manifests, opened.current_release, as_json=as_json)


@app.command()
def rollback(
    space: SpaceOption,
    number: Annotated[int | None, typer.Argument(help="Release to go back to.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier release current; items stay as they are."""
    from isthmus.cli.show import show_line

    show_line({"current": _open(space).rollback(number)}, as_json=as_json)


@app.command()
def compact(
    space: SpaceOption,
    keep_days: Annotated[
        float | None, typer.Option(help="Keep versions younger than this; default: space.toml's.")
    ] = None,
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Merge small files and drop old versions of the tables; queries go on meanwhile."""
    from dataclasses import asdict

    from isthmus.cli.show import show_json, show_line

    reports = [
        asdict(r) for r in _open(space, wait_s=wait).compact(keep_days=keep_days, progress=True)
    ]
    if as_json:
        show_json(reports)
    for report in reports if not as_json else []:
        show_line(report, as_json=False)


@app.command()
def status(space: SpaceOption, as_json: JsonOption = False) -> None:
    """Describe a space: items, domains, release, delta, quarantine, encoders."""
    from isthmus.cli.show import show_stats

    show_stats(_open(space).stats(), as_json=as_json)


@app.command()
def get(
    item_id: Annotated[str, typer.Argument(help="Item id.")],
    space: SpaceOption,
    as_json: JsonOption = False,
) -> None:
    """Show one item."""
    from isthmus.cli.show import show_item

    show_item(_open(space).get(item_id), as_json=as_json)


@app.command()
def count(
    space: SpaceOption,
    domain: DomainsOption = None,
    where: WhereOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count searchable items."""
    from isthmus.cli.show import show_line

    show_line({"count": _open(space).count(domain, where)}, as_json=as_json)


@app.command()
def search(
    space: SpaceOption,
    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to look for.")] = None,
    k: KOption = 10,
    domain: DomainsOption = None,
    where: WhereOption = None,
    min_score: MinScoreOption = None,
    everything: AllOption = False,
    like: LikeOption = None,
    unlike: UnlikeOption = None,
    diversity: DiversityOption = 0.0,
    candidates: CandidatesOption = None,
    quota: QuotaOption = None,
    calibrate: CalibrateOption = False,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Compare words too (BM25).")] = False,
    lexical_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the words, with --hybrid.")
    ] = 1.0,
    queries: Annotated[
        Path | None,
        typer.Option(help="File of queries: query_id and text, image or vector."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet to write, with --queries.")] = None,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the items nearest to a text, a picture, examples; or answer a file of queries."""
    if (queries is None) != (out is None):
        raise typer.BadParameter("--queries and --out go together")
    if queries is not None and (text or image or hybrid or sheet or like or unlike):
        raise typer.BadParameter(
            "--queries goes without TEXT, --image, --like, --unlike, --hybrid and --sheet"
        )
    if queries is None and text is None and image is None and not like and not unlike:
        raise typer.BadParameter(
            "give a TEXT, an --image, items to be --like, or several of them; or --queries"
        )
    from isthmus.cli.quotas import parse_quotas
    from isthmus.cli.show import show_hits, show_query_report

    opened = _open(space, device=device)
    if queries is not None and out is not None:
        report = opened.search_file(queries, out, k=k, domain=domain, where=where, progress=True)
        show_query_report(report, out, as_json=as_json)
        return
    words = {"hybrid": True, "lexical_weight": lexical_weight} if hybrid else {}
    hits = opened.search(
        text,
        image=image,
        like=like or (),
        unlike=unlike or (),
        k=None if everything else k,
        domain=domain,
        where=where,
        min_score=min_score,
        diversity=diversity,
        candidates=candidates,
        quotas=parse_quotas(quota),
        calibrate=calibrate,
        attributes=True,
        **words,
    )
    asked = text or ", ".join([*([str(image)] if image else []), *(like or unlike or [])])
    show_hits(opened, asked, image, hits, sheet, as_json=as_json)


@app.command()
def similar(
    item_id: Annotated[str, typer.Argument(help="Item to compare with.")],
    space: SpaceOption,
    k: KOption = 10,
    domain: DomainsOption = None,
    where: WhereOption = None,
    min_score: MinScoreOption = None,
    everything: AllOption = False,
    like: LikeOption = None,
    unlike: UnlikeOption = None,
    diversity: DiversityOption = 0.0,
    candidates: CandidatesOption = None,
    quota: QuotaOption = None,
    calibrate: CalibrateOption = False,
    sheet: SheetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the items most like an item, across domains."""
    from isthmus.cli.quotas import parse_quotas
    from isthmus.cli.show import show_hits

    opened = _open(space)
    hits = opened.similar(
        item_id,
        like=like or (),
        unlike=unlike or (),
        k=None if everything else k,
        domain=domain,
        where=where,
        min_score=min_score,
        diversity=diversity,
        candidates=candidates,
        quotas=parse_quotas(quota),
        calibrate=calibrate,
        attributes=True,
    )
    item = opened.get(item_id)
    show_hits(opened, item["text"] or item_id, item["image"], hits, sheet, as_json=as_json)


@app.command()
def duplicates(
    space: SpaceOption,
    threshold: Annotated[
        float, typer.Option(help="Cosine similarity from which items are duplicates.")
    ] = 0.95,
    domain: DomainsOption = None,
    where: WhereOption = None,
    block: Annotated[str | None, typer.Option(help="Block to compare in, such as image.")] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find groups of items that are nearly the same, within and across domains."""
    from isthmus.cli.show import show_duplicates
    from isthmus.retrieval.parquet_file import write_parquet

    table = _open(space).duplicates(
        threshold, domain=domain, where=where, block=block, progress=True
    )
    if out is not None:
        write_parquet(table, out)
    show_duplicates(table, out, as_json=as_json)


@app.command()
def recommend(
    space: SpaceOption,
    history: Annotated[
        list[str] | None, typer.Option(help="Item the user knows, oldest first; repeat it.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="What the user likes, in words.")] = None,
    users: Annotated[
        Path | None, typer.Option(help="Parquet: user_id, optionally history and text.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet to write, with --users.")] = None,
    domain: DomainsOption = None,
    k: KOption = 10,
    where: WhereOption = None,
    diversity: DiversityOption = 0.0,
    candidates: CandidatesOption = None,
    quota: QuotaOption = None,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Recommend items to one user, or to a file of users."""
    from isthmus.cli.quotas import parse_quotas
    from isthmus.cli.show import show_hits, show_line
    from isthmus.retrieval.users import User

    if (users is None) != (out is None):
        raise typer.BadParameter("--users and --out go together")
    if users is not None and (history or text):
        raise typer.BadParameter("give --users, or --history and --text, not both")
    opened = _open(space, device=device)
    options: dict[str, Any] = {
        "k": k,
        "domain": domain,
        "where": where,
        "diversity": diversity,
        "candidates": candidates,
        "quotas": parse_quotas(quota),
    }
    if users is not None and out is not None:
        from isthmus.retrieval.user_file import recommend_file

        counts = recommend_file(opened, users, out, **options)
        show_line({**counts, "out": str(out)}, as_json=as_json)
        return
    known = [item_id for item_id in history or [] if opened.get(item_id)]
    user = User(known, text)
    hits = opened.recommend(user, **options, attributes=True)
    show_hits(opened, text or ", ".join(known), None, hits, sheet, as_json=as_json)


@app.command()
def quarantine(
    space: SpaceOption,
    retry: Annotated[bool, typer.Option("--retry", help="Try them again.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) images.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what could not be embedded, or try it again."""
    from isthmus.cli.show import show_quarantine, show_report

    opened = _open(space)
    if retry:
        show_report(opened.retry_quarantine(http=http).as_dict(), as_json=as_json)
    else:
        show_quarantine(opened.quarantine(), as_json=as_json)
