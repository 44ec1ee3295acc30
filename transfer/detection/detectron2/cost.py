"""Parameters and multiply-accumulates of detectron2's detectors for one image, whatever they find on it."""

import copy

import torch
from torch import nn

from pretrain.common.shapes import shapes_only
from transfer.detection.counting import counting


def detector_cost(model: nn.Module, image_size: int) -> dict[str, int]:
    """Cost of detectron2's GeneralizedRCNN on a square image of ``image_size`` pixels, counted by torch's flop counter.

    Counted are convolutions and linear layers, as for the backbone: of backbone and pyramid, of the proposal network on
    every level, of the box head on as many regions as the network keeps proposals in evaluation, and of the mask head
    on as many as an image may have detections. So the figure depends on the recipe and the width, not on the weights.
    The side is rounded up to the multiple to which the detector pads images. ``parts`` adds up to ``macs``.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    multiple = max(1, shadow.backbone.size_divisibility)
    side = -(-image_size // multiple) * multiple
    generator, heads = shadow.proposal_generator, shadow.roi_heads
    proposals, detections = generator.post_nms_topk[False], heads.box_predictor.test_topk_per_image
    parts = {}
    with torch.no_grad(), shapes_only():
        with counting(parts, "backbone"):
            features = shadow.backbone(torch.empty(1, 3, side, side))
        with counting(parts, "proposals"):
            generator.rpn_head([features[name] for name in generator.in_features])
        with counting(parts, "boxes"):
            heads.box_predictor(heads.box_head(regions(proposals, features, heads.box_in_features, heads.box_pooler)))
        if heads.mask_on:
            with counting(parts, "masks"):
                heads.mask_head.layers(regions(detections, features, heads.mask_in_features, heads.mask_pooler))
    return {
        "params": sum(p.numel() for p in model.parameters()), "macs": sum(parts.values()), "parts": parts,
        "image_size": side, "proposals": proposals, "detections": detections,
    }  # fmt: skip


def regions(count: int, features: dict, names: list[str], pooler) -> torch.Tensor:
    """What a pooler gives a head: [count, C, h, w] on the meta device."""
    return torch.empty(count, features[names[0]].shape[1], *pooler.output_size, device="meta")
