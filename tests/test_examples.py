"""The checkpoint in examples/ is what its card says, at every width."""

import json

import pytest
import torch

from pretrain import load_universal
from pretrain.common.files import file_hash
from transfer.convert.hub import widths_table
from transfer.source import load_source

NAME = "us3l_resnet18_cifar10"


@pytest.fixture
def folder(repository):
    return repository / "examples" / NAME


def test_the_card_describes_the_file_beside_it(folder):
    net, card = load_universal(folder), (folder / "README.md").read_text()
    config = json.loads((folder / "config.json").read_text())
    assert net.hash == config["weights_sha256"] and net.hash in card
    assert file_hash(folder / "universal.safetensors") in card
    assert net.calibrated_widths == config["widths"] == [1.0, 0.75, 0.5, 0.25]
    source = load_source(folder / "universal.safetensors")
    for (name,), cells in widths_table(source).rows:
        row = next(line for line in card.splitlines() if line.startswith(f"| {name} "))
        assert [cell.strip() for cell in row.strip("|").split("|")] == [name, *(cell.ours for cell in cells)]


def test_every_width_answers_as_its_extraction_does(folder):
    net = load_universal(folder).eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for width in net.calibrated_widths:
            torch.testing.assert_close(net.extract(width).eval()(images), net(images, width), rtol=0, atol=1e-5)
