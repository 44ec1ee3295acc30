"""The set-up script: what it installs, what it leaves alone, and that a second run does nothing."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "setup_environment.py"
spec = importlib.util.spec_from_file_location("setup_environment", SCRIPT)
setup_environment = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup_environment)

NO_NETWORK = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def project(tmp_path):
    """A folder with setup.cfg and the script, nothing else."""
    root = tmp_path / "project"
    (root / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT.parents[1] / "setup.cfg", root)
    shutil.copy(SCRIPT, root / "tools")
    return root


@pytest.fixture
def environment(project):
    """A virtual environment of that folder with nothing in it, not even pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    return setup_environment.Environment(project / ".venv")


def add_package(environment, name: str, version: str) -> None:
    """Put an importable package with metadata into an environment."""
    site = environment.site_packages()
    (site / name).mkdir()
    (site / name / "__init__.py").touch()
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def run(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the project's copy of the script as make does."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "US3L_"))}
    return subprocess.run(
        [sys.executable, project / "tools" / "setup_environment.py", *arguments],
        env=inherited | NO_NETWORK | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def stamp(environment, project: Path, extras: list[str]) -> None:
    """Leave what a finished run leaves."""
    fingerprint = setup_environment.fingerprint(project)
    environment.stamp.write_text(json.dumps({"fingerprint": fingerprint, "extras": extras}))


class TestASecondRun:
    def test_does_nothing(self, project, environment):
        stamp(environment, project, ["detection", "dev", "formats", "images"])
        before = sorted(project.rglob("*"))
        done = run(project)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(project.rglob("*")) == before

    def test_works_again_when_setup_cfg_changes(self, project, environment):
        stamp(environment, project, ["detection", "dev"])
        with (project / "setup.cfg").open("a") as file:
            file.write("# another dependency\n")
        assert not setup_environment.up_to_date(environment, project, ["dev"])

    def test_works_again_for_another_extra(self, project, environment):
        stamp(environment, project, ["detection", "dev"])
        assert setup_environment.up_to_date(environment, project, ["dev"])
        assert not setup_environment.up_to_date(environment, project, ["dev", "slurm"])

    def test_works_again_when_the_interpreter_is_gone(self, project, environment):
        stamp(environment, project, ["dev"])
        environment.python.unlink()
        assert not setup_environment.up_to_date(environment, project, ["dev"])

    def test_works_again_when_the_stamp_is_damaged(self, project, environment):
        environment.stamp.write_text('{"finger')
        assert not setup_environment.up_to_date(environment, project, ["dev"])


class TestFailuresAreOneLine:
    def test_an_unknown_extra_names_the_nearest(self, project):
        done = run(project, "--extras", "detectoin")
        assert done.returncode == 2
        assert done.stderr == "error: setup.cfg has no extra 'detectoin'; did you mean 'detection'?\n"
        assert not (project / ".venv").exists()

    def test_a_python_that_is_too_old(self):
        with pytest.raises(setup_environment.SetupError, match=r"Python 3\.9, but 3\.10 or newer"):
            setup_environment.check_python((3, 9, 18))
        setup_environment.check_python((3, 10, 0))

    def test_no_network(self, project):
        done = run(project)
        assert done.returncode == 1
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith("error: pip could not install torch (no network?): ERROR: ")
        assert not (project / ".venv" / "setup.json").exists(), (
            "an unfinished environment must not pass for a finished one"
        )


class TestWhatIsThereIsLeftAlone:
    def test_another_torch_is_kept_and_pinned(self, environment, capsys):
        add_package(environment, "torch", "2.9.0+cu126")
        add_package(environment, "torchvision", "0.24.0+cu126")
        assert setup_environment.install_torch(environment) == ["torch==2.9.0+cu126", "torchvision==0.24.0+cu126"]
        assert "are there" in capsys.readouterr().out

    def test_an_official_detectron2_is_kept(self, environment, capsys):
        add_package(environment, "detectron2", "0.6")
        setup_environment.install_detectron2(environment)
        assert "left alone" in capsys.readouterr().out
        assert not (environment.folder / "detectron2").exists()


class TestRequiredExtras:
    def test_names_in_the_variable_that_are_extras_are_installed(self, project):
        assert setup_environment.wanted_extras(project, ["dev"], "data,mmdet,slurm") == ["dev", "mmdet", "slurm"]

    def test_nothing_required_is_what_was_named(self, project):
        assert setup_environment.wanted_extras(project, ["dev", "detection"], "") == ["detection", "dev"]


class TestDetectron2:
    """On a small wheel with the same tag and the same stray files as the real one, found without a network."""

    @pytest.fixture
    def wheel(self, tmp_path, monkeypatch):
        path = tmp_path / "wheels" / "sal_detectron2-0.7.2-cp310-none-any.whl"
        path.parent.mkdir()
        info = "sal_detectron2-0.7.2.dist-info"
        files = {
            "detectron2/__init__.py": "",
            "detectron2/_C.cpython-310-x86_64-linux-gnu.so": "for another Python",
            "tools/__init__.py": "",
            f"{info}/LICENSE": "Apache License",
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: sal-detectron2\nVersion: 0.7.2\nRequires-Dist: numpy<2\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: cp310-none-any\n",
        }
        record = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**files, f"{info}/RECORD": record}.items():
                archive.writestr(name, content)
        for name, value in {**NO_NETWORK, "PIP_FIND_LINKS": str(path.parent)}.items():
            monkeypatch.setenv(name, value)
        return path

    @pytest.fixture
    def with_pip(self, environment):
        """The empty environment with the pip of the one that runs the tests: quicker than a pip of its own."""
        pip = Path(importlib.util.find_spec("pip").origin).parent
        (environment.site_packages() / "pip").symlink_to(pip, target_is_directory=True)
        return environment

    def test_the_package_and_its_licence_are_installed_and_nothing_else(self, with_pip, wheel):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        setup_environment.install_detectron2(with_pip, sha256=digest)
        assert with_pip.has("detectron2")
        assert with_pip.version("sal-detectron2") is None, "its demand for numpy<2 must not be seen by pip"
        folder = with_pip.folder / "detectron2"
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".pyc")
        assert [name for name in files if "__pycache__" not in name] == [
            "detectron2",
            "detectron2/LICENSE",
            "detectron2/__init__.py",
        ]

    def test_a_wheel_with_another_hash_is_refused(self, with_pip, wheel):
        with pytest.raises(setup_environment.SetupError, match="detectron2"):
            setup_environment.install_detectron2(with_pip)
        assert "THESE PACKAGES DO NOT MATCH THE HASHES" in with_pip.log.read_text()
        assert not with_pip.has("detectron2")
