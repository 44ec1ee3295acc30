"""The peak of a process that runs one file is of that file's runtime: nothing of ours weighs in it."""

from tests.programs import python


def test_the_process_that_is_measured_imports_no_framework_of_its_own():
    heavy = "{'torch', 'torchvision', 'numpy', 'pydantic', 'scipy'}"
    done = python(f"import sys, transfer.devices.memory; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)")
    assert done.returncode == 0, done.stderr
