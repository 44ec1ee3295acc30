"""Every kind of teacher gives the features of the network that it names, and says in one line what it lacks."""

import urllib.error

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.transforms.v2 import functional as V

from pretrain.common.errors import UserError
from pretrain.data.facts import ImageFacts
from pretrain.teachers.load import load_teacher
from pretrain.teachers.settings import TeacherSettings
from pretrain.teachers.teacher import Teacher
from tests.pretrain.helpers import small_teacher, universal, universal_with_projector
from tests.requirements import requires

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DATA = ImageFacts(image_size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
OWN = "tests.pretrain.helpers:small_teacher"


def teacher(name: str = OWN, images: ImageFacts = DATA, **settings) -> Teacher:
    return load_teacher(TeacherSettings(name=name, **settings), images)


def pixels() -> torch.Tensor:
    """RGB in [0, 1], smooth enough to be resized."""
    return F.interpolate(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), 32, mode="bilinear")


def views() -> torch.Tensor:
    return V.normalize(pixels(), DATA.mean, DATA.std)


def saved(network: nn.Module, path, prefix: str = "") -> str:
    torch.save({"state_dict": {f"{prefix}{name}": t for name, t in network.state_dict().items()}}, path)
    return str(path)


def test_views_are_normalised_and_resized_as_the_teacher_was_trained():
    found = teacher(mean=IMAGENET[0], std=IMAGENET[1], image_size=48)
    expected = V.normalize(V.resize(pixels(), [48, 48], V.InterpolationMode.BICUBIC, antialias=True), *IMAGENET)
    with torch.no_grad():
        expected = small_teacher().eval()(expected).mean((2, 3))
    torch.testing.assert_close(found(views()), expected, rtol=1e-4, atol=1e-4)


def test_a_network_without_a_normalisation_takes_the_views_as_they_are():
    with torch.no_grad():
        expected = small_teacher().eval()(views()).mean((2, 3))
    torch.testing.assert_close(teacher()(views()), expected, rtol=0, atol=0)


@requires("formats")
@pytest.mark.parametrize("prefix", ["", "module."])
def test_timms_models_by_name_with_the_weights_of_a_file(tmp_path, prefix):
    import timm

    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=7).eval()
    found = teacher("timm:resnet18", weights=saved(model, tmp_path / "w.pth", prefix), image_size=32)
    x = V.normalize(pixels(), *IMAGENET)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(x), pre_logits=True)
    torch.testing.assert_close(found(views()), expected, rtol=1e-4, atol=1e-4)
    assert found.outputs == 512 and found.described["source"] == "w.pth" and "apache-2.0" in found.licence
    assert teacher("timm:resnet18", weights=str(tmp_path / "w.pth")).image_size == 224


@requires("formats")
def test_names_of_timm_that_do_not_exist(tmp_path):
    with pytest.raises(UserError, match="timm has no model 'resnet188'; did you mean resnet18 or"):
        teacher("timm:resnet188")
    with pytest.raises(UserError, match="timm has no weights 'a9_in1k' of resnet18; valid: a1_in1k"):
        teacher("timm:resnet18.a9_in1k")


