"""Print the reports of trainings and migrations, as tables for people or JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from isthmus.cli.options import command
from isthmus.cli.show import privacy_in_words, show_left_out
from isthmus.terminal import DataTable, print_table, say, say_json

if TYPE_CHECKING:
    from isthmus.encoders.training.distillation.report import DistillReport
    from isthmus.encoders.training.finetuning.report import FinetuneReport
    from isthmus.integrations.enrich import EnrichReport
    from isthmus.numerics.statistics import Estimate
    from isthmus.operations.alignment import AlignReport
    from isthmus.operations.fusion_weights import WeightsReport
    from isthmus.operations.reembedding import ReembedReport
    from isthmus.privacy.guarantee import Guarantee
    from isthmus.retrieval.ranker.distillation_report import RankerDistillation
    from isthmus.retrieval.ranker.situation_report import SituationReport
    from isthmus.retrieval.recommend.store import Description
    from isthmus.retrieval.search.fusion_weights import FusionReport
    from isthmus.retrieval.search.results import Hit
    from isthmus.retrieval.source_domains.assessment import SourceDomain, SourceReport
    from isthmus.retrieval.source_domains.lift import Gain

MIB = 2**20
MOST_REASONS = 3


def show_alignment(report: AlignReport, *, as_json: bool) -> None:
    """Print a report."""
    if as_json:
        say_json(asdict(report))
        return
    show_left_out([f"left out {problem}" for problem in report.problems])
    table = DataTable(
        "set", "pairs", "method", "text to image", "chance", "image to text", "chance"
    )
    for name, count in report.pairs.items():
        for method, sets in report.recall.items():
            if name in sets:
                recall = sets[name]
                table.add_row(
                    name,
                    f"{count:,}",
                    method,
                    f"{recall['text_to_image']:.3f}",
                    f"{recall['chance_text_to_image']:.3f}",
                    f"{recall['image_to_text']:.3f}",
                    f"{recall['chance_image_to_text']:.3f}",
                )
    print_table(table)
    encoded = ", ".join(f"{n:,} {modality}" for modality, n in report.encoded.items()) or "nothing"
    say(
        f"alignment {report.fingerprint}, recall@10 on {report.held_out:,} pairs held out; "
        f"encoded {encoded}; {sum(report.seconds.values()):.1f} s"
    )
    if report.release is not None:
        say(f"release {report.release} is current")


def show_enrichment(report: EnrichReport, *, as_json: bool) -> None:
    """Print what a chat model wrote, or would be asked for."""
    if as_json:
        say_json(report.as_dict())
        return
    show_left_out([f"not written: {item}: {why}" for item, why in report.failed.items()])
    asked = report.items - report.cached
    if report.dry_run:
        say(
            f"dry run, nothing is asked. {report.items:,} items, {report.cached:,} of them with an "
            f"answer; the other {asked:,} take at most {report.estimated_tokens:,} tokens"
        )
        return
    say(
        f"{report.items:,} items: {report.written:,} written, {report.cached:,} of them from "
        f"answers that were there; {len(report.failed):,} without a proper answer; "
        f"{report.left:,} left for another run; {report.used_tokens:,} tokens used"
    )


def show_reembedding(report: ReembedReport, *, as_json: bool) -> None:
    """Print what a move to other encoders did."""
    if as_json:
        say_json(asdict(report))
        return
    if report.fingerprint == report.former:
        say(f"the space has these encoders: {', '.join(dict.fromkeys(report.encoders.values()))}")
    else:
        say(f"encoder stack {report.former} became {report.fingerprint}")
    encoded = (
        ", ".join(f"{count:,} {modality}" for modality, count in report.encoded.items())
        or "nothing"
    )
    say(
        f"encoded {encoded}; {report.taken_up:,} items taken up that changed meanwhile; "
        f"{report.quarantined:,} in quarantine; {report.seconds:.1f} s"
    )
    if report.alignment == "lost":
        say(
            "the alignment was learned for the former encoders and is gone: text finds no "
            f"pictures until it is learned anew with: {command('align')}"
        )
    if report.recommender_dropped:
        then = f"{command('train')}, then: {command('publish')}"
        say(f"the recommender was left behind; train anew: {then}")
    if report.release is not None:
        say(f"release {report.release} is current; whoever has the space open opens it anew")


def show_weights(
    weights: Mapping[str, float], report: WeightsReport | None, *, as_json: bool
) -> None:
    """Print the weights of a space, and what a change of them came to."""
    if as_json:
        say_json({"weights": dict(weights)} if report is None else asdict(report))
        return
    for modality, weight in weights.items():
        before = "" if report is None else f" (was {report.former[modality]:g})"
        say(f"{modality} {weight:g}{before}")
    if report is not None and report.vector_names:
        say(f"made anew out of the embedding caches: named vector {', '.join(report.vector_names)}")
    if report is not None and report.release is not None:
        say(f"release {report.release} is current")


def show_fusion(report: FusionReport, *, as_json: bool) -> None:
    """Print learned fusion beside fixed weights."""
    if as_json:
        say_json(asdict(report))
        return
    show_left_out([f"left out: {problem}" for problem in report.problems])
    for kind, found in report.ndcg.items():
        table = DataTable(kind, "NDCG@10", "over fixed [95 %]")
        gain = report.gain[kind]
        shown = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        for name, value in found.items():
            table.add_row(name, f"{value:.4f}", shown if name == "learned" else "")
        print_table(table)
        say(
            f"{report.queries[kind]:,} queries learned from, {report.held_out[kind]:,} held out; "
            f"from now on: {report.chosen[kind]}"
        )
        if kind in report.factors:
            shown = ", ".join(f"{n} x {value:.2f}" for n, value in report.factors[kind].items())
            say(f"weights of the space, {shown}")


def show_distillation(report: DistillReport, *, as_json: bool) -> None:
    """Print the student beside its teacher."""
    if as_json:
        say_json(report.as_dict())
        return
    show_left_out([f"left out row {row}: {what}" for row, what in report.problems])
    _show_table(report)
    quality, speed = report.quality, report.speed
    say(
        f"{report.rows_read:,} rows read, {len(report.problems):,} left out, "
        f"{report.distinct:,} distinct; {report.trained:,} trained on, "
        f"{quality.held_out:,} held out; {report.seconds:.0f} s"
    )
    say(f"speed on {speed.contents:,} of those held out, {speed.device}, {speed.threads} threads")
    say(f"open it with: load_encoder({report.student!r})")


def _show_table(report: DistillReport) -> None:
    quality, speed = report.quality, report.speed
    table = DataTable("", "teacher", "student", "ratio")
    name = "texts" if report.modality == "text" else "images"
    table.add_row(
        f"{name} a second", f"{speed.teacher:,.0f}", f"{speed.student:,.0f}", f"{speed.ratio:.1f}"
    )
    teacher_bytes = report.teacher_bytes
    table.add_row(
        "size, MiB",
        f"{teacher_bytes / MIB:.1f}" if teacher_bytes else "-",
        f"{report.student_bytes / MIB:.1f}",
        f"1 / {report.size_ratio:.1f}" if report.size_ratio else "-",
    )
    table.add_row("recall@10 of the teacher's", "1", f"{quality.recall_kept:.4f}", "")
    table.add_row("similarity of what is found", "1", f"{quality.similarity_kept:.4f}", "")
    if quality.ndcg_teacher is not None and quality.ndcg_student is not None:
        table.add_row(
            "NDCG@10 of the same label",
            f"{quality.ndcg_teacher:.4f}",
            f"{quality.ndcg_student:.4f}",
            f"{quality.ndcg_kept:.4f}",
        )
    found = report.recommendation
    if found is not None:
        table.add_row(
            f"NDCG@10 of new items, {found.users:,} users",
            f"{found.ndcg_teacher:.4f}",
            f"{found.ndcg_student:.4f}",
            f"{found.ndcg_kept:.4f}" if found.ndcg_kept is not None else "-",
        )
    print_table(table)


def show_finetuning(report: FinetuneReport, *, as_json: bool) -> None:
    """Print the encoder before and after, in the target and in other domains."""
    if as_json:
        say_json(report.as_dict())
        return
    show_left_out([f"left out row {row}: {what}" for row, what in report.problems])
    _show_shares(report)
    _show_comparisons(report)
    frozen = "; frozen layers run once" if report.skipped_frozen else ""
    say(
        f"{report.pairs:,} pairs of {report.contents:,} contents: "
        f"{report.training_pairs:,} trained on, {report.validation_pairs:,} validated on, "
        f"{report.test_pairs:,} tested on; {report.anchors:,} anchor texts of other domains; "
        f"{report.trained_weights:,} weights trained{frozen}; "
        f"best epoch {report.best_epoch} of {len(report.losses)}; {report.seconds:.0f} s"
    )
    if not report.share:
        say("nothing of the change was taken: no share of it gains and forgets little")
    say(f"open it with: load_encoder({report.after!r})")


def _show_shares(report: FinetuneReport) -> None:
    names = list(report.shares[0].kept)
    table = DataTable("share of the change", "NDCG@10 target", *(f"{name} kept" for name in names))
    for one in report.shares:
        taken = " (taken)" if one.share == report.share else ""
        table.add_row(
            f"{one.share:g}{taken}",
            f"{one.target:.4f}",
            *(f"{one.kept[name]:.4f}" for name in names),
        )
    print_table(table)


def _show_comparisons(report: FinetuneReport) -> None:
    table = DataTable(
        "held out", "by", "queries", "searched", "NDCG@10 before", "after", "recall@10 before",
        "after", "NDCG after / before",
    )  # fmt: skip
    for one in report.comparisons:
        table.add_row(
            one.name,
            one.measure,
            f"{one.queries:,}",
            f"{one.searched:,}",
            _interval(one.ndcg_before),
            _interval(one.ndcg_after),
            f"{one.recall_before.value:.4f}",
            f"{one.recall_after.value:.4f}",
            _interval(one.ratio),
        )
    print_table(table)


def _interval(figure: Estimate) -> str:
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"


def show_training(made: Description, *, as_json: bool) -> None:
    """Print each ranker beside its candidate generators, and what these cover."""
    from isthmus.retrieval.source_domains.assessment import describe_lift

    if as_json:
        say_json(made.model_dump())
        return
    if made.privacy is not None:
        _show_guarantee(made.privacy)
    for domain, report in made.reports.items():
        if report.situations:
            say("", f"{domain}: NDCG@10 of simulated users, {report.seconds:.0f} s")
            _show_situations(report.situations)
        for name, reason in report.left_out.items():
            say(f"warning: candidate generator {name!r} is left out: {reason}", err=True,
                colour="yellow")  # fmt: skip
        for name, lift in report.lifts.items():
            say(describe_lift(name, lift))
        if report.tuning is not None:
            found = [f"{key} {_plain(value)}" for key, value in report.tuning.best.items()]
            say(f"best of {len(report.tuning.trials)} settings: {', '.join(found)}")
        if report.distillation is not None:
            _show_ranker_distillation(report.distillation)
    for loss in made.shortfalls():
        say(f"warning: {loss}; publish will refuse it", err=True, colour="yellow")
    stages = sorted(made.stages.items(), key=lambda stage: -stage[1])
    times = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages if seconds >= 0.1)
    say(f"processor time in seconds: {times}")
    say(f"trained in {made.seconds:.0f} s; make it current with: {command('publish')}")


def _show_situations(situations: Mapping[str, SituationReport]) -> None:
    """Print the ranker of each situation beside the candidate generators."""
    from isthmus.retrieval.candidates.situations import DESCRIPTIONS

    table = DataTable("situation", "users", "model", "NDCG@10", "best generator alone", "gain",
                      "95 %", "candidates cover", "calibration error")  # fmt: skip
    for name, outcome in situations.items():
        best = outcome.generators[outcome.best]
        table.add_row(
            DESCRIPTIONS[name],
            f"{outcome.users:,}",
            outcome.model,
            f"{outcome.ranker:.4f}",
            f"{best:.4f} {outcome.best}",
            f"{outcome.ranker - best:+.4f}",
            f"{outcome.low:+.4f} to {outcome.high:+.4f}",
            f"{outcome.coverage['union']:.3f}",
            f"{outcome.calibration_error:.3f}",
        )
    print_table(table)


def _show_guarantee(guarantee: Guarantee) -> None:
    """Print what a private training promises, and what it does not."""
    say(
        f"private: {privacy_in_words(guarantee.model_dump())}; the space has spent epsilon "
        f"{guarantee.spent_epsilon:.3g} by now"
    )
    for what in guarantee.not_covered:
        say(f"not covered: {what}")


def _show_ranker_distillation(distillation: RankerDistillation) -> None:
    """Print the distilled ranker beside its teacher."""
    table = DataTable("ranker", "NDCG@10", "recall@200", "parameters", "ms a user")
    for name, quality in (
        ("teacher", distillation.teacher),
        ("distilled, kept", distillation.student),
    ):
        table.add_row(
            name,
            f"{quality.ndcg:.4f}",
            f"{quality.recall:.4f}",
            f"{quality.parameters:,}",
            f"{quality.milliseconds:.2f}",
        )
    print_table(table)
    difference = distillation.student.ndcg - distillation.teacher.ndcg
    say(
        f"{distillation.users:,} users; NDCG@10 {difference:+.4f} "
        f"[{distillation.low:+.4f}, {distillation.high:+.4f}], "
        f"{distillation.speed_ratio:.1f} times as fast, "
        f"1 / {distillation.size_ratio:.1f} of the size"
    )


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def show_reasons(hits: Sequence[Hit]) -> None:
    """Print why each hit is there."""
    for hit in hits:
        if hit.explanation is not None:
            say(f'{hit.rank}. "{hit.title}" {hit.explanation.describe(MOST_REASONS)}')
    table = DataTable("item", "popularity", "personal", "because of", "contents", "found by")
    for hit in hits:
        explanation = hit.explanation
        if explanation is None:
            continue
        history = [r for r in explanation.history if r.gain > 0][:MOST_REASONS]
        generators = [r for r in explanation.generators if r.rank][:MOST_REASONS]
        table.add_row(
            hit.item_id,
            f"{explanation.popularity:.2f}",
            f"{explanation.personal:+.2f}",
            ", ".join(f"{r.item_id} ({r.gain:+.2f})" for r in history) or "-",
            ", ".join(f"{r.name} ({r.gain:+.2f})" for r in explanation.contents) or "-",
            ", ".join(f"{r.name} (rank {r.rank})" for r in generators) or "-",
        )
    print_table(table)


def show_source_domains(report: SourceReport, *, as_json: bool) -> None:
    """Print what was measured of each source, in a table and in words, and what was counted."""
    from isthmus.retrieval.source_domains.assessment import describe_lift

    if as_json:
        say_json(report.model_dump())
        return
    quality = report.quality
    say(
        f"sources for {report.target} ({quality.items:,} items, {quality.users:,} users, "
        f"{quality.interactions:,} interactions), best first; {report.seconds:.0f} s"
    )
    counted = DataTable("domain", "items", "users", "interactions", "density", "recent",
                       "shared users", "of target", "content distance")  # fmt: skip
    for source in report.sources:
        counted.add_row(source.domain, *_counted(source))
    print_table(counted)
    lifts = {source.domain: source.lift for source in report.sources if source.lift is not None}
    if not lifts:
        return
    measured = DataTable("domain", "verdict", "cold users", "NDCG@10 gain", "95 %",
                        "recall@200 gain", "95 %")  # fmt: skip
    for domain, lift in lifts.items():
        gains = (*_gain(lift.ndcg), *_gain(lift.recall))
        measured.add_row(domain, lift.verdict, f"{lift.users:,}", *gains)
    print_table(measured)
    for domain, lift in lifts.items():
        say(describe_lift(domain, lift))


def _gain(gain: Gain | None) -> tuple[str, str]:
    if gain is None:
        return "-", "-"
    return f"{gain.difference:+.4f}", f"{gain.low:+.4f} to {gain.high:+.4f}"


def _counted(source: SourceDomain) -> tuple[str, ...]:
    quality, near = source.quality, source.relatedness
    return (
        f"{quality.items:,}",
        f"{quality.users:,}",
        f"{quality.interactions:,}",
        f"{quality.density:.2g}",
        "-" if quality.recent is None else f"{quality.recent:.2f}",
        f"{near.shared_users:,}",
        f"{near.of_target:.2f}",
        "-" if near.content_distance is None else f"{near.content_distance:.3f}",
    )
