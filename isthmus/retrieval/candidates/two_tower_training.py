"""Fitting the two towers, and what they make of users and items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.numerics.negative_sampling import sampled_softmax
from isthmus.numerics.training import Clipping, TrainingLoop, Validation
from isthmus.retrieval.candidates.domain_adaptation import (
    coral_loss,
    domain_loss,
    make_critic,
    mmd_loss,
)
from isthmus.retrieval.candidates.feature_projection import FeatureProjection
from isthmus.retrieval.candidates.scorer import DotProductIndex, DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.two_tower_network import (
    FEW,
    ItemTower,
    TwoTowerNetwork,
    TwoTowerShape,
    UserTower,
)
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from isthmus.retrieval.candidates.two_tower import TwoTower
from collections.abc import Iterator

from isthmus.numerics.sparse import rank_in_rows

LARGEST_HISTORY = 100
MOST_LABELS = 20
SHOWN = (0, 0, 0, 1, 3, 5)

HELD_OUT = 500
DEPTH = 200
ITEMS_AT_ONCE = 100_000


def fit_towers(
    settings: TwoTower, corpus: TrainingData, space: FeatureProjection
) -> tuple[TwoTowerNetwork, FloatArray]:
    """Train both towers, and give them with the vectors of all items."""
    fitting = _Fitting(settings, corpus, space)
    fitting.model.train()
    TrainingLoop(
        fitting.loss,
        fitting.batches,
        fitting.optimizer,
        settings.epochs,
        clipping=Clipping(list(fitting.model.parameters())),
        model=fitting.model,
        validation=Validation(
            fitting.validate, settings.patience, min_improvement=FEW, untrained=False
        ),
    ).run("training the two towers")
    fitting.model.eval().to("cpu")
    return fitting.model, embed_items(fitting.model, space, corpus, np.arange(len(corpus)))


def embed_items(
    model: TwoTowerNetwork, space: FeatureProjection, corpus: TrainingData, columns: Columns
) -> FloatArray:
    """Give the vectors of items that may be offered, shape (len(columns), dim + 1)."""
    parts = [np.empty((0, model.asked.embedding_dim + 1), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(columns), ITEMS_AT_ONCE):
            part = columns[start : start + ITEMS_AT_ONCE]
            vectors, bias = _offered(model, space, corpus, part)
            parts.append(torch.cat([vectors, bias[:, None]], 1).numpy())
    return np.concatenate(parts)


def embed_users(
    model: TwoTowerNetwork,
    space: FeatureProjection,
    corpus: TrainingData,
    histories: UserHistories,
    target: int,
) -> FloatArray:
    """Give the vectors of users who ask for a domain, shape (n_users, dim)."""
    columns = histories.columns
    contents = space.transform(corpus.features, corpus.domains, columns)
    return UserTower(model).vectors(contents, corpus.domains[columns], histories, target)


def model_of(settings: TwoTower, weights: Mapping[str, npt.NDArray[Any]]) -> TwoTowerNetwork:
    """Make the towers of their weights."""
    items, dim = weights["known.residual.weight"].shape
    shape = TwoTowerShape(
        content=weights["known.adapter.0.weight"].shape[1],
        items=items,
        domains=len(weights["asked.weight"]),
        dim=dim,
    )
    model = TwoTowerNetwork(shape, settings.dropout)
    model.load_state_dict({key: torch.from_numpy(np.array(own)) for key, own in weights.items()})
    return model.eval()


@dataclass(frozen=True)
class _Residuals:
    """Which items have residuals that count: those that somebody used, and of them a share."""

    used: Tensor
    dropped: float

    def kept(self, items: Tensor, generator: torch.Generator) -> Tensor:
        chance = torch.rand(len(items), generator=generator) >= self.dropped
        return self.used[items] & chance


class _Fitting:
    """The state of one training."""

    def __init__(self, settings: TwoTower, corpus: TrainingData, space: FeatureProjection) -> None:
        self.settings, self.corpus, self.space = settings, corpus, space
        torch.manual_seed(settings.seed)
        self.rng = np.random.default_rng(settings.seed)
        self.generator = torch.Generator().manual_seed(settings.seed)
        shape = TwoTowerShape(space.width, len(corpus), len(corpus.domain_names), settings.dim)
        self.model = TwoTowerNetwork(shape, settings.dropout)
        popular = torch.from_numpy(np.log(corpus.popularity + 0.5)).float()
        self.model.bias.weight.data[:] = (popular - popular.mean())[:, None]
        self.model.used[:] = torch.from_numpy(corpus.popularity > 0)
        self.contents = torch.from_numpy(
            space.transform(corpus.features, corpus.domains, np.arange(len(corpus)))
        )
        self.domains = torch.tensor(corpus.domains)
        self.critic = make_critic(settings.dim, len(corpus.domain_names))
        parameters = [*self.model.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=settings.rate, weight_decay=settings.decay
        )
        self.draws = Draw(corpus, settings.against)
        self._split()

    def _split(self) -> None:
        everybody = UserHistories.from_interactions(self.corpus.interactions)
        everybody = everybody.filter(everybody.weights > 0)
        order = self.rng.permutation(len(everybody))
        held = min(HELD_OUT, len(order) // 10)
        self.learned = everybody.take_users(np.sort(order[held:]))
        rng = np.random.default_rng(self.settings.seed + 1)
        self.exam = list(
            lessons(self.corpus, everybody.take_users(np.sort(order[:held])), HELD_OUT, rng)
        )

    def batches(self, epoch: int) -> Iterator[Lesson]:
        """Return the batches of an epoch; those without labels are left out."""
        del epoch  # the order follows from the state of the random number generator
        batches = lessons(self.corpus, self.learned, self.settings.batch, self.rng)
        return (batch for batch in batches if len(batch.labels))

    def validate(self) -> dict[str, float]:
        """Return recall@200 of the held-out users."""
        score = self.recall()
        self.model.train()
        return {"recall@200": score}

    def _side(self, side: ItemTower, items: Tensor, dropped: float) -> Tensor:
        kept = _Residuals(self.model.used, dropped).kept(items, self.generator)
        return torch.as_tensor(side(items, self.contents[items], self.domains[items], kept))

    def loss(self, lesson: Lesson) -> Tensor:
        """Return the loss of a batch: sampled softmax, and the domain adaptation."""
        how = self.settings
        items, corrections = self.draws.draw(lesson.target, self.rng)
        drawn, labels = torch.from_numpy(items), torch.from_numpy(lesson.labels)
        owners = torch.from_numpy(lesson.owners)
        known_items = torch.from_numpy(lesson.histories.columns)
        known = self._side(self.model.known, known_items, how.anonymous)
        users = _pooled(self.model, known, self.corpus, lesson.histories, lesson.target)
        offered = self._side(self.model.offered, drawn, how.anonymous)
        right = self._side(self.model.offered, labels, how.anonymous)
        bias = self.model.bias.weight[:, 0]
        others = users @ offered.T + bias[drawn]
        positives = (users[owners] * right).sum(1) + bias[labels]
        own = _own(owners, labels, drawn, len(users))
        losses = sampled_softmax(positives, owners, others, corrections, own)
        counts = torch.bincount(owners, minlength=len(users)).float()
        loss = (losses / counts[owners]).sum() / (counts > 0).sum()
        return loss + self._adaptation()

    def _adaptation(self) -> Tensor:
        """Make contents of all domains alike, as far as the settings ask for it."""
        how, total = self.settings, torch.zeros(())
        if not (how.adversarial or how.coral or how.mmd):
            return total
        some = torch.randint(len(self.contents), (how.batch * 2,), generator=self.generator)
        adapted, domains = self.model.known.adapter(self.contents[some]), self.domains[some]
        if how.adversarial:
            total = total + domain_loss(self.critic, adapted, domains, how.adversarial)
        if how.coral:
            total = total + how.coral * coral_loss(adapted, domains)
        if how.mmd:
            total = total + how.mmd * mmd_loss(adapted, domains)
        return total

    def recall(self) -> float:
        """Give recall@200 of the held-out users."""
        self.model.eval()
        if not self.exam:
            return 0.0
        items = embed_items(self.model, self.space, self.corpus, np.arange(len(self.corpus)))
        found, total = 0, 0
        for lesson in self.exam:
            users = embed_users(
                self.model, self.space, self.corpus, lesson.histories, lesson.target
            )
            users = np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)
            allowed = self.corpus.in_domain(lesson.target)
            index = DotProductIndex(np.flatnonzero(allowed), items)
            seen = lesson.histories.seen(len(self.corpus))
            best = DotProductScorer(users, items, index).top_k(DEPTH, allowed, seen)
            pairs = np.repeat(np.arange(len(users)), np.diff(best.starts)) * len(items)
            found += int(
                np.isin(lesson.owners * len(items) + lesson.labels, pairs + best.items).sum()
            )
            total += len(lesson.labels)
        return found / max(1, total)


def _own(owners: Tensor, labels: Tensor, drawn: Tensor, users: int) -> Tensor:
    """Tell where a drawn item is one of the user's labels, shape (users, n_drawn)."""
    at = torch.searchsorted(drawn, labels).clamp(max=max(0, len(drawn) - 1))
    there = drawn[at] == labels
    own = torch.zeros(users, len(drawn), dtype=torch.bool)
    own[owners[there], at[there]] = True
    return own


