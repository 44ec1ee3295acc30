"""From recipe, backbone, data and options to mmdet's config."""

from dataclasses import replace

import pytest

from pretrain.common.errors import UserError
from tests.pretrain.helpers import MEAN
from tests.requirements import requires
from tests.transfer.detection.data.voc import TWO_YEARS, write_voc
from transfer.convert import convert
from transfer.detection.data.coco import read as read_coco
from transfer.detection.data.voc import read as read_voc
from transfer.detection.mmdet.recipe import OWN, resolve, settings_values, summary
from transfer.detection.mmdet.resolution import image_size
from transfer.detection.settings import DetectionSettings
from transfer.recipes import FOLDERS

pytestmark = requires("detection", "mmdet")


@pytest.fixture
def resolved(settings, narrow, tmp_path):
    """Resolve COCO's recipe, or another one, with options."""

    def run(**options):
        options = {"recipe": OWN["coco"], "data": settings.data, "device": "cpu", **options}
        return resolve(DetectionSettings(**options), narrow, read_coco(settings.data), tmp_path)

    return run


def test_the_paper_scale_recipe_on_eight_processes_is_the_1x_schedule(resolved):
    found = resolved(num_gpus=8)
    config, schedule = found.config, found.schedule
    assert (schedule.batch, schedule.learning_rate, schedule.iterations, schedule.warmup) == (16, 0.02, 90_000, 1000)
    assert config.train_dataloader.batch_size == 2 and config.param_scheduler[1].milestones == [60_000, 80_000]
    backbone = config.model.backbone
    assert (backbone.depth, backbone.base_channels, backbone.frozen_stages, backbone.norm_eval) == (18, 16, -1, False)
    assert config.model.neck.in_channels == [16, 32, 64, 128]
    assert config.model.data_preprocessor.mean == pytest.approx([255 * m for m in MEAN])
    assert config.model.roi_head.bbox_head.num_classes == config.model.roi_head.mask_head.num_classes == 10
    assert config.train_dataloader.dataset.metainfo["classes"] == tuple("0123456789")


@pytest.mark.parametrize("width", [0.5, 0.9])
def test_a_recipe_freezes_and_normalises_the_converted_backbone_as_it_says(settings, source, tmp_path, width):
    """Also one whose channels are a list; what such a one cannot have is refused, and so is no ResNet."""
    from mmdet.registry import MODELS

    narrow = convert(source.net.extract(width), "mmdet", tmp_path / "narrow", source.net.metadata)[0]
    data, recipe = read_coco(settings.data), tmp_path / "mine.py"

    def backbone(text: str) -> dict:
        recipe.write_text(f'_base_ = "{OWN["coco"]}"\nmodel = dict(backbone=dict({text}))')
        return resolve(DetectionSettings(recipe=recipe, data=settings.data, device="cpu"), narrow, data, tmp_path)

    found = backbone("frozen_stages=2, norm_eval=True, norm_cfg=dict(requires_grad=False), depth=101").config.model
    said = found.backbone
    assert (said.frozen_stages, said.norm_eval, said.norm_cfg.requires_grad, said.depth) == (2, True, False, 18)
    said.init_cfg = None
    detector = MODELS.build(said)
    trained = {name.split(".")[0] for name, parameter in detector.named_parameters() if parameter.requires_grad}
    assert trained <= {"layer3", "layer4"}
    if width == 0.5:
        assert backbone("with_cp=True").config.model.backbone.with_cp
    else:
        with pytest.raises(UserError, match="mine.py has with_cp=True, which mmdet's ResNet takes alone"):
            backbone("with_cp=True")
    with pytest.raises(UserError, match="the backbone of mine.py is no ResNet"):
        backbone('type="ResNeXt"')


def test_the_modules_that_a_recipe_imports_are_imported(settings, source, tmp_path):
    narrow = convert(source.net.extract(0.9), "mmdet", tmp_path / "narrow", source.net.metadata)[0]
    recipe = tmp_path / "mine.py"
    recipe.write_text(f'_base_ = "{OWN["coco"]}"\ncustom_imports = dict(imports=["json"])')
    options = DetectionSettings(recipe=recipe, data=settings.data, device="cpu")
    found = resolve(options, narrow, read_coco(settings.data), tmp_path).config
    assert found.custom_imports == {"imports": ["json", "channel_list_resnet"]}


