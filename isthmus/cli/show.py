"""Results as tables for people and as JSON for programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.cli.options import command
from isthmus.errors import listed
from isthmus.terminal import DataTable, print_table, say, say_json, shortened

if TYPE_CHECKING:
    import pyarrow as pa

    from isthmus.data.interactions.feedback import EventSummary
    from isthmus.data.interactions.ingest import InteractionReport
    from isthmus.operations.users import UserReport
    from isthmus.retrieval.recommend.rows import Rows
    from isthmus.retrieval.search.query_file import QueryFileReport
    from isthmus.retrieval.search.results import Groups, Hit, Hits
    from isthmus.space import Space

MOST_PROBLEMS = 20
MOST_MEMBERS = 100
MAX_EXAMPLE = 40


def show_line(values: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a few named values."""
    if as_json:
        say_json(values)
    else:
        say("  ".join(f"{name} {value}" for name, value in values.items()))


def show_report(report: Mapping[str, Any], *, as_json: bool, err: bool = False) -> None:
    """Print what a batch job did, or would do."""
    if as_json:
        say_json(report)
        return
    for problem in report["problems"]:
        say(f"left out {problem}", err=True)
    _show_notes(report["notes"])
    for domain, roles in report["mapping"].items():
        made = ", ".join(f"{role} of {column}" for role, column in roles.items())
        say(f"{domain}: {made}", err=err)
    encoded = (
        ", ".join(f"{n:,} {modality}" for modality, n in report["encoded"].items()) or "nothing"
    )
    say(
        ("dry run, nothing is written. " if report["dry_run"] else "")
        + f"{report['rows_read']:,} rows read: {report['added']:,} added, "
        f"{report['changed']:,} changed, {report['unchanged']:,} unchanged, "
        f"{report['invalid']:,} invalid; encoded {encoded}; "
        f"{report['quarantined']:,} quarantined; {report['seconds']:.1f} s",
        err=err,
    )
    for line in _remarks(report):
        say(line, err=err)


