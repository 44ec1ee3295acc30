"""The faults that can be planted fit the code: each changes one place of a file, and its tests exist."""

import pytest

from tests.faults import FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_changes_one_place_and_still_is_python(fault, repository):
    text = (repository / fault.file).read_text()
    assert text.count(fault.right) == 1, f"{fault.file} holds it {text.count(fault.right)} times"
    compile(text.replace(fault.right, fault.wrong), fault.file, "exec")
    assert (repository / fault.tests.split(" ")[0]).exists()