def test_the_whole_schedule_follows_batch_and_iterations(resolved):
    config = resolved(num_gpus=1).config  # two images: an eighth
    assert (config.train_dataloader.batch_size, config.optim_wrapper.optimizer.lr) == (2, 0.0025)
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (720_000, 80_000)
    assert config.default_hooks.checkpoint.interval == 40_000
    warmup, steps = config.param_scheduler
    assert (warmup.end, steps.milestones, steps.end) == (8000, [480_000, 640_000], 720_000)
    warmup, steps = resolved(batch=16, iterations=900).config.param_scheduler
    assert (warmup.end, steps.milestones, steps.end) == (90, [600, 800], 900)
    (steps,) = resolved(batch=16, iterations=10).config.param_scheduler  # a warm-up of one iteration would never end
    assert steps.milestones == [7, 9]


def test_the_small_recipe_follows_its_cosine_to_any_length(resolved):
    warmup, cosine = resolved(recipe=FOLDERS["mmdet"] / "mask_rcnn_fpn_small.py", iterations=100).config.param_scheduler
    assert (warmup.end, cosine.T_max, cosine.end) == (10, 100, 100)


def test_another_image_size_scales_anchors_and_numbers_as_in_detectron2(resolved):
    config = resolved(image_size=200).config
    assert image_size(config) == 200
    steps = [*config.train_dataloader.dataset.pipeline, *config.val_dataloader.dataset.pipeline]
    assert [step["scale"] for step in steps if step["type"] == "Resize"] == [(333, 200)] * 2
    model = config.model
    assert model.rpn_head.anchor_generator.scales == [2.0]
    assert (model.train_cfg.rpn_proposal.nms_pre, model.train_cfg.rpn_proposal.max_per_img) == (500, 250)
    assert (model.test_cfg.rpn.nms_pre, model.test_cfg.rpn.max_per_img) == (250, 250)
    assert (model.train_cfg.rpn.sampler.num, model.train_cfg.rcnn.sampler.num) == (64, 128)


def test_without_masks_nothing_asks_for_some_in_training_or_evaluation(settings, narrow, tmp_path):
    data = read_coco(settings.data, boxes_only=True)
    for recipe in (OWN["coco"], FOLDERS["mmdet"] / "mask_rcnn_fpn_small.py"):
        config = resolve(replace(settings, recipe=recipe, overrides=()), narrow, data, tmp_path).config
        assert config.model.type == "FasterRCNN" and config.model.roi_head.mask_head is None
        steps = [*config.train_dataloader.dataset.pipeline, *config.val_dataloader.dataset.pipeline]
        loads = [step for step in steps if step["type"] == "LoadAnnotations"]
        assert loads and not any(step["with_mask"] for step in loads)


@pytest.mark.parametrize("recipe", [None, FOLDERS["mmdet"] / "faster_rcnn_fpn_small.py"])
def test_vocs_objects_are_those_of_mmdets_own_class(narrow, tmp_path, recipe):
    from mmdet.registry import DATASETS
    from mmengine.registry import DefaultScope

    from transfer.detection.mmdet.loaders import streamed

    data = read_voc(write_voc(tmp_path / "voc", TWO_YEARS))
    config = resolve(DetectionSettings("voc", recipe, tmp_path / "voc", device="cpu"), narrow, data, tmp_path).config
    train = streamed(config.train_dataloader, 0, data.train).images
    val = streamed(config.val_dataloader, 0, (data.val,)).images
    plain = {"metainfo": {"classes": data.classes}, "data_root": f"{tmp_path}/voc/", "pipeline": []}
    kept = config.train_dataloader.dataset.filter_cfg
    with DefaultScope.overwrite_default_scope("mmdet"):
        parts = [DATASETS.build(dict(
            plain, type="VOCDataset", ann_file=f"VOC20{year}/ImageSets/Main/{name}.txt", test_mode=name == "test",
            data_prefix={"sub_data_root": f"VOC20{year}/"}, filter_cfg=None if name == "test" else kept,
        )) for year, name in (("07", "trainval"), ("12", "trainval"), ("07", "test"))]  # fmt: skip
    theirs = [part.get_data_info(i) for part in parts for i in range(len(part))]
    ours = [part.get_data_info(i) for part in (train, val) for i in range(len(part))]
    for info in [*ours, *theirs]:
        info.pop("xml_path", None)
        del info["sample_idx"]
    assert ours == theirs and (len(train), len(val)) == (2, 1)  # one image has no object
    assert train.metainfo["classes"] == data.classes and len(data.classes) == 20
    instance = val.get_data_info(0)["instances"][0]
    assert (instance["bbox"], data.classes[instance["bbox_label"]]) == ([4, 4, 19, 19], "cat")
    assert config.model.roi_head.bbox_head.num_classes == 20 and not config.model.roi_head.get("mask_head")


