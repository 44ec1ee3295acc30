"""A test marked ``alone`` runs while no other test does, whichever worker got it."""

import pytest

SOURCE = """
    import os, time
    import pytest

    def present():
        return [name for name in os.listdir(os.environ["FLOOR"]) if name != str(os.getpid())]

    def stay():
        mine = os.path.join(os.environ["FLOOR"], str(os.getpid()))
        open(mine, "w").close()
        seen = []
        for _ in range(15):
            seen += present()
            time.sleep(0.01)
        os.remove(mine)
        return seen

    @pytest.mark.parametrize("i", range(8))
    def test_ordinary(i):
        if stay():
            open(os.environ["MET"], "w").close()

    {mark}
    @pytest.mark.parametrize("i", range(4))
    def test_alone(i):
        assert not stay()
"""


@pytest.fixture
def run(pytester, monkeypatch, repository):
    """Run two workers on the tests above; ``mark`` stands over the second half."""

    def run_file(mark: str) -> pytest.RunResult:
        floor = pytester.mkdir("floor")
        monkeypatch.setenv("FLOOR", str(floor))
        monkeypatch.setenv("MET", str(pytester.path / "met"))
        monkeypatch.setenv("PYTHONPATH", str(repository))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(SOURCE.format(mark=mark))
        arguments = ("-p", "tests.alone", "-p", "xdist", "-n", "2", "--dist", "each", "-p", "no:cacheprovider")
        return pytester.runpytest_subprocess(*arguments)

    return run_file


def test_nobody_else_is_there_while_a_test_is_alone(run, pytester):
    run("@pytest.mark.alone").assert_outcomes(passed=24)
    assert (pytester.path / "met").exists(), "the ordinary tests never ran at the same time: this shows nothing"


def test_without_the_mark_they_meet(run):
    assert run("").parseoutcomes().get("failed", 0) > 0
