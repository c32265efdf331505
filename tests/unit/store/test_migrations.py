import sqlite3

import pytest

from pveops.base.errors import ConfigError
from pveops.store import migrations
from pveops.store.backup import copy_sqlite, damage_of, is_sqlite, version_of
from pveops.store.engine import open_engine


def old_store(path, version="1"):
    open_engine(path).dispose()
    base = sqlite3.connect(path)
    with base:
        base.execute("UPDATE meta SET value = ?", (version,))
        base.execute("DROP TABLE leases")
        base.execute("INSERT INTO feed VALUES (1, 'now', 'kind', 'p-1', 'anna', 'text')")
    base.close()


def columns(path, table):
    base = sqlite3.connect(path)
    try:
        return [row[1] for row in base.execute(f"PRAGMA table_info({table})")]
    finally:
        base.close()


def test_steps_are_carried_out_once_and_the_old_file_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "store.sqlite"
    old_store(path)
    monkeypatch.setattr(migrations, "STEPS", {1: ("ALTER TABLE feed ADD COLUMN extra TEXT DEFAULT 'x'",)})
    for _ in range(2):
        open_engine(path).dispose()
    assert "extra" in columns(path, "feed")
    assert columns(path, "leases")
    kept = tmp_path / "store.v1.sqlite"
    assert "extra" not in columns(kept, "feed")
    assert (version_of(kept), version_of(path)) == (1, 2)
    assert (path.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o600, 0o600)


def test_a_step_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "store.sqlite"
    old_store(path)
    monkeypatch.setattr(migrations, "STEPS", {1: ("DELETE FROM feed", "ALTER TABLE none ADD COLUMN extra TEXT")})
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_engine(path)
    assert version_of(path) == 1
    base = sqlite3.connect(path)
    assert base.execute("SELECT count(*) FROM feed").fetchone() == (1,)
    base.close()


def test_every_version_has_its_step():
    assert sorted(migrations.STEPS) == list(range(1, migrations.SCHEMA_VERSION))


def test_a_copy_that_cannot_be_made_stops(tmp_path):
    path = tmp_path / "store.sqlite"
    old_store(path)
    (tmp_path / "store.v1.sqlite").mkdir()
    open_engine(path).dispose()
    path = tmp_path / "none" / "x" / "store.sqlite"
    path.parent.parent.write_text("a file")
    with pytest.raises((ConfigError, NotADirectoryError, FileExistsError)):
        open_engine(path)
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_engine(tmp_path)


def test_what_is_no_database(tmp_path):
    (tmp_path / "text").write_text("text")
    assert not is_sqlite(tmp_path / "text")
    assert not is_sqlite(tmp_path / "none")
    assert damage_of(tmp_path / "text")
    assert version_of(tmp_path / "text") == 0
    with pytest.raises(sqlite3.Error):
        copy_sqlite(tmp_path / "none", tmp_path / "copy")
    base = sqlite3.connect(tmp_path / "fine")
    with base:
        base.execute("CREATE TABLE meta (key, value)")
    base.close()
    assert is_sqlite(tmp_path / "fine")
    assert (damage_of(tmp_path / "fine"), version_of(tmp_path / "fine")) == ("", 0)