def _offered(
    model: TwoTowerNetwork, space: FeatureProjection, corpus: TrainingData, columns: Columns
) -> tuple[Tensor, Tensor]:
    items, kept = _residuals(model, columns)
    contents = torch.from_numpy(space.transform(corpus.features, corpus.domains, columns))
    vectors = model.offered(items, contents, torch.from_numpy(corpus.domains[columns]), kept)
    bias = model.bias.weight[:, 0]
    return vectors, torch.where(items >= 0, bias[items.clamp(min=0)], bias.min())


def _residuals(model: TwoTowerNetwork, columns: Columns) -> tuple[Tensor, Tensor]:
    """Give the place of each item's residual, -1 for new items, and whether it counts."""
    learned = len(model.bias.weight)
    items = torch.from_numpy(np.where(columns < learned, columns, -1))
    return items, model.used[items.clamp(min=0)] & (items >= 0)


def _pooled(
    model: TwoTowerNetwork,
    known: Tensor,
    corpus: TrainingData,
    histories: UserHistories,
    target: int,
) -> Tensor:
    logs = torch.from_numpy(np.log(np.maximum(histories.weights, FEW)))
    same = torch.from_numpy((corpus.domains[histories.columns] == target).astype(np.float32))
    asked = torch.full((len(histories),), target, dtype=torch.int64)
    return model.users(known, torch.from_numpy(histories.owners), logs, same, asked)


