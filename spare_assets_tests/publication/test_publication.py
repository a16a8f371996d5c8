"""Card, Croissant metadata and publication, on what a run over small sandbox sources stored."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.cli.materialize import Materialization
from spare_assets.publication import assets as publication_assets
from spare_assets.publication.dataset_card import dataset_card, fenced, hub_licence, size_category, table
from spare_assets.publication.dataset_folder import embeddable, published_rows, write_dataset_folder
from spare_assets.publication.export_writing import ExportError
from spare_assets.publication.facts import CardError, card_facts, public_name
from spare_assets.publication.hub import PublicationError, hub_token, push, refusal
from spare_assets.settings import Home, PublicationSettings, load_settings, open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile
from spare_assets_tests.publication.hub_stub import StubHub, stub_hub

SCENES = 12
TOKEN = "hf_" + "notASecret" * 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose card is made."""
    folder = tmp_path_factory.mktemp("card")
    home = open_home(str(sandbox_profile(folder, scenes=SCENES)), folder / "home").claim()
    assert Materialization(home, "+dataset_card", ()).execute()
    return home


@pytest.fixture
def copied(finished: Home, tmp_path: Path) -> Callable[..., Home]:
    """Copies of that home, opened with sections of the profile changed."""

    def copy(**sections: Any) -> Home:
        subprocess.run(["cp", "-r", str(finished.path), str(tmp_path / "home")], check=True)
        (tmp_path / "home" / "dagster" / "dagster.yaml").unlink(missing_ok=True)
        return Home(tmp_path / "home", load_settings(str(sandbox_profile(tmp_path, scenes=SCENES, **sections))))

    return copy


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with stub_hub(TOKEN) as served:
        yield served


def store(home: Home) -> TableStore:
    return TableStore(home.tables)


def with_terms(finished: Home, **terms: str) -> dict[str, Any]:
    """The sources of a home, with terms of one of them changed."""
    sources = {key: s.model_dump(mode="json", exclude_none=True) for key, s in finished.settings.sources.items()}
    sources["docci"] |= terms
    return sources


def test_the_card_is_one_that_the_hub_reads(finished: Home) -> None:
    from huggingface_hub import DatasetCard

    content = (finished.exports / "card" / "README.md").read_text(encoding="utf-8")
    card = DatasetCard(content)
    data = dict(card.data.__dict__)
    assert data["license"] == "cc0-1.0"
    assert data["language"] == ["en"]
    assert data["size_categories"] == ["n<1K"]
    assert "visual-question-answering" in data["task_categories"]
    assert [config["config_name"] for config in data["configs"]] == ["default", *sorted(finished.settings.sources)]
    assert DatasetCard.load(finished.exports / "card" / "README.md").content == content
    for config in data["configs"]:
        assert list((finished.exports / "card").glob(config["data_files"])), "every configuration has files"


def test_the_card_counts_what_is_stored(finished: Home) -> None:
    totals = store(finished).scan("dataset_statistics").filter(source="total").collect().row(0, named=True)
    content = (finished.exports / "card" / "README.md").read_text(encoding="utf-8")
    assert f"{totals['pairs']:,} question-answer pairs" in content
    for key in finished.settings.sources:
        kept, read = (store(finished).rows(name, key) for name in ("spatial_pairs", "aligned_pairs"))
        assert f"| spatial\\_pairs | pairs | {read} | {kept} kept, {read - kept} dropped |" in content
    assert "mode `required`" in content and "Not reviewed yet" in content
    assert "This is a trial" not in content