@requires("formats")
def test_weights_that_do_not_fit_are_refused_by_their_tensors(tmp_path):
    import timm

    deeper = saved(timm.create_model("resnet34", num_classes=0), tmp_path / "deeper.pth")
    with pytest.raises(UserError, match=r"deeper.pth does not fit timm:resnet18: .*unexpected \(layer1.2.conv1"):
        teacher("timm:resnet18", weights=deeper)
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    del state["layer4.1.bn2.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(UserError, match=r"less.pth does not fit timm:resnet18: .*1 missing \(layer4.1.bn2.weight\)"):
        teacher("timm:resnet18", weights=str(tmp_path / "less.pth"))
    with pytest.raises(UserError, match="no such file"):
        teacher("timm:resnet18", weights=str(tmp_path / "none.pth"))


@requires("formats")
def test_a_size_that_a_position_embedding_refuses(tmp_path):
    import timm

    weights = saved(timm.create_model("vit_tiny_patch16_224", num_classes=0), tmp_path / "vit.pth")
    with pytest.raises(UserError, match=r"refuses images of 96 px: .*224.*; expected another .*teacher.image_size"):
        teacher("timm:vit_tiny_patch16_224", weights=weights, image_size=96)


def no_network(*_, **__):
    raise urllib.error.URLError("no network")


@requires("formats")
def test_a_download_without_a_network_names_the_address_and_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    for name, file in (("timm:resnet18", "model.safetensors"), ("torchvision:resnet18", r"resnet18-\w+.pth")):
        with pytest.raises(UserError, match=rf"weights of {name} from https://\S+{file} .*teacher.weights=FILE"):
            teacher(name)


@requires("formats")
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_tokens_of_timms_models_are_those_of_patches(tmp_path, name):
    import timm

    model = timm.create_model(name, num_classes=0).eval()
    found = teacher(f"timm:{name}", weights=saved(model, tmp_path / "w.pth"), output="tokens")
    x = found(views())
    assert x.shape == {"resnet18": (2, 49, 512), "vit_tiny_patch16_224": (2, 196, 192)}[name]
    with torch.no_grad():
        whole = model.forward_features(V.normalize(V.resize(pixels(), [224, 224], V.InterpolationMode.BICUBIC), *(
            IMAGENET if name == "resnet18" else ((0.5,) * 3, (0.5,) * 3)
        )))  # fmt: skip
    whole = whole.flatten(2).mT if name == "resnet18" else whole[:, 1:]
    torch.testing.assert_close(x, whole, rtol=1e-3, atol=1e-3)


def test_torchvisions_models_by_name_with_the_weights_of_a_file(tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v3_small().eval()
    found = teacher("torchvision:mobilenet_v3_small", weights=saved(model, tmp_path / "w.pth"), image_size=32)
    x = V.normalize(pixels(), *IMAGENET)
    with torch.no_grad():
        expected = model.classifier[:3](model.avgpool(model.features(x)).flatten(1))
    torch.testing.assert_close(found(views()), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="torchvision has no model 'resnet19'; did you mean 'resnet1"):
        teacher("torchvision:resnet19")


def test_any_width_of_a_universal_checkpoint_or_its_projector(tmp_path):
    net = universal(base_channels=8)
    file = str(net.save(tmp_path / "u.safetensors"))
    x = V.normalize(pixels(), net.metadata["mean"], net.metadata["std"])
    for width, of in ((None, 1.0), (0.5, 0.5)):
        found = teacher("universal", weights=file, width=width)
        torch.testing.assert_close(found(views()), net(x, of), rtol=1e-4, atol=1e-4)
        assert found.name == "us3l-resnet18"
    tokens = teacher("universal", weights=file, output="tokens")
    torch.testing.assert_close(tokens(views()).mean(1), net(x, 1.0), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="width 0.75 is not calibrated; calibrated widths: 1, 0.5"):
        teacher("universal", weights=file, width=0.75)
    with pytest.raises(UserError, match=r"no projector to distil from; .*training.keep_projector=True"):
        teacher("universal", weights=file, output="projection")
    taught = universal_with_projector()
    file = str(taught.save(tmp_path / "p.safetensors"))
    found = teacher("universal", weights=file, output="projection")
    torch.testing.assert_close(found(views()), taught.project(x), rtol=1e-4, atol=1e-4)


def test_the_hash_tells_calibrations_of_a_projector_apart(tmp_path):
    net = universal_with_projector()
    first = teacher("universal", weights=str(net.save(tmp_path / "a.safetensors")), output="projection").hash
    net.calibrate([torch.randn(4, 3, 32, 32)], [1.0])
    assert teacher("universal", weights=str(net.save(tmp_path / "b.safetensors")), output="projection").hash != first


def fails() -> nn.Module:
    raise RuntimeError("no such thing")


def tuple_of_two() -> nn.Module:
    class Two(nn.Identity):
        def forward(self, x):
            return x.flatten(1)[:, :3].unflatten(0, (1, -1))

    return Two()


def infinite() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Threshold(1.0, torch.inf))


def number() -> int:
    return 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "failed: RuntimeError: no such thing"),
        ("number", "gives a int; expected a torch module"),
        ("tuple_of_two", r"gives \[1, 1, 3\] for one image; expected features \[1, D\]"),
        ("infinite", "gives features that are not finite"),
        ("nothing", "has no 'nothing'"),
    ],
)
def test_functions_of_ones_own_that_give_no_teacher(name, message):
    with pytest.raises(UserError, match=message):
        teacher(f"{__name__}:{name}")


def test_functions_of_ones_own_with_the_weights_of_a_file(tmp_path):
    network = small_teacher()
    with torch.no_grad():
        network[0].weight.mul_(2)
    found = teacher(weights=saved(network, tmp_path / "own.pth"))
    torch.testing.assert_close(found.network[0].weight, network[0].weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet18"}, "unknown teacher 'resnet18'; expected timm:MODEL, torchvision:MODEL, universal"),
        ({"name": "universal"}, "objective.teacher.weights is missing; expected a universal checkpoint"),
        ({"width": 0.5}, "objective.teacher.width is for universal checkpoints, not for tests"),
        ({"output": "projection"}, "output = 'projection' is for universal checkpoints"),
        ({"images": ImageFacts(channels=1, mean=(0.5,), std=(0.5,)), "mean": (0.5,) * 3}, "takes images of 3 channels"),
    ],
)
def test_settings_that_make_no_teacher(settings, message):
    with pytest.raises(UserError, match=message):
        teacher(**settings)


def test_a_teacher_says_what_it_is_and_whose_licence_binds():
    found = teacher(image_size=48)
    assert str(found) == f"{OWN}, 12 features at 48 px, from {OWN}, licence: not stated"
    assert set(found.described) == {"source", "licence", "sha256", "lineage"}
    assert found.described["lineage"] == found.hash, "a network that does not say what it is a seed of"
