"""Changes to a detection recipe that several recipes share; each takes LazyConfigs and changes them in place."""

from detectron2.config import LazyCall as L

from transfer.detection.evaluation.voc import VocEvaluator


def without_masks(model, dataloader) -> None:
    """Mask R-CNN becomes Faster R-CNN."""
    for key in ("mask_in_features", "mask_pooler", "mask_head"):
        model.roi_heads.pop(key)
    dataloader.train.mapper.use_instance_mask = False


def to_voc(model, dataloader) -> None:
    """Mask R-CNN on COCO becomes Faster R-CNN on VOC: no masks, VOC's evaluation."""
    without_masks(model, dataloader)
    model.roi_heads.num_classes = 20
    dataloader.evaluator = L(VocEvaluator)(dataset_name="${..test.dataset.names}")


def narrow(model, channels: int, hidden: int) -> None:
    """A pyramid of ``channels`` and a box head of one layer of ``hidden`` instead of 256 and two of 1024."""
    model.backbone.out_channels = channels
    model.proposal_generator.head.in_channels = channels
    heads = model.roi_heads
    heads.box_head.input_shape.channels = channels
    heads.box_head.fc_dims = [hidden]
    heads.box_predictor.input_shape.channels = hidden
    if "mask_head" in heads:
        heads.mask_head.input_shape.channels = channels
        heads.mask_head.conv_dims = [channels, channels]