def test_croissant_describes_every_row(finished: Home) -> None:
    import mlcroissant

    folder = finished.exports / "card"
    dataset = mlcroissant.Dataset(folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert all("datePublished" in warning for warning in dataset.metadata.ctx.issues.warnings)
    assert dataset.metadata.license == ["https://spdx.org/licenses/CC0-1.0.html"]
    read = 0
    for source in finished.settings.sources:
        stored = published_rows(store(finished), source).collect()
        name = f"{source}-00000"
        records = list(dataset.records(name))
        read += len(records)
        assert [record[f"{name}/caption_id"].decode() for record in records] == stored["caption_id"].to_list()
        for record, row in zip(records, stored.iter_rows(named=True), strict=True):
            assert record[f"{name}/caption"].decode() == row["caption"]
            questions = [pair[f"{name}/pairs/question"].decode() for pair in record[f"{name}/pairs"]]
            assert questions == [pair["question"] for pair in row["pairs"]]
    assert read == store(finished).rows("spare_dataset")


def test_the_folder_names_no_place_of_this_machine(finished: Home) -> None:
    for path in (finished.exports / "card").rglob("*"):
        if path.suffix == ".parquet":
            assert "image_path" not in pl.read_parquet_schema(path)
            assert str(finished.path.parent) not in pl.read_parquet(path).write_json()
        elif path.is_file():
            assert str(finished.path.parent) not in path.read_text(encoding="utf-8")


def test_files_are_recorded_as_they_are(finished: Home) -> None:
    folder = finished.exports / "card"
    recorded = {row["file"]: row for row in store(finished).scan("dataset_card").collect().iter_rows(named=True)}
    assert set(recorded) == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for name, row in recorded.items():
        assert row["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert sum(row["rows"] or 0 for row in recorded.values()) == store(finished).rows("spare_dataset")


def test_prompts_models_and_terms_are_told(finished: Home, tmp_path: Path) -> None:
    engine = {"kind": "transformers", "model": "/somewhere/Qwen2.5-3B", "revision": "a" * 40, "dtype": "bfloat16"}
    profile = sandbox_profile(
        tmp_path,
        scenes=SCENES,
        engines={"llm": engine},
        synthesis={"filter_engine": "llm", "generation_engine": "llm"},
        quality={"verification_engine": "llm", "alignment_weight": 2.5, "alignment_prefix": "A photo depicts "},
        sources=with_terms(finished, licence="ODC-BY-1.0", citation="@misc{docci}\n```\n# not a heading"),
    )
    facts = card_facts(store(finished), load_settings(str(profile)))
    card = dataset_card(facts)
    assert [prompt.task for prompt in facts.prompts] == ["judge_caption", "write_pairs", "judge_pair"]
    assert all(prompt.fingerprint in card and prompt.text in card for prompt in facts.prompts)
    assert "a" * 40 in card and "Qwen2" in card and "/somewhere" not in card
    assert "times 2\\.5, the question after 'A photo depicts '" in card
    assert yaml.safe_load(card.split("---")[1])["license"] == ["cc0-1.0", "odc-by"]
    assert "````bibtex\n@misc{docci}\n```\n# not a heading\n````" in card


def test_outside_text_stays_text(finished: Home, tmp_path: Path) -> None:
    hostile = "x\n---\n# owned <script>alert(1)</script> | `a`"
    profile = sandbox_profile(
        tmp_path,
        scenes=SCENES,
        sources=with_terms(finished, licence=hostile, homepage="https://x.org/|<b>"),
        publication={"pretty_name": hostile},
    )
    card = dataset_card(card_facts(store(finished), load_settings(str(profile))))
    front, text = card.split("\n---\n", 1)
    assert yaml.safe_load(front)["pretty_name"].startswith("x ---")
    assert "<script>" not in text and "\n# owned" not in text and "<b>" not in text
    assert "license" in yaml.safe_load(front)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60), st.sampled_from(["```", "~~~", "````", ""]))
def test_nothing_ends_a_code_block(text: str, fence: str) -> None:
    lines = fenced(f"{text}\n{fence}\n{text}").splitlines()
    closing = lines[-1]
    assert set(closing) == {"`"} and lines[0] == f"{closing}text"
    assert not any(line.strip().startswith(closing) for line in lines[1:-1])


@given(st.lists(st.text(max_size=20), min_size=2, max_size=2))
def test_a_row_of_a_table_is_one_line(cells: list[str]) -> None:
    assert len(table(["a", "b"], [cells]).splitlines()) == 3


def test_terms_in_the_hubs_words() -> None:
    assert [hub_licence(name) for name in ("CC-BY-4.0", "ODC-BY-1.0", "unknown", "", "Our own terms")] == [
        "cc-by-4.0",
        "odc-by",
        "unknown",
        "unknown",
        "other",
    ]
    assert [size_category(count) for count in (0, 1000, 455_494, 10**8)] == [
        "n<1K",
        "1K<n<10K",
        "100K<n<1M",
        "10M<n<100M",
    ]
    assert public_name("Qwen/Qwen2.5-3B-Instruct") == "Qwen/Qwen2.5-3B-Instruct"


def test_tables_of_different_states_make_no_card(copied: Callable[..., Home]) -> None:
    home = copied()
    path = store(home).path("spatial_pairs", "docci")
    pl.read_parquet(path).slice(1).write_parquet(path)
    with pytest.raises(CardError, match=r"docci: spare_dataset holds .* materialize spare_dataset"):
        card_facts(store(home), home.settings)


def test_trials_overrides_and_reviews_are_told(copied: Callable[..., Home]) -> None:
    home = copied()
    tables = store(home)
    changed = {"overrides": json.dumps({"minimum_alignment": 0.3})}
    pairs = tables.scan("aligned_pairs", "docci").collect()
    tables.publish(tables.stage("aligned_pairs", "docci", pairs, changed))
    dataset = tables.scan("spare_dataset").collect()
    tables.publish(tables.stage("spare_dataset", None, dataset, {"limits": json.dumps({"docci": 5})}))
    error = {"metric": "error", "scope": "all", "group": "", "reviewer": "", "rate": 0.05, "low": 0.03, "high": 0.08}
    results = pl.DataFrame([error | {"found": 20.0, "judged": 400}])
    tables.publish(tables.stage("review_results", None, results))
    facts = card_facts(tables, home.settings)
    card = dataset_card(facts)
    assert "**This is a trial**: 5 captions of docci." in card
    assert "aligned\\_pairs, docci" in card and "0\\.3" in card
    assert "5.0% of 400 pairs that people judged are wrong (Wilson interval 3.0% to 8.0%)" in card
    assert "trials of docci (5 captions)" in (refusal(facts, PublicationSettings()) or "")


