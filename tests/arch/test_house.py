"""The house rules, as far as a machine can tell."""

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pveops"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 700


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path):
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def test_the_import_contracts_hold():
    ran = subprocess.run(
        ["lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_too_long_and_none_imports_by_name(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    if "importlib" in text:
        # importlib would walk around the contracts: only these places may look something up, and none of them a room of ours
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("import_module", "__import__"):
                argument = node.args[0]
                assert path.parent.name == "sim" or "sim" in path.parts, path
                assert isinstance(argument, (ast.Constant, ast.JoinedStr, ast.Name))
    assert "__import__(" not in text


@pytest.mark.slow
def test_only_the_command_line_and_testing_know_the_simulated_cluster():
    for path in MODULES:
        place = path.relative_to(PACKAGE).parts
        if place[0] in ("sim", "testing") or place[:2] == ("surfaces", "cli"):
            continue
        assert not [name for name in imports(path) if name.startswith("pveops.sim")], path


@pytest.mark.slow
def test_a_simulated_cluster_is_started_in_three_places_only():
    """As a process, by the command line and by tests; and by the twin's stage, for one rehearsal, as a process that dies with it."""
    starters = set()
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.List, ast.Tuple)):
                words = [item.value for item in node.elts if isinstance(item, ast.Constant)]
                if "serve" in words and {"sim", "pveops.sim"} & set(words):
                    starters.add(str(path.relative_to(PACKAGE)))
    assert starters == {"surfaces/cli/services.py", "testing/stack.py", "app/stage.py"}


@pytest.mark.slow
def test_only_the_writer_and_the_stage_send_changes():
    """What the stage sends to is the simulated cluster that it started itself; everything else goes through a grant."""
    users = set()
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute) and node.attr == "send_once":
                users.add(str(path.relative_to(PACKAGE)))
    assert users == {"clients/cluster/write.py", "app/stage.py"}


def test_the_twin_looks_with_gets_alone():
    """Its port to the live cluster has one method, and what app plugs in there calls nothing else."""
    from pveops.app.rehearse import _Gets
    from pveops.twin.ports import Live

    assert [name for name in vars(Live) if not name.startswith("_")] == ["get"]
    assert [name for name in vars(_Gets) if not name.startswith("_")] == ["get"]


@pytest.mark.slow
def test_only_the_executors_wiring_imports_the_writer_and_nobody_passes_it_on():
    for path in MODULES:
        users = [name for name in imports(path) if "clients.cluster.write" in name]
        assert not users or path == PACKAGE / "app" / "executor.py", path
    for path in MODULES:
        if "surfaces" in path.parts and "daemon" not in path.parts:
            assert not [name for name in imports(path) if name.startswith("pveops.app.executor")], path


def test_each_foreign_client_has_one_home():
    homes = {
        "proxmoxer": "clients/cluster/wire.py",
        "papermill": "runbooks/engine.py",
        "prometheus_api_client": "clients/metrics/catalogue.py",
        "elasticsearch": "clients/logs/elastic.py",
        "luqum": "clients/logs/language.py",
    }
    for path in MODULES:
        for name in imports(path):
            home = homes.get(name.split(".")[0])
            assert home is None or path == PACKAGE / home, f"{path} imports {name}"


def test_nobody_looks_away_from_a_certificate():
    for path in MODULES:
        assert not re.search(r"verify(_ssl)?\s*=\s*False", path.read_text(encoding="utf-8")), path


BROAD = {"Exception", "BaseException"}