@dataclass(frozen=True, eq=False)
class Lesson:
    """Some users, what is shown of them, and what of one domain is hidden.

    Attributes
    ----------
    target : int
        Code of the domain.
    histories : Histories
        What is shown.
    labels, owners : numpy.ndarray
        int64, shape (n_labels,): the hidden items, and the user of each.
    """

    target: int
    histories: UserHistories
    labels: Columns
    owners: Columns


def lessons(
    corpus: TrainingData, histories: UserHistories, size: int, rng: np.random.Generator
) -> Iterator[Lesson]:
    """Hide a domain of every user, all of it or all but a few items, and give it in batches.

    Parameters
    ----------
    corpus : Corpus
        For the domains of the items.
    histories : Histories
        Everything that the users liked.
    size : int
        Users a batch.
    rng : numpy.random.Generator
        Of what is hidden and of the order.
    """
    owners, starts = histories.owners, histories.starts
    told = np.flatnonzero(np.diff(starts) > 1)
    drawn = (starts[told] + rng.random(len(told)) * np.diff(starts)[told]).astype(np.int64)
    targets = np.full(len(histories), -1, np.int64)
    targets[told] = corpus.domains[histories.columns[drawn]]
    in_target = corpus.domains[histories.columns] == targets[owners]
    places = rank_in_rows(owners, in_target, rng.random(len(owners)))
    counts = np.bincount(owners, in_target, len(histories)).astype(np.int64)
    shown = np.minimum(rng.choice(SHOWN, len(histories)), counts - 1)
    alone = counts == np.diff(starts)
    shown = np.where(alone, np.maximum(shown, np.minimum(counts - 1, counts // 2)), shown)
    visible = np.where(in_target, places < shown[owners], places < LARGEST_HISTORY + counts[owners])
    hidden = in_target & ~visible & (places < shown[owners] + MOST_LABELS)
    batches = []
    for code in range(len(corpus.domain_names)):
        users = rng.permutation(np.flatnonzero(targets == code))
        batches += [(code, users[i : i + size]) for i in range(0, len(users), size)]
    context, answers = histories.filter(visible), histories.filter(hidden)
    for at in rng.permutation(len(batches)):
        code, users = batches[at]
        own = answers.take_users(users)
        yield Lesson(code, context.take_users(users), own.columns, own.owners)


class Draw:
    """Draws items of a domain to learn against: half by popularity, half evenly.

    Parameters
    ----------
    corpus : Corpus
        For popularity and domains.
    most : int
        Items a draw; a domain with no more is taken whole.
    """

    def __init__(self, corpus: TrainingData, most: int) -> None:
        self._most = most
        self._columns = [
            np.flatnonzero(corpus.in_domain(code)) for code in range(len(corpus.domain_names))
        ]
        self._shares = []
        for columns in self._columns:
            popular = np.sqrt(corpus.popularity[columns])
            even = np.full(len(columns), 1 / max(1, len(columns)))
            self._shares.append((popular / max(popular.sum(), 1e-12) + even) / 2)

    def draw(self, target: int, rng: np.random.Generator) -> tuple[Columns, torch.Tensor]:
        """Give distinct items, ascending, and the log-probability of each to be among them."""
        columns, shares = self._columns[target], self._shares[target]
        if len(columns) <= self._most:
            return columns, torch.zeros(len(columns))
        among = 1 - (1 - shares) ** self._most
        found = np.flatnonzero(rng.random(len(columns)) < among)
        return columns[found], torch.from_numpy(np.log(among[found])).float()
