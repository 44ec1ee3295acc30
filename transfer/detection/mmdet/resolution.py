"""An mmdet recipe at another image size: what is measured in pixels, and how many proposals a picture deserves."""

from transfer.detection.proposals import count_at


def resizes(config) -> list:
    """Every Resize step of the two pipelines: of training first, of validation last."""
    training = config.train_dataloader.dataset
    parts = training.get("datasets", [training])
    pipelines = [*(part.pipeline for part in parts), config.val_dataloader.dataset.pipeline]
    return [step for pipeline in pipelines for step in pipeline if step["type"] in ("Resize", "RandomResize")]


def image_size(config) -> int:
    """The shorter side of the evaluated images, in pixels."""
    return int(min(resizes(config)[-1]["scale"]))


def scale_to(config, size: int) -> None:
    """Change the config to images whose shorter side is ``size`` pixels, as detectron2's recipes are changed.

    Sides and anchors scale with it, and so do the numbers of anchors, regions and proposals, down to a minimum.
    """
    ratio = size / image_size(config)
    for step in resizes(config):
        step["scale"] = tuple(round(side * ratio) for side in step["scale"])
    anchors = config.model.rpn_head.anchor_generator
    anchors.scales = [scale * ratio for scale in anchors.scales]
    train, test = config.model.train_cfg, config.model.test_cfg
    for section in (train.rpn_proposal, test.rpn):
        section.nms_pre, section.max_per_img = count_at(ratio, section.nms_pre), count_at(ratio, section.max_per_img)
    for section in (train.rpn, train.rcnn):
        section.sampler.num = count_at(ratio, section.sampler.num)