def broad_handlers(path):
    """Handlers that catch everything and keep it: what ends in a bare `raise` only puts things in order first."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else BROAD
            last = node.body[-1]
            if names & BROAD and not (isinstance(last, ast.Raise) and last.exc is None):
                yield node.lineno


@pytest.mark.slow
def test_broad_except_is_rare_and_has_a_reason():
    broad = []
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for number in broad_handlers(path):
            broad.append(f"{path}:{number}")
            assert "#" in lines[number - 1] or "#" in lines[number], f"{path}:{number} gives no reason"
    total = sum(path.read_text(encoding="utf-8").count("\n") for path in MODULES)
    assert len(broad) <= total / 1000, broad


@pytest.mark.slow
def test_only_widgets_dashboard_and_command_line_can_approve():
    """No code path of a notebook, tool, runbook or model reaches an approval: only what a person clicks or types does."""
    allowed = {
        "clients/executor.py",
        "present/controller.py",
        "surfaces/cli/proposals.py",
        "guard/executor.py",
        "surfaces/daemon/routes.py",
        "testing/guarded.py",
        "testing/crashes.py",
    }
    for path in MODULES:
        place = str(path.relative_to(PACKAGE))
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "approve":
                assert place in allowed, f"{place} calls approve"


def test_every_room_of_the_house_is_in_the_architecture_page():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    named = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    assert rooms == named
    surfaces = {path.name for path in (PACKAGE / "surfaces").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert surfaces == set(re.findall(r"^\| `surfaces\.(\w+)`", text, re.MULTILINE))


def test_every_layer_of_the_contract_is_in_the_picture():
    layers = re.search(r"layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.DOTALL)[1]
    drawn = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for line in re.findall(r'"([^"]+)"', layers):
        assert line in drawn, f"the picture lacks the layer {line}"


def test_every_setting_tool_column_and_exit_code_is_documented():
    from pveops.base import errors
    from pveops.frames.columns import TABLES
    from pveops.settings.profile import Config, ExecutorOptions, Profile
    from pveops.tools.library import standard

    docs = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    for model in (Config, Profile, ExecutorOptions):
        for name in model.model_fields:
            assert f"`{name}`" in docs, f"setting {name}"
    for tool in standard():
        assert f"`{tool.name}`" in docs, f"tool {tool.name}"
    for table in TABLES.values():
        for column in table.columns:
            assert f"`{column.name}`" in docs, f"column {table.name}.{column.name}"
    for variable in (
        "PVEOPS_HOME",
        "PVEOPS_URLS",
        "PVEOPS_READ_TOKEN",
        "PVEOPS_WRITE_TOKEN",
        "PVEOPS_CA",
        "PVEOPS_FINGERPRINTS",
        "PVEOPS_PROFILE",
        "PVEOPS_PRINCIPAL",
    ):
        assert f"`{variable}`" in docs, variable
    cli = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    codes = {cls.exit_code for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.PveopsError)}
    for code in codes | {0, 130}:
        assert re.search(rf"^\| {code} \|", cli, re.MULTILINE), f"exit code {code}"


def test_the_version_is_the_same_everywhere():
    import pveops

    assert f'version = "{pveops.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_every_test_that_a_page_names_is_there():
    named = {
        name for page in (ROOT / "docs").glob("*.md") for name in re.findall(r"`(tests/[\w/.]+::\w+)`", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    for name in sorted(named):
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), name


def test_the_generated_pages_are_current():
    import runpy

    for page, make in runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"].items():
        assert (ROOT / "docs" / page).read_text(encoding="utf-8") == make(), "run python docs/generate.py"


def test_public_names_are_the_promised_ones():
    import pveops

    assert sorted(pveops.__all__) == ["Ops", "PveopsError", "__version__", "connect", "connect_all"]
    for name in pveops.__all__:
        assert getattr(pveops, name) is not None
    with pytest.raises(AttributeError):
        _ = pveops.nothing


def test_importing_the_package_loads_nothing_else():
    code = "import sys, pveops; print(sorted(name for name in sys.modules if name.startswith('pveops.') or name in ('pandas', 'pydantic', 'requests', 'sqlalchemy', 'numpy')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "[]"


def test_the_simulation_loads_nothing_of_the_product():
    code = "import sys, pveops.sim.serve; print(sorted({name.split('.')[1] for name in sys.modules if name.startswith('pveops.')}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "['base', 'sim']"


def test_no_machine_path_or_host_is_in_what_we_ship():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".ipynb", ".sh", ".lock", ".yml") and not name.startswith("tests/") and path.exists():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(/tmp/|/root/|/work/|/home/[a-z]+/)", text), name
