"""Numbers on their way between host and device."""

import torch

from pretrain.common.devices import in_turn, on_host
from tests.nullcuda.program import on_null_device
from tests.requirements import requires


def test_devices_take_turns_and_each_has_something_to_do_before_one_is_waited_for():
    said = []

    def launch(item: int, turn: int) -> str:
        said.append(f"{item} on {turn}")
        return f"{item} done"

    for found in in_turn(range(4), launch, 2):
        said.append(found)
    expected = "0 on 0, 1 on 1, 0 done, 2 on 0, 1 done, 3 on 1, 2 done, 3 done"
    assert ", ".join(said) == expected
    assert list(in_turn([7], launch, 3)) == ["7 done"] and list(in_turn([], launch, 3)) == []


def test_a_copy_shares_no_memory_with_what_it_was_made_of():
    state = {"a": torch.ones(2), "b": [torch.ones(2), (torch.ones(2), "text")], "c": None}
    copied = on_host(state)
    for tensor in (state["a"], state["b"][0], state["b"][1][0]):
        tensor.zero_()
    assert copied["b"][1][1] == "text" and copied["c"] is None
    assert all(bool(found.all()) for found in (copied["a"], copied["b"][0], copied["b"][1][0]))


def copied_from_a_gpu() -> dict:
    """Two tensors, of which one is there twice."""
    from tests.nullcuda.counting import counts, reset

    weight = torch.zeros(1000, 100, device="cuda")
    state = {"a": weight, "again": weight, "b": torch.zeros(5, device="cuda"), "c": torch.zeros(3)}
    on_host(state)  # the first one allocates
    reset()
    found = on_host(state)
    return {
        "devices": sorted({str(tensor.device) for tensor in found.values()}),
        "pinned": found["a"].is_pinned() and found["b"].is_pinned(),
        "once": found["a"].data_ptr() == found["again"].data_ptr(),
        "counts": [counts().syncs, counts().pageable],
    }


@requires("nullcuda")
def test_from_a_gpu_all_is_waited_for_once():
    found = on_null_device(copied_from_a_gpu)
    assert found == {"devices": ["cpu"], "pinned": True, "once": True, "counts": [1, 0]}
