"""``requires`` skips with a reason, ``US3L_REQUIRE`` turns the skip into a failure, unknown names are errors."""

import pytest

from tests.requirements import REQUIREMENTS

NEEDS_DATA = """
    from tests.requirements import requires

    @requires("data")
    def test_on_photographs():
        pass
"""


@pytest.fixture
def run(pytester, monkeypatch, repository):
    """Run pytest on the source of one test file, with the plugin and the given environment, in a process of its own."""

    def run_file(source: str, **environment: str) -> pytest.RunResult:
        for name in ("US3L_DATA", "US3L_REQUIRE", "PYTEST_ADDOPTS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(repository))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "tests.requirements", "-rs", "-p", "no:cacheprovider")

    return run_file


def test_a_missing_requirement_skips_with_its_reason(run):
    result = run(NEEDS_DATA)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs data: US3L_DATA does not name a folder of real data"])


def test_an_incomplete_data_folder_names_what_it_lacks(run, pytester):
    result = run(NEEDS_DATA, US3L_DATA=str(pytester.path))
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*has no *coco_mini*"])


def test_a_missing_requirement_that_is_required_fails(run):
    result = run(NEEDS_DATA, US3L_REQUIRE="root, data")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["US3L_REQUIRE names data: US3L_DATA does not name a folder of real data"])


def test_a_required_requirement_that_is_met_runs(run, pytester):
    for name in ("cifar10_jpeg.tar.xz", "coco_mini", "imagenet_mini", "voc_mini"):
        pytester.mkdir(name)
    run(NEEDS_DATA, US3L_REQUIRE="data", US3L_DATA=str(pytester.path)).assert_outcomes(passed=1)


def test_demand_does_the_same_inside_a_fixture(run):
    source = """
        import pytest
        from tests.requirements import demand

        @pytest.fixture
        def photographs():
            demand("data")

        def test_on_photographs(photographs):
            pass
    """
    run(source).assert_outcomes(skipped=1)
    run(source, US3L_REQUIRE="data").assert_outcomes(errors=1)


def test_an_unknown_name_in_the_variable_ends_the_run_and_names_the_nearest(run):
    result = run(NEEDS_DATA, US3L_REQUIRE="data,slrum")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no requirement is called 'slrum'; valid: data, *slurm*"])


def test_an_unknown_name_in_a_test_ends_the_run(run):
    result = run(NEEDS_DATA.replace('"data"', '"dota"'))
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*no requirement is called 'dota'; valid: data, *"])


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_check_answers_here(name):
    reason = REQUIREMENTS[name]()
    assert reason is None or (reason and "\n" not in reason.strip())
