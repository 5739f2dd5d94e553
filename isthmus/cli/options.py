"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
HubnessOption = Annotated[
    float,
    typer.Option(help="From 0 to 1 (CSLS): demote items that are near to queries of every sort."),
]
WeightOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weight", metavar="MODALITY=N", help="Weight of a modality, as image=2; repeat it."
    ),
]
CenterOption = Annotated[
    bool,
    typer.Option("--center", help="Take off what the query scores on average in each domain."),
]
SheetOption = Annotated[Path | None, typer.Option("--sheet", help="Also draw the result, a PNG.")]
PositiveFromOption = Annotated[
    float | None,
    typer.Option(
        "--positive-from", help="Least value that counts as liked; default: 0.8 of the largest."
    ),
]
AlignmentOption = Annotated[
    str,
    typer.Option(
        "--alignment",
        metavar="FOLDER",
        help="What lets text and pictures of different encoders find each other: a folder, auto "
        "(one that fits), or none.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or all (GPUs).")
]
ModelDeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
WaitOption = Annotated[float, typer.Option("--wait", help="Seconds to wait for another writer.")]
RecallOption = Annotated[
    float | None, typer.Option(help="Recall@10 to reach, in place of the space's.")
]
LatencyOption = Annotated[
    float | None, typer.Option("--latency-ms", help="Largest p99 of a single query, in ms.")
]
MemoryOption = Annotated[
    str | None, typer.Option("--memory", help="Largest size of a vector index, such as 4GiB.")
]
