"""Settings of recognition: overridden by name, refused in one line."""

import pytest

from pretrain.common.errors import UserError
from transfer.recognition.settings import RecognitionSettings, override


def test_overrides_reach_the_protocols():
    settings = override(RecognitionSettings(), ["learning_rates=0.1,0.2", "neighbours=7", "epochs=3", "temperature=1"])
    assert settings.probe.learning_rates == (0.1, 0.2) and settings.probe.iterations(1000) == round(3 * 1000 / 256)
    assert settings.probe.iterations(50) == 3, "batches have no more images than there are"
    assert (settings.neighbours, settings.temperature) == (7, 1)
    assert override(RecognitionSettings(), ["weight_decays=0.1"]).weight_decays == (0.1,)
    paper = override(RecognitionSettings(protocol="paper"), ["learning_rate=5", "num_views=0"])
    assert (paper.learning_rate, paper.num_views) == (5, 0)
    assert override(paper, ["learning_rate=None", "num_views=None"]) == RecognitionSettings(protocol="paper")


def test_a_small_set_is_trained_on_for_at_least_500_steps():
    assert RecognitionSettings().probe.iterations(1437) == 500
    assert RecognitionSettings().probe.iterations(50_000) == round(20 * 50_000 / 256)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("neighbors=7", "did you mean 'neighbours'"),
        ("neighbours", "expected key=value"),
        ("neighbours=seven", "neighbours: Input should be a valid integer.*'seven'"),
        ("neighbours=0", "neighbours is 0; expected a number from 1"),
        ("learning_rates=fast", "learning_rates.0: Input should be a valid number.*'fast'"),
        ("learning_rates=()", r"learning_rates is \(\); expected 1 or more"),
        ("weight_decays=0.1,nan", "weight_decays.0"),
        ("temperature=inf", "temperature is inf; expected a finite number"),
        ("temperature=0", "temperature is 0; expected a number above 0"),
        ("seed=-1", "seed is -1; expected a number from 0"),
        ("workers=-1", "workers is -1; expected a number from 0"),
        ("protocol=fats", "did you mean 'fast'"),
        ("num_views=0.5", "num_views: Input should be a valid integer"),
        ("num_views=-1", "num_views is -1; expected a number from 0"),
        ("learning_rate=0", "learning_rate is 0; expected a number above 0"),
        ("validation=0.9", "validation is 0.9; expected a number up to 0.5"),
    ],
)
def test_a_wrong_override_is_one_line(text, said):
    with pytest.raises(UserError, match=said) as raised:
        override(RecognitionSettings(), [text])
    assert "\n" not in str(raised.value)


def test_workers_do_not_count_as_a_setting_of_the_figures():
    assert RecognitionSettings(workers=0).recorded() == RecognitionSettings(workers=3).recorded()