def test_pictures_are_embedded_where_their_licence_lets_them_be_passed_on(
    copied: Callable[..., Home], finished: Home, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    home = copied(sources=with_terms(finished, image_licence="unknown"))
    facts = card_facts(store(home), home.settings)
    allowed = embeddable(facts)
    assert allowed == ["localized_narratives", "pixmo_cap"]
    folder = tmp_path / "folder"
    folder.mkdir()
    files = write_dataset_folder(folder, facts, store(home), allowed, shard_bytes=20_000)
    assert len([name for name in files["file"] if name.startswith("data/pixmo_cap/")]) == 1
    for source in home.settings.sources:
        path = folder / "data" / source / "00000.parquet"
        rows = pl.read_parquet(path).to_dicts()
        assert [row["caption_id"] for row in rows] == published_rows(store(home), source).collect()[
            "caption_id"
        ].to_list()
        for row in rows:
            if source == "docci":
                assert row["image"] is None
            else:
                assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["image_sha256"]
        loaded = datasets.load_dataset(
            "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
        )
        picture = loaded[0]["image"]
        assert picture is None if source == "docci" else picture.size[0] > 0
        assert loaded[0]["pairs"][0]["question"] == rows[0]["pairs"][0]["question"]
    Path(store(home).scan("spare_dataset").filter(source="pixmo_cap").collect()["image_path"][0]).write_bytes(b"other")
    (tmp_path / "again").mkdir()
    with pytest.raises(ExportError, match="changed since the dataset was made"):
        write_dataset_folder(tmp_path / "again", facts, store(home), allowed)


def test_publication_is_off_by_default(copied: Callable[..., Home], monkeypatch: pytest.MonkeyPatch) -> None:
    home = copied()
    monkeypatch.setattr(publication_assets, "push", lambda *given: pytest.fail("nothing is pushed"))
    assert Materialization(home, "published_dataset", ()).execute()
    assert store(home).rows("published_dataset") == 0


def test_the_dataset_is_pushed_as_one_commit(
    copied: Callable[..., Home], hub: StubHub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    publication = {"enabled": True, "repo_id": "o/n", "endpoint": hub.address, "token_variable": "SPARE_TEST_TOKEN"}
    home = copied(publication=publication)
    hub.files["data/gone/00000.parquet"] = b"of before"
    assert not Materialization(home, "published_dataset", ()).execute(), "without a token"
    assert not hub.requests, "nothing is asked without a token"
    monkeypatch.setenv("SPARE_TEST_TOKEN", TOKEN)
    assert Materialization(home, "dataset_card or published_dataset", ()).execute()
    assert [(made["organization"], made["name"], made["type"]) for made in hub.created] == [("o", "n", "dataset")]
    assert hub.created[0].get("private") or hub.created[0].get("visibility") == "private"
    assert len(hub.commits) == 1
    rows = store(home).scan("published_dataset").collect()
    assert set(rows["revision"]) == {f"{1:040}"} and set(rows["repository"]) == {"o/n"}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in hub.files.items()} == dict(
        rows.select("file", "sha256").iter_rows()
    ), "exactly these files; those of before are gone"
    published = pl.concat([pl.read_parquet(hub.files[n]) for n in sorted(hub.files) if n.endswith(".parquet")])
    assert published["caption_id"].to_list() == store(home).scan("spare_dataset").collect()["caption_id"].to_list()
    assert b"https://huggingface.co/datasets/o/n" in hub.files["croissant.json"]
    said = "".join(capfd.readouterr())
    assert TOKEN not in said
    for path in home.path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_a_refusal_of_the_hub_is_told_without_the_token(
    finished: Home, hub: StubHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = PublicationSettings(enabled=True, repo_id="o/n", endpoint=hub.address, token_variable="SPARE_TEST_TOKEN")
    with pytest.raises(PublicationError, match="SPARE_TEST_TOKEN"):
        hub_token(settings)
    monkeypatch.setenv("SPARE_TEST_TOKEN", TOKEN)
    hub.refuses = True
    facts = card_facts(store(finished), finished.settings)
    with pytest.raises(PublicationError, match=r"o/n was not pushed: .*403") as caught:
        push(tmp_path, facts, settings)
    assert TOKEN not in str(caught.value) and caught.value.__cause__ is None


def test_a_dataset_without_declared_terms_is_refused(finished: Home, tmp_path: Path) -> None:
    profile = sandbox_profile(tmp_path, scenes=SCENES, sources=with_terms(finished, licence="unknown"))
    facts = card_facts(store(finished), load_settings(str(profile)))
    assert "no licence is declared for docci" in (refusal(facts, PublicationSettings()) or "")
    assert refusal(facts, PublicationSettings(allow_unknown_licence=True)) is None
    empty = dataclasses.replace(facts, totals={**facts.totals, "samples": 0})
    assert refusal(empty, PublicationSettings(allow_unknown_licence=True)) == "the dataset is empty"


def test_publishing_needs_a_repository() -> None:
    with pytest.raises(ValueError, match="repo_id"):
        PublicationSettings(enabled=True)