def test_overrides_reach_values_lists_and_arguments(resolved):
    found = resolved(overrides=(
        "optim_wrapper.optimizer.lr=0.5", "param_scheduler.1.gamma=0.2", "model.backbone.with_cp=true",
        "optim_wrapper.type=AmpOptimWrapper", "train_cfg.max_iters=7",
    ))  # fmt: skip
    config = found.config
    assert (config.optim_wrapper.optimizer.lr, config.param_scheduler[1].gamma) == (0.5, 0.2)
    assert config.model.backbone.with_cp is True and config.optim_wrapper.type == "AmpOptimWrapper"
    assert found.schedule.iterations == 7 and "set on the command line" in "\n".join(found.reasons)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim_wrapper.optimizer.rl=0.5", "unknown key 'optim_wrapper.optimizer.rl'; did you mean 'optim_wrapper.opt"),
        ("modle.neck.num_outs=5", "unknown key 'modle.neck.num_outs'; did you mean 'model'"),
        ("train_cfg.max_iters=many", "train_cfg.max_iters is a number .*'many' is none"),
        ("param_scheduler.7.end=3", "'7' in param_scheduler.7.end is no index; expected 0 to 1"),
        ("nothing", "'nothing' is no override; expected key=value"),
        (
            "load_from=detector.pth",
            "sets load_from or resume, which nothing reads here; expected --weights or --resume",
        ),
    ],
)
def test_a_wrong_override_is_one_line(resolved, override, message):
    with pytest.raises(UserError, match=message) as error:
        resolved(overrides=(override,))
    assert "\n" not in str(error.value)


def test_a_recipe_of_the_other_target_or_of_none_is_refused(resolved, tmp_path):
    with pytest.raises(UserError, match="faster_rcnn_fpn_voc.py is a recipe for voc; expected .*mask_rcnn_fpn_coco.py"):
        resolved(recipe=OWN["voc"])
    with pytest.raises(UserError, match="no such recipe"):
        resolved(recipe=tmp_path / "absent.py")
    (tmp_path / "other.py").write_text("model = dict(type='RetinaNet')\n")
    with pytest.raises(UserError, match="other.py is no recipe for Faster or Mask R-CNN"):
        resolved(recipe=tmp_path / "other.py")
    (tmp_path / "broken.py").write_text("model = dict(\n")
    with pytest.raises(UserError, match="broken.py is no mmdet config"):
        resolved(recipe=tmp_path / "broken.py")


@pytest.mark.parametrize("name", ["mask_rcnn_fpn_coco.py", "mask_rcnn_fpn_small.py", "faster_rcnn_fpn_voc.py"])
def test_a_recipe_of_detectron2s_is_refused_with_a_reason(resolved, name):
    with pytest.raises(UserError, match=rf"{name} is no .*: mmengine gives up with a \w+; expected one such") as error:
        resolved(recipe=FOLDERS["mmdet"].parent / name)
    assert "\n" not in str(error.value)


def test_settings_hold_no_paths_and_depend_on_what_counts(resolved, settings, tmp_path):
    plain, other = settings_values(resolved().config), settings_values(resolved(seed=1).config)
    assert str(tmp_path) not in str(plain) and str(settings.data) not in str(plain)
    assert plain != other and plain["optim_wrapper"]["optimizer"]["lr"] == 0.0025


def test_the_summary_names_norms_and_schedule(resolved, settings):
    text = summary(resolved(num_gpus=8), read_coco(settings.data))
    assert "proposals   2000 a level, 1000 an image" in text and "anchors     32, 64, 128, 256, 512 px" in text
    assert "BN, on cpu" in text and "90000" in text
    replaced = replace(resolved(num_gpus=8), config=resolved(num_gpus=8).config)
    replaced.config.device = "cuda"
    assert "SyncBN, on cuda" in summary(replaced, read_coco(settings.data))
