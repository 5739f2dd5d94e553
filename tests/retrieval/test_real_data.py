"""A slice of the real data sets, as a user would add it."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from isthmus import Space

pytestmark = pytest.mark.real_data


def test_films_with_posters_and_products_share_a_space(real_data, tmp_path):
    films = pq.read_table(real_data / "movielens_posters/items.parquet").slice(0, 60)
    root = str(real_data / "movielens_posters") + "/"
    images = [name and root + name for name in films["image"].to_pylist()]
    films = films.set_column(films.schema.get_field_index("image"), "image", [images])
    products = pq.read_table(real_data / "amazon_arts_office/items.parquet").slice(0, 100)

    space = Space.create(tmp_path / "s", "local")
    first = space.upsert(films, text="{title}. {genres}")
    assert first.added == 60
    assert first.encoded == {"text": 60, "image": sum(name is not None for name in images)}
    assert first.quarantined == 0
    assert space.upsert(products, text="{title}. {attributes}").added == 100
    assert sum(space.upsert(films, text="{title}. {genres}").encoded.values()) == 0
    assert space.publish().worst_recall == 1.0
    assert space.search("animated film about toys", k=1)[0].item_id == "m1"
    assert space.count(where="year >= 1995", domain="movies") > 0
    assert {hit.domain for hit in space.similar("m1", domain="arts_crafts")} == {"arts_crafts"}
