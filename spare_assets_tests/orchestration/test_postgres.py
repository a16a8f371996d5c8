"""An instance on PostgreSQL, against a real server: the same runs, nothing kept in the home, the password nowhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from rich.console import Console

from spare_assets.cli.doctor import findings
from spare_assets.cli.materialize import Materialization
from spare_assets.orchestration import instance as instances
from spare_assets.orchestration.instance import end_dead_runs, instance_file, open_instance, prepare_instance
from spare_assets.package_files import package_file
from spare_assets.settings import Home, InstanceSettings, SettingsError, load_settings
from spare_assets_tests.profiles import sandbox_profile
from spare_assets_tests.servers import missing, no_postgres, postgres_server

VARIABLE = "SPARE_TEST_POSTGRES"
CHOSEN = {"postgres": f"env:{VARIABLE}"}
LACKING = missing("dagster_postgres", "psycopg2") or no_postgres()
with_server = pytest.mark.skipif(LACKING is not None, reason=LACKING or "")
MakeHome = Callable[..., Home]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra counts as installed: only what is written is looked at."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv(VARIABLE, "postgresql+psycopg2://spare:secret@127.0.0.1:5432/spare")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with postgres_server() as found:
        yield found


@pytest.fixture
def home(address: str, make_home: MakeHome, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(VARIABLE, address)
    return make_home(scenes=12, instance=CHOSEN)


def storage(home: Home) -> Any:
    return yaml.safe_load((home.dagster / "dagster.yaml").read_text())["storage"]


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        (f"env:{VARIABLE}", {"env": VARIABLE}),
        ("postgresql://spare@db.example.org:5432/runs", "postgresql+psycopg2://spare@db.example.org:5432/runs"),
    ],
)
def test_the_instance_file_differs_in_its_storage_alone(setting: str, written: object) -> None:
    shipped = yaml.safe_load(package_file("dagster.yaml").read_text())
    ours = yaml.safe_load(instance_file(InstanceSettings(postgres=setting)))
    assert ours.pop("storage") == {"postgres": {"postgres_url": written}}
    assert set(shipped.pop("storage")) == {"sqlite"}
    assert ours == shipped


@pytest.mark.parametrize(
    "refused",
    [
        "postgresql://spare:hush@db/runs",
        "postgresql://spare@db/runs?password=hush",
        "mysql://db/hush",
        "env:",
        "env:A B",
        "hush",
        "postgresql://db:5432/",
        "postgresql://[hush/runs",
    ],
)
def test_a_password_in_a_profile_is_refused_and_not_repeated(tmp_path: Path, refused: str) -> None:
    with pytest.raises(SettingsError, match=r"instance\.postgres: .*env:NAME") as told:
        load_settings(str(sandbox_profile(tmp_path, scenes=3, instance={"postgres": refused})))
    assert "hush" not in str(told.value)


@pytest.mark.usefixtures("installed")
def test_the_setting_decides_as_long_as_the_file_was_not_adapted(make_home: MakeHome) -> None:
    plain = make_home()
    prepare_instance(plain)
    assert set(storage(plain)) == {"sqlite"}
    changed = Home(plain.path, plain.settings.model_copy(update={"instance": InstanceSettings(**CHOSEN)}))
    prepare_instance(changed)
    assert storage(changed) == {"postgres": {"postgres_url": {"env": VARIABLE}}}
    prepare_instance(plain)
    assert (plain.dagster / "dagster.yaml").read_bytes() == package_file("dagster.yaml").read_bytes()


@pytest.mark.usefixtures("installed")
def test_an_adapted_file_is_kept_or_refused_where_it_says_otherwise(make_home: MakeHome) -> None:
    home = make_home(instance=CHOSEN)
    prepare_instance(home)
    path = home.dagster / "dagster.yaml"
    adapted = path.read_text() + "\nrun_launcher: {module: dagster_k8s, class: K8sRunLauncher}\n"
    path.write_text(adapted)
    prepare_instance(home)
    assert path.read_text() == adapted
    path.write_text(package_file("dagster.yaml").read_text() + "\npython_logs: {}\n")
    with pytest.raises(SettingsError, match=r"dagster\.yaml was adapted and keeps runs elsewhere"):
        prepare_instance(home)
    path.write_text("storage: {sqlite: {base_dir: /mine}}\n")
    kept = Home(home.path, home.settings.model_copy(update={"instance": InstanceSettings()}))
    prepare_instance(kept)
    assert storage(kept) == {"sqlite": {"base_dir": "/mine"}}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", f"{VARIABLE} is not set"),
        ("postgresql://spare:hush@db/runs", f"{VARIABLE} is not an address of this form: postgresql\\+psycopg2://"),
        ("postgresql+psycopg2://spare:hu@sh@db/runs", f"an @ of the password in {VARIABLE} as %40"),
    ],
)
def test_what_is_wrong_with_the_variable_is_said_without_its_value(
    make_home: MakeHome, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    home = make_home(instance=CHOSEN)
    with pytest.raises(SettingsError, match=message) as told:
        prepare_instance(home)
    assert "hu" not in str(told.value).replace("SQLAlchemy", "")
    assert not home.dagster.exists()


def test_without_the_extra_the_message_says_what_to_install(
    make_home: MakeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'spare-assets\[postgres\]'"):
        prepare_instance(make_home(instance=CHOSEN))


@with_server
def test_runs_are_kept_in_the_database_and_the_password_nowhere(
    home: Home, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import psycopg2

    password = address.split(":")[2].split("@")[0]
    assert Materialization(home, "captions", ("docci",), verbose=True).execute(Console())
    with open_instance(home) as instance:
        (run,) = instance.get_runs()
        assert run.is_success
        assert instance.get_latest_materialization_event(dg.AssetKey("captions")) is not None
        assert instance.get_dynamic_partitions("none") == []
        shown = [instance.info_str(), repr(instance.info_dict()), repr(run), *capfd.readouterr()]
    assert not list(home.dagster.rglob("*.db"))
    with psycopg2.connect(address.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        assert "event_logs" in tables
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')
            shown += [text for (text,) in cursor.fetchall()]
    assert not [text for text in shown if password in text]
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert not [path for path in files if password.encode() in path.read_bytes()]


@with_server
def test_a_run_of_another_machine_is_not_taken_for_dead_and_one_with_a_stale_lock_is(home: Home) -> None:
    with open_instance(home) as instance:
        elsewhere, killed = (
            instance.add_run(dg.DagsterRun("work", status=dg.DagsterRunStatus.STARTED)).run_id for _ in range(2)
        )
        # As a run worker on another machine tells: no such process lives here.
        instance.report_engine_event(
            "Started process for run",
            instance.get_run_by_id(elsewhere),
            dg._core.events.EngineEventData({"pid": dg.MetadataValue.text("4194305")}),
        )
        (home.dagster / "running").mkdir()
        (home.dagster / "running" / f"{killed}.lock").touch()
        assert end_dead_runs(instance, home) == [killed]
        instance.delete_run(elsewhere)
        instance.delete_run(killed)


@with_server
def test_a_database_that_does_not_answer_is_named_without_the_password(
    home: Home, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster_postgres.utils

    monkeypatch.setattr(dagster_postgres.utils.time, "sleep", lambda seconds: None)
    wrong = address.replace("spare:", "spare:not")
    monkeypatch.setenv(VARIABLE, wrong)
    with pytest.raises(SettingsError, match=r"^instance\.postgres: .*password authentication failed") as told:
        open_instance(home)
    assert wrong.split(":")[2].split("@")[0] not in str(told.value)


@with_server
def test_doctor_says_whether_runs_can_be_kept_there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def instance() -> tuple[str, str]:
        return next((found.verdict, found.detail) for found in findings(home) if found.subject == "instance")

    assert instance() == ("ok", f"PostgreSQL, env:{VARIABLE}; not connected to")
    monkeypatch.delenv(VARIABLE)
    verdict, detail = instance()
    assert verdict == "missing" and f"{VARIABLE} is not set" in detail
