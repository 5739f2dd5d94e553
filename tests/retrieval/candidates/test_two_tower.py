"""The user's tower as it serves against the tower that was trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from isthmus.retrieval.candidates.feature_projection import ProjectedFeatures
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.candidates.two_tower_network import UserTower
from isthmus.retrieval.candidates.two_tower_training import _embeddings_of, _user_vectors
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.toy_data import FILMS, make_training_data


def test_users_have_the_vectors_that_the_trained_tower_gives_them():
    learned, data = make_training_data(), make_training_data(new=4)
    generator = TwoTower(epochs=1, dim=16, batch_size=16).fit(learned)
    model, rng = generator._network, np.random.default_rng(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    columns = [rng.permutation(len(data))[:n] for n in (3, 0, 1, len(data), 0)]
    strengths = [rng.random(len(history)).astype(np.float32) for history in columns]
    histories = UserHistories.from_lists(columns, strengths)
    everything = np.arange(len(data))
    entries, domains = histories.columns, data.domains[histories.columns]
    contents = generator._projection.transform(data.features, data.domains, entries)
    with torch.inference_mode():
        items, kept = _embeddings_of(model, entries)
        parts = torch.from_numpy(contents), torch.from_numpy(domains)
        known = model.history_items(items, *parts, kept)
        expected = _user_vectors(model, known, data, histories, FILMS).numpy()
    found = UserTower(model).vectors(contents, domains, histories, FILMS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    vectors = generator._projection.transform(data.features, data.domains, everything)
    small = make_training_data(items=16)
    another = replace(generator._projection)
    another.fit(small.features, small.domains, len(small.domain_names))
    for by in (generator._projection, another):
        served = TwoTower().restore(generator.state())
        held = replace(data, _projected=[ProjectedFeatures(by, vectors)])
        one = served.user_vectors(held, histories, FILMS)
        other = served.user_vectors(data, histories, FILMS)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    nobody = UserTower(model).vectors(
        contents[:0], domains[:0], UserHistories.from_lists([columns[1]]), FILMS
    )
    np.testing.assert_allclose(nobody, expected[[1]], rtol=1e-6)