def _remarks(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a batch job did besides."""
    if report["deleted"]:
        yield f"{report['deleted']:,} items deleted that the input does not have"
    if report["unknown"]:
        ids = listed(report["unknown"])
        yield f"{len(report['unknown']):,} ids are of no item, and were passed over: {ids}"
    for column, count in report["vanished"].items():
        yield f"{column}: {count:,} items lose their value, since the input has no such column"
    if report["truncated"]:
        longest = f"{report['longest_truncated']:,} characters"
        yield (
            f"{report['truncated']:,} {'text is' if report['truncated'] == 1 else 'texts are'} "
            f"longer than the encoder reads, and cut; the longest has {longest}"
        )
    if report["quarantined"]:
        yield f"see what was quarantined with: {command('quarantine')}"


def show_verified(report: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what verifying a space found."""
    if as_json:
        say_json(report)
        return
    for damage in report["damages"]:
        state = "was mended" if damage["repaired"] else f"mend it with: {damage['remedy']}"
        say(f"{damage['file']} {damage['cause']}; lost: {damage['lost']}; {state}")
    damaged = sum(not damage["repaired"] for damage in report["damages"])
    say(
        f"{report['files']:,} files, {report['bytes']:,} bytes read in {report['seconds']:.1f} s: "
        + (f"{damaged:,} damaged" if damaged else "all sound")
    )


def show_certificate(checked: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a checked certificate of erasure, and what a search found now."""
    if as_json:
        say_json(checked)
        return
    certificate = checked["certificate"]
    say(
        f"the certificate of {certificate['issued']} is signed by the key "
        f"{certificate['public_key']}, and unchanged"
    )
    show_forgotten(checked["search"], as_json=False)


def show_erased(certificate: Mapping[str, Any], file: Path, *, as_json: bool) -> None:
    """Print what a certificate of erasure says."""
    if as_json:
        say_json(certificate)
        return
    say(f"{certificate['deleted_interactions']:,} interactions deleted, and the disk cleared")
    for trace in certificate["left"]:
        say(f"left: {trace['where']}: {trace['found']}")
    for held in certificate["recommenders"]:
        say(
            f"release {held['release']} has a recommender that learned from "
            f"{held['deleted_events']:,} events that are deleted by now, until {held['until']}"
        )
    say(f"certificate: {file}, signed by the key {certificate['public_key']}")


def show_forgotten(report: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what is left of a user."""
    if as_json:
        say_json(report)
        return
    for trace in report["traces"]:
        say(f"{trace['where']}: {trace['found']}; {trace['remedy']}")
    _say_deleted(report["deleted_events"])
    for note in report["notes"]:
        say(f"note: {note}")
    say(
        f"{report['versions']:,} versions of tables, {report['files']:,} files and "
        f"{report['bytes']:,} bytes searched in {report['seconds']:.1f} s: "
        + ("nothing is left" if report["forgotten"] else "not forgotten yet")
    )


def show_monitored(report: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was measured of a space, and the alarms."""
    if as_json:
        say_json(report)
        return
    table = DataTable("vector_name", "query", "domain", "queries", "recall@10", "interval")
    for row in report["recall"]:
        recall, span = f"{row['recall']:.4f}", f"{row['low']:.3f} to {row['high']:.3f}"
        cells = (row["vector_name"], row["kind"], row["domain"], str(row["queries"]), recall, span)
        table.add_row(*cells)
    if report["recall"]:
        print_table(table)
    table = DataTable("domain", "compared", "name", "release", "new", "p")
    for row in report["drift"]:
        counts = (str(row["reference"]), str(row["sample"]))
        table.add_row(row["domain"], row["what"], row["name"], *counts, f"{row['adjusted_p']:.4f}")
    if report["drift"]:
        print_table(table)
    for alarm in report["alarms"]:
        say(f"alarm: {alarm['name']}: {alarm['message']}", colour="red")
    if report["rolled_back_to"] is not None:
        say(f"rolled back to release {report['rolled_back_to']}")
    if not report["alarms"]:
        say("no alarm")


def show_release(manifest: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a new release with its measured recall."""
    if as_json:
        say_json({key: value for key, value in manifest.items() if key != "files"})
        return
    show_plans(list(manifest["plans"].values()), as_json=False)
    table = DataTable("vector_name", "query", "domain", "queries", "recall@10")
    for row in manifest["recall"]:
        table.add_row(
            row["vector_name"],
            row["kind"],
            row["domain"],
            str(row["queries"]),
            f"{row['recall']:.4f}",
        )
    print_table(table)
    for name, vector in manifest["named_vectors"].items():
        say(f"{name}: {_describe_vector(vector)}")
    say(f"release {manifest['number']} is current: {manifest['rows']:,} items")


def show_plans(plans: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what each recipe was measured to do, and why it lost."""
    if as_json:
        say_json(plans)
        return
    for plan in plans:
        say(
            f"{plan['vector_name']}: {plan['rows']:,} vectors, measured on {plan['sampled']:,}, "
            f"{plan['threads']} threads in batches"
            + (f"; figures for {plan['rows']:,} are extrapolated" if plan["extrapolated"] else "")
        )
        kinds = list(plan["table"][0]["sample"]["recall"])
        table = DataTable(
            "recipe", "parameters", *kinds, "p50 ms", "p99 ms", "queries/s", "bytes", "build s", ""
        )
        for row in plan["table"]:
            had, parameters = row["expected"], row["sample"]["parameters"]
            table.add_row(
                row["recipe"],
                " ".join(f"{name} {value}" for name, value in parameters.items() if value),
                *(f"{row['sample']['recall'].get(kind, 1.0):.3f}" for kind in kinds),
                *(f"{had['p50_ms']:.2f}", f"{had['p99_ms']:.2f}", f"{had['queries_per_s']:,.0f}"),
                *(f"{had['bytes_per_vector']:,.0f}", f"{had['build_s']:,.1f}"),
                row["verdict"] + (" (built)" if row["built"] else ""),
            )
        print_table(table)


def show_dims(measured: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what the first values of vectors find, and cost."""
    if as_json:
        say_json(measured)
        return
    table = DataTable("vector", "values", "of", "recall@10", "bytes", "p50 ms", "sample")
    for row in measured:
        table.add_row(
            row["vector_name"],
            *(str(row["dim"]), str(row["full_dim"]), f"{row['recall']:.3f}"),
            *(f"{row['bytes_per_vector']:,}", f"{row['p50_ms']:.2f}", f"{row['sampled']:,}"),
        )
    print_table(table)


def _describe_vector(vector: Mapping[str, Any]) -> str:
    said = f"{vector['vectors']:,} vectors of {vector['dim']}, {vector['recipe']}"
    if vector["p50_ms"] is None:
        return said
    parameters = " ".join(
        f"{name} {value}" for name, value in vector["parameters"].items() if value
    )
    return (
        f"{said} ({parameters}), {vector['bytes_per_vector']:,.0f} bytes a vector, "
        f"p50 {vector['p50_ms']:.2f} ms, p99 {vector['p99_ms']:.2f} ms, built in "
        f"{vector['build_s']:,.1f} s"
    )


def show_releases(
    manifests: Sequence[Mapping[str, Any]], current: int | None, *, as_json: bool
) -> None:
    """Print the kept releases."""
    rows = [{**manifest, "current": manifest["number"] == current} for manifest in manifests]
    if as_json:
        say_json(rows)
        return
    table = DataTable("release", "made", "items", "worst recall@10", "state", "privacy")
    for row in rows:
        worst = min((r["recall"] for r in row["recall"]), default=1.0)
        state = "current" if row["current"] else "" if row["accepted"] else "rejected"
        privacy = "" if row["privacy"] is None else privacy_in_words(row["privacy"])
        table.add_row(
            str(row["number"]), row["created"], f"{row['rows']:,}", f"{worst:.4f}", state, privacy
        )
    print_table(table)


def privacy_in_words(guarantee: Mapping[str, Any]) -> str:
    """Return epsilon, delta and unit of a guarantee."""
    epsilon, delta = guarantee["epsilon"], guarantee["delta"]
    return f"epsilon {epsilon:g}, delta {delta:g} ({guarantee['unit']})"


def show_left_out(problems: Sequence[str]) -> None:
    """Print on stderr what could not be used, the first of it where there is much."""
    for problem in problems[:MOST_PROBLEMS]:
        say(problem, err=True)
    if len(problems) > MOST_PROBLEMS:
        say(f"and {len(problems) - MOST_PROBLEMS:,} more", err=True)


def _show_notes(notes: Sequence[str]) -> None:
    """Print on stderr what was found out about an input."""
    show_left_out([f"note: {note}" for note in notes])


def _show_separate(named_vectors: Mapping[str, Any]) -> None:
    """Print that modalities cannot be compared, and the command that aligns them."""
    meeting = [{"text", "image"} & {*vector["modalities"]} for vector in named_vectors.values()]
    apart = sum(map(bool, meeting)) == 2
    remedy = f"; bring text and pictures together with: {command('align')}" if apart else ""
    say(
        f"{' and '.join(named_vectors)} are separate named vectors: each "
        "finds items by what they have of its "
        f"own kind{remedy}"
    )


def show_stats(stats: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the description of a space."""
    if as_json:
        say_json(stats)
        return
    table = DataTable("", str(stats["path"]))
    for name, value in stats.items():
        if name == "path":
            continue
        shown = value
        if isinstance(value, Mapping):
            shown = "\n".join(f"{key}: {_flat(item)}" for key, item in value.items())
        table.add_row(name, "-" if shown is None else str(shown))
    print_table(table)
    if stats["encoders"] and not stats["aligned"]:
        _show_separate(stats["named_vectors"])
    if not stats["named_vectors"]:
        bring = command("upsert FILES --vector COLUMN")
        say(f"the space has no vectors yet; its first items bring them, with: {bring}")
    for line in stats["damage"]:
        say(line)
    for name, health in (stats["index"] or {}).items():
        if health["retrain"]:
            say(
                f"retrain {name}: {health['retrain']}; its recall@10 is "
                f"{health['current_recall']:.3f} now: {command('publish --retrain')}"
            )
    for records in (stats["second_stage"] or {}).values():
        if records["missing"]:
            say(
                f"{records['missing']:,} items are unknown to {records['model']}: "
                f"{command(shlex.join(['precompute', records['model']]))}"
            )
    if stats["delta"]:
        say(f"{stats['delta']:,} items are newer than the index; fold in: {command('publish')}")
    recommender = stats["recommender"]
    if recommender is not None and recommender["unseen_items"] + recommender["unseen_events"]:
        say(
            f"the recommender was trained {recommender['age_days']:g} days ago; since then came "
            f"{recommender['unseen_items']:,} items and {recommender['unseen_events']:,} events: "
            f"{command('train')}, then: {command('publish')}"
        )
    if recommender is not None:
        _say_deleted(recommender["deleted_events"])
        if recommender["privacy"] is not None:
            say(f"the recommender is private: {privacy_in_words(recommender['privacy'])}")


def _say_deleted(events: int) -> None:
    """Say that the recommender learned from events that have been deleted since, if it did."""
    if events:
        say(
            f"the recommender learned from {events:,} events that have been deleted since, such as "
            f"those of forgotten users; so that it forgets them: {command('train')}, then: "
            f"{command('publish')}"
        )


def show_item(item: Mapping[str, Any]) -> None:
    """Print one item."""
    table = DataTable("", str(item["item_id"]))
    for name, value in {**item, **item["attributes"]}.items():
        if name not in ("item_id", "attributes") and value is not None:
            table.add_row(name, _flat(value))
    print_table(table)


def show_hits(
    space: Space,
    query: str,
    picture: str | Path | None,
    hits: Hits,
    sheet: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print hits, and draw them where a sheet is asked for."""
    from isthmus.retrieval.search.contact_sheet import SheetRow, draw_contact_sheet

    if sheet is not None:
        row = SheetRow(query, None if picture is None else str(picture), tuple(hits))
        draw_contact_sheet([row], space.media).save(sheet)
    if as_json:
        say_json(hits.as_dict())
        return
    links = [hit.link or "" for hit in hits]
    reasons = [hit.reason or "" for hit in hits]
    rules = [hit.rule or "" for hit in hits]
    columns = (("rule", rules), ("reason", reasons), ("link", links))
    more = {name: column for name, column in columns if any(column)}
    table = DataTable("rank", "score", "item", "domain", "title", *more)
    for at, hit in enumerate(hits):
        cells = (str(hit.rank), f"{hit.score:.4f}", hit.item_id, hit.domain, hit.title)
        table.add_row(*cells, *(column[at] for column in more.values()))
    print_table(table)
    if hits.cursor is not None:
        say(f"more with: --offset {hits[-1].rank}")


def show_groups(groups: Groups, *, as_json: bool) -> None:
    """Print groups of hits."""
    if as_json:
        say_json(groups.as_dict())
        return
    _print_lists("group", [(_flat(group.value), group.hits) for group in groups])


def show_rows(rows: Rows, *, as_json: bool) -> None:
    """Print the rows of a page."""
    if as_json:
        say_json(rows.as_dict())
        return
    _print_lists("row", [(row.title, row.hits) for row in rows])


def _print_lists(kind: str, lists: Sequence[tuple[str, Sequence[Hit]]]) -> None:
    """Print lists of hits as one table, each line with the title of its list."""
    table = DataTable(kind, "rank", "score", "item", "domain", "title")
    for title, hits in lists:
        for hit in hits:
            score = f"{hit.score:.4f}"
            table.add_row(title, str(hit.rank), score, hit.item_id, hit.domain, hit.title)
    print_table(table)


def show_ranked_users(users: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print ranked users."""
    if as_json:
        say_json(users)
        return
    table = DataTable("rank", "score", "user")
    for row in users:
        table.add_row(str(row["rank"]), f"{row['score']:.4f}", row["user_id"])
    print_table(table)


def show_facets(facets: Mapping[str, Sequence[Mapping[str, Any]]], *, as_json: bool) -> None:
    """Print how many items have each value."""
    if as_json:
        say_json(facets)
        return
    table = DataTable("attribute", "value", "items")
    for name, values in facets.items():
        for row in values:
            table.add_row(name, _flat(row["value"]), f"{row['count']:,}")
    print_table(table)


def show_recommendations(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print logged recommendations, a line each."""
    table = DataTable("time", "recommendation", "user", "release", "scenario", "arm", "items")
    for row in rows:
        cells = (row["recommendation_id"], row["user_id"], row["release"], row["scenario"])
        when = f"{row['time']:%Y-%m-%d %H:%M:%S}"
        texts = ["" if cell is None else str(cell) for cell in (*cells, row["arm"])]
        table.add_row(when, *texts, " ".join(row["item_id"]))
    print_table(table)


def show_predictions(item_ids: Sequence[str], ratings: Sequence[float], *, as_json: bool) -> None:
    """Print the predicted rating of each item."""
    if as_json:
        rows = zip(item_ids, ratings, strict=True)
        say_json([{"item_id": item_id, "rating": rating} for item_id, rating in rows])
        return
    table = DataTable("item", "rating")
    for item_id, rating in zip(item_ids, ratings, strict=True):
        table.add_row(item_id, f"{rating:.2f}")
    print_table(table)


def show_query_report(report: QueryFileReport, out: Path, *, as_json: bool) -> None:
    """Print what a file of queries came to, and warn of queries that were left out."""
    _show_left_out(report.problems)
    if report.problems:
        left_out = f"warning: {len(report.problems):,} of {report.queries:,} queries left out"
        say(left_out, err=True, colour="yellow")
    values = {**report.as_dict(), "out": str(out)}
    if not as_json:
        del values["problems"]
    show_line(values, as_json=as_json)


def show_duplicates(table: pa.Table, out: Path | None, *, as_json: bool) -> None:
    """Print groups of duplicates: all as JSON, where they were written, or the first in a table."""
    groups = table.column("group")[-1].as_py() if len(table) else 0
    counts = {"groups": groups, "items": len(table)}
    if out is not None:
        show_line({**counts, "out": str(out)}, as_json=as_json)
        return
    if as_json:
        say_json(table.to_pylist())
        return
    shown = DataTable("group", "item", "domain", "score", "closest")
    for row in table.slice(0, MOST_MEMBERS).to_pylist():
        shown.add_row(
            str(row["group"]),
            row["item_id"],
            row["domain"],
            f"{row['score']:.4f}",
            f"{row['closest']:.4f}",
        )
    print_table(shown)
    if len(table) > MOST_MEMBERS:
        say(f"these are the first {MOST_MEMBERS} items; get all with --out or --json")
    show_line(counts, as_json=False)


def show_quarantine(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what could not be embedded."""
    if as_json:
        say_json(rows)
        return
    table = DataTable("item", "domain", "modality", "attempts", "reason")
    for row in rows:
        table.add_row(
            row["item_id"], row["domain"], row["modality"], str(row["attempts"]), row["reason"]
        )
    print_table(table)
    if rows:
        say(f"mend the files, then: {command('retry-quarantine')}")


def show_attributes(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print the attributes of each domain."""
    if as_json:
        say_json(rows)
        return
    table = DataTable("domain", "attribute", "type", "filled", "examples")
    for row in rows:
        examples = ", ".join(shortened(str(value), MAX_EXAMPLE) for value in row["examples"])
        filled = f"{row['filled']:.0%}"
        table.add_row(row["domain"], row["attribute"], row["type"], filled, examples)
    print_table(table)


def show_user_attributes(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print the attributes of users."""
    if as_json:
        say_json(rows)
        return
    table = DataTable("attribute", "type", "filled", "examples")
    for row in rows:
        examples = ", ".join(shortened(str(value), MAX_EXAMPLE) for value in row["examples"])
        table.add_row(row["attribute"], row["type"], f"{row['filled']:.0%}", examples)
    print_table(table)


def show_users(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print users with their attributes."""
    if as_json:
        say_json(rows)
        return
    for row in rows:
        known = {name: value for name, value in row.items() if value is not None}
        say("  ".join(f"{name} {value}" for name, value in known.items()))


def _show_left_out(problems: Sequence[object]) -> None:
    """Print the first rows that were left out, and why."""
    for problem in problems[:MOST_PROBLEMS]:
        say(f"left out {problem}", err=True)


def show_user_report(report: UserReport, *, as_json: bool) -> None:
    """Print what adding users did."""
    if as_json:
        say_json(report.as_dict())
        return
    _show_left_out(report.problems)
    say(
        f"{report.rows_read:,} rows read: {report.added:,} users added, {report.changed:,} "
        f"changed, {report.unchanged:,} unchanged, {report.invalid:,} invalid; "
        f"{report.seconds:.1f} s"
    )
    _show_notes(report.notes)


def show_interaction_report(report: InteractionReport, *, as_json: bool) -> None:
    """Print what adding interactions did, and which items they wait for."""
    if as_json:
        say_json(report.as_dict())
        return
    _show_left_out(report.problems)
    say(
        f"{report.rows_read:,} rows read: {report.added:,} added, {report.unchanged:,} "
        f"unchanged, {report.repeated:,} exact repeats left out, {report.invalid:,} "
        f"invalid; {report.users:,} users; {report.seconds:.1f} s"
    )
    _show_notes(report.notes)
    unknown = report.unknown_items
    if unknown.items:
        more = ", …" if unknown.items > len(unknown.examples) else ""
        say(
            f"{unknown.interactions:,} interactions wait for {unknown.items:,} items that the "
            f"space does not hold ({', '.join(unknown.examples)}{more}); they count once the "
            "items are added"
        )


def show_events(summary: EventSummary, *, as_json: bool) -> None:
    """Print how a training uses events."""
    if as_json:
        say_json(summary.as_dict())
        return
    table = DataTable("event", "events", "positive", "seen", "disliked", "weight", "positive from")
    for kind in summary.kinds:
        threshold = kind.rule.positive_from
        table.add_row(
            kind.event,
            *(f"{n:,}" for n in (kind.events, kind.positive, kind.seen, kind.disliked)),
            f"{kind.rule.weight:.3g}",
            "-" if threshold is None else f"{threshold:g}",
        )
    print_table(table)
    say(summary.describe())


def show_interactions(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print interactions, and which of them wait for their item."""
    if as_json:
        say_json(rows)
        return
    table = DataTable("time", "item", "event", "value", "weight", "")
    for row in rows:
        when = "" if row["time"] is None else row["time"].isoformat(" ", "seconds")
        waits = "waits for its item" if row["waits"] else ""
        figures = ("-" if row["value"] is None else f"{row['value']:g}", f"{row['weight']:g}")
        table.add_row(when, row["item_id"], row["event"], *figures, waits)
    print_table(table)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
